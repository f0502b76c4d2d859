// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::contract::mock::MockMsi;
use crate::pci::{Changed, ConfigSpace, Identity, MsixLayoutError, MsixPlace, Subsystem};

fn msix(vectors: u16) -> (Msix, MockMsi) {
    let source = MockMsi::default();
    let msix = Msix::new("test", MsixLayout::in_own_bar(vectors, 1).unwrap(), &source).unwrap();
    (msix, source)
}

fn message(address: u64, data: u32) -> Option<MsiMessage> {
    Some(MsiMessage { address, data })
}

/// Writes as a Linux guest does: message by dwords, then the mask bit.
fn program(msix: &Msix, vector: u64, address: u64, data: u32) {
    for (offset, value) in [(0, address & 0xffff_ffff), (4, address >> 32), (8, data.into()), (12, 0)] {
        msix.bar_write(1, vector * 16 + offset, Width::B4, value).unwrap();
    }
}

const ENABLE: u16 = 0x8000;
const ENABLE_MASKED: u16 = 0xc000;

#[test]
fn layout_of_an_own_bar() {
    let small = MsixLayout::in_own_bar(3, 1).unwrap();
    assert_eq!(small.bar_size(1), Some(4096));
    assert_eq!(small.bar_size(0), None);
    let (body, writable) = small.capability();
    assert_eq!(body, [2, 0, 1, 0, 0, 0, 1, 8, 0, 0]);
    assert_eq!(writable, [0, 0xc0]);
    let large = MsixLayout::in_own_bar(2048, 4).unwrap();
    assert_eq!(large.bar_size(4), Some(0x1_0000));
    assert_eq!(large.capability().0, [0xff, 7, 4, 0, 0, 0, 4, 0x80, 0, 0]);
    assert_eq!(MsixLayout::in_own_bar(0, 1), Err(MsixLayoutError::Vectors(0)));
    assert_eq!(MsixLayout::in_own_bar(2049, 1), Err(MsixLayoutError::Vectors(2049)));
    let place = |bar, offset| MsixPlace { bar, offset };
    assert!(MsixLayout::new(1, place(6, 0), place(1, 0)).is_err());
    assert!(MsixLayout::new(1, place(1, 4), place(1, 0x800)).is_err());
    assert!(MsixLayout::new(1, place(1, 0), place(1, 0x801)).is_err());
}

#[test]
fn e17_capability_shows_the_table_and_takes_two_bits() {
    let (msix, _) = msix(3);
    let mut config = ConfigSpace::new(&Identity {
        vendor_id: 0x1af4,
        device_id: 0x1000,
        revision_id: 0,
        class_code: [0, 0, 2],
        subsystem: Subsystem { vendor_id: 0x1af4, id: 1 },
    });
    let (body, writable) = msix.layout().capability();
    let at = config.add_capability(crate::spec::pci::id::MSIX, &body, &writable).unwrap();
    assert_eq!(config.read(at + 4, Width::B4) & 7, 1, "table BAR");
    assert_eq!(config.write(at + MSIX_CONTROL_OFFSET, Width::B2, 0xffff), Changed::CAPABILITIES);
    let control = config.read(at + MSIX_CONTROL_OFFSET, Width::B2) as u16;
    assert_eq!(control, 0xc002);
    assert_eq!(msix.set_control(control), MsixChange::Enabled);
}

#[test]
fn a_vector_is_delivered_only_when_nothing_masks_it() {
    let (msix, source) = msix(3);
    assert_eq!(msix.bar_read(1, 0x1c, Width::B4), Some(1), "masked at reset");
    program(&msix, 1, 0xfee0_1000, 0x41);
    assert_eq!(source.interrupt(1).take_calls(), [], "MSI-X is disabled");
    assert_eq!(msix.set_control(ENABLE_MASKED), MsixChange::Enabled);
    assert!(msix.enabled());
    assert_eq!(source.interrupt(1).take_calls(), [], "the function is masked");
    assert_eq!(msix.set_control(ENABLE), MsixChange::None);
    assert_eq!(source.interrupt(1).take_calls(), [message(0xfee0_1000, 0x41)]);
    assert_eq!(source.interrupt(0).take_calls(), [], "vector 0 is masked");
    msix.bar_write(1, 0x1c, Width::B4, 1).unwrap();
    assert_eq!(source.interrupt(1).take_calls(), [None]);
    msix.bar_write(1, 0x1c, Width::B4, 0xffff_fffe).unwrap();
    assert_eq!(source.interrupt(1).take_calls(), [message(0xfee0_1000, 0x41)]);
    assert_eq!(msix.bar_read(1, 0x1c, Width::B4), Some(0), "reserved bits of vector control stay 0");
    assert_eq!(msix.set_control(0), MsixChange::Disabled);
    assert_eq!(source.interrupt(1).take_calls(), [None]);
}

#[test]
fn a_message_changed_while_unmasked_is_routed_again() {
    let (msix, source) = msix(1);
    program(&msix, 0, 0xfee0_1000, 0x41);
    let _ = msix.set_control(ENABLE);
    assert_eq!(source.interrupt(0).take_calls().len(), 1);
    msix.bar_write(1, 8, Width::B4, 0x42).unwrap();
    msix.bar_write(1, 8, Width::B4, 0x42).unwrap();
    assert_eq!(source.interrupt(0).take_calls(), [message(0xfee0_1000, 0x42)], "once for one change");
    msix.bar_write(1, 0, Width::B8, 0x1_fee0_2003).unwrap();
    assert_eq!(source.interrupt(0).take_calls(), [message(0x1_fee0_2000, 0x42)], "an address changes at once");
}

#[test]
fn partial_and_unaligned_writes_are_merged() {
    let (msix, _) = msix(2);
    msix.bar_write(1, 0, Width::B8, 0x1122_3344_5566_7788).unwrap();
    msix.bar_write(1, 5, Width::B1, 0xaa).unwrap();
    msix.bar_write(1, 8, Width::B2, 0xbeef).unwrap();
    assert_eq!(msix.bar_read(1, 0, Width::B8), Some(0x1122_aa44_5566_7788));
    assert_eq!(msix.bar_read(1, 5, Width::B1), Some(0xaa));
    assert_eq!(msix.bar_read(1, 6, Width::B4), Some(0xbeef_1122));
    // From the data of vector 0 over its control into the address of vector 1.
    msix.bar_write(1, 10, Width::B8, 0x9988_7766_5544_3322).unwrap();
    assert_eq!(msix.bar_read(1, 8, Width::B8), Some(0x3322_beef), "control: bit 0 of 0x77665544 is 0");
    assert_eq!(msix.bar_read(1, 16, Width::B4), Some(0x9988));
}

#[test]
fn one_write_can_change_two_vectors() {
    let (msix, source) = msix(2);
    let _ = msix.set_control(ENABLE);
    program(&msix, 1, 0xfee0_1000, 0x41);
    let _ = source.interrupt(1).take_calls();
    msix.bar_write(1, 12, Width::B8, 0xfee0_2000_0000_0000).unwrap();
    assert_eq!(source.interrupt(0).take_calls(), [message(0, 0)], "unmasked");
    assert_eq!(source.interrupt(1).take_calls(), [message(0xfee0_2000, 0x41)]);
}

#[test]
fn accesses_outside_are_not_ours() {
    let (msix, _) = msix(3);
    assert_eq!(msix.bar_read(0, 0, Width::B4), None);
    assert_eq!(msix.bar_read(1, 48, Width::B4), None, "after the table");
    assert_eq!(msix.bar_read(1, 44, Width::B8), None, "half in the table");
    assert_eq!(msix.bar_read(1, 0x808, Width::B4), None, "after the PBA");
    assert_eq!(msix.bar_write(1, 0x7fc, Width::B8, 0), None, "before the PBA");
    assert_eq!(msix.bar_write(1, u64::MAX, Width::B8, 0), None);
    assert!(msix.event(2).is_some() && msix.event(3).is_none());
}

#[test]
fn pending_bits_show_signals_that_wait_and_do_not_take_them() {
    let (msix, source) = msix(70);
    let _ = msix.set_control(ENABLE);
    msix.event(1).unwrap().write(3).unwrap();
    msix.event(69).unwrap().write(1).unwrap();
    assert_eq!(msix.bar_read(1, 0x800, Width::B4), Some(2));
    assert_eq!(msix.bar_read(1, 0x800, Width::B8), Some(2));
    assert_eq!(msix.bar_read(1, 0x808, Width::B8), Some(0x20));
    assert_eq!(msix.bar_read(1, 0x800, Width::B1), Some(2));
    msix.bar_write(1, 0x800, Width::B8, 0).unwrap();
    assert_eq!(msix.bar_read(1, 0x800, Width::B4), Some(2), "read-only, and still there");
    program(&msix, 1, 0xfee0_0000, 1);
    assert_eq!(msix.bar_read(1, 0x800, Width::B4), Some(0), "not pending any more: it is delivered");
    assert_eq!(source.interrupt(1).take_signals(), Some(3), "nobody took the signal");
}

#[test]
fn a_platform_that_refuses_leaves_the_vector_masked_and_is_asked_again() {
    let (msix, source) = msix(1);
    let _ = msix.set_control(ENABLE);
    source.set_broken(true);
    program(&msix, 0, 0xfee0_0000, 1);
    msix.event(0).unwrap().write(1).unwrap();
    assert_eq!(msix.bar_read(1, 0x800, Width::B4), Some(1), "still pending");
    source.set_broken(false);
    let _ = source.interrupt(0).take_calls();
    msix.bar_write(1, 12, Width::B4, 1).unwrap();
    msix.bar_write(1, 12, Width::B4, 0).unwrap();
    assert_eq!(source.interrupt(0).take_calls(), [message(0xfee0_0000, 1)]);
}

#[test]
fn shortage_is_an_error_of_construction() {
    let source = MockMsi::limited(2);
    assert!(Msix::new("test", MsixLayout::in_own_bar(3, 1).unwrap(), &source).is_err());
}

#[test]
fn reset_masks_and_empties_everything() {
    let (msix, source) = msix(2);
    program(&msix, 0, 0xfee0_1000, 0x41);
    let _ = msix.set_control(ENABLE);
    let _ = source.interrupt(0).take_calls();
    msix.reset();
    assert_eq!(source.interrupt(0).take_calls(), [None]);
    assert!(!msix.enabled());
    assert_eq!(msix.bar_read(1, 0, Width::B8), Some(0));
    assert_eq!(msix.bar_read(1, 12, Width::B4), Some(1));
    assert_eq!(msix.set_control(ENABLE), MsixChange::Enabled);
    assert_eq!(source.interrupt(0).take_calls(), [], "masked");
}

proptest! {
    /// Reads of all widths agree whatever was written, and a vector is live exactly when enable,
    /// function mask and its own mask say so, with the message the table shows.
    #[test]
    fn random_accesses_agree(
        accesses in prop::collection::vec((0_u64..0x40, 0..4_usize, any::<u64>(), any::<u16>()), 1..40)
    ) {
        let (msix, source) = msix(3);
        for (offset, width, value, control) in accesses {
            let width = [Width::B1, Width::B2, Width::B4, Width::B8][width];
            let inside = offset + width.bytes() as u64 <= 48;
            prop_assert_eq!(msix.bar_write(1, offset, width, value).is_some(), inside);
            let _ = msix.set_control(control);
            let read = |offset, width| msix.bar_read(1, offset, width).unwrap();
            for vector in 0..3_usize {
                let at = vector as u64 * 16;
                let shown = MsiMessage { address: read(at, Width::B8), data: read(at + 8, Width::B4) as u32 };
                let open = control & 0xc000 == 0x8000 && read(at + 12, Width::B4) == 0;
                let live = msix.lock().entries[vector].live;
                prop_assert_eq!(live, open.then_some(shown));
                prop_assert_eq!(source.interrupt(vector).route(), live);
            }
            for offset in 0..40 {
                let bytes = (0..8).map(|i| read(offset + i, Width::B1) << (8 * i)).fold(0, |a, b| a | b);
                prop_assert_eq!(read(offset, Width::B8), bytes);
                prop_assert_eq!(read(offset, Width::B4), bytes & 0xffff_ffff);
            }
        }
    }
}

#[test]
fn a_saved_table_is_routed_in_another_of_the_same_size() {
    let (first, _) = msix(3);
    program(&first, 1, 0xfee0_1000, 0x41);
    let _ = first.set_control(0x8000);
    let saved = serde_json::to_string(&first.state()).unwrap();
    let smaller = msix(2).0;
    assert!(smaller.set_state(serde_json::from_str(&saved).unwrap()).is_err());
    assert!(!smaller.enabled());
    let (second, source) = msix(3);
    second.set_state(serde_json::from_str(&saved).unwrap()).unwrap();
    assert!(second.enabled());
    assert_eq!(source.interrupt(1).take_calls(), [message(0xfee0_1000, 0x41)]);
    assert_eq!(second.bar_read(4, 16, Width::B4), first.bar_read(4, 16, Width::B4));
    second.set_state(msix(3).0.state()).unwrap();
    assert_eq!((source.interrupt(1).take_calls(), second.enabled()), (vec![None], false));
}
