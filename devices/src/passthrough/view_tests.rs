// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use super::*;
use crate::contract::mock::MockFunction;
use crate::passthrough::testing::*;

fn view() -> (Arc<MockFunction>, View) {
    let function = test_function();
    let view = View::new(function.as_ref(), true, 10).unwrap();
    (function, view)
}

/// Ids and offsets of the list that the guest can follow.
fn list(view: &View) -> Vec<(u8, u16)> {
    let mut found = Vec::new();
    let mut at = view.space.read(0x34, Width::B1) as u16;
    while at != 0 && found.len() < 64 {
        found.push((view.space.read(at, Width::B1) as u8, at));
        at = view.space.read(at + 1, Width::B1) as u16;
    }
    found
}

#[test]
fn capabilities_stay_in_place_and_unsafe_ones_leave_the_list() {
    let (_, view) = view();
    let expected = [(1, PM), (5, MSI), (0x11, MSIX), (0x10, EXPRESS), (9, VENDOR), (3, VPD), (0x13, RESET)];
    assert_eq!(list(&view), expected, "without virtio's way into BARs and without enhanced allocation");
    assert_ne!(view.space.read(6, Width::B2) & 0x10, 0, "STATUS says that there is a list");
}

#[test]
fn only_vendor_and_vpd_registers_are_written_through() {
    let (_, view) = view();
    let forwarded: Vec<u16> = (0..256).filter(|at| view.owners[usize::from(*at)] == Owner::Forwarded).collect();
    let expected: Vec<u16> = (VENDOR + 2..VENDOR + 16).chain(VPD + 2..VPD + 8).collect();
    assert_eq!(forwarded, expected);
    for at in (0..0x40).chain(MSI..MSI + 24).chain(MSIX..MSIX + 12).chain(PM..PM + 8) {
        assert_eq!(view.owners[usize::from(at)], Owner::Ours, "{at:#x}");
    }
}

#[test]
fn the_header_is_the_functions_without_expansion_rom_and_with_our_interrupt() {
    let (_, view) = view();
    let read = |at, width| view.space.read(at, width);
    assert_eq!(read(0, Width::B4), 0x1041_1af4);
    assert_eq!(read(8, Width::B4), 0x0200_0007);
    assert_eq!(read(0x2c, Width::B4), 0x1141_1af4);
    assert_eq!(read(0x30, Width::B4), 0, "no expansion ROM");
    assert_eq!((read(0x3c, Width::B1), read(0x3d, Width::B1)), (10, 1));
    let without_pin = View::new(test_function().as_ref(), false, 10).unwrap();
    assert_eq!(without_pin.space.read(0x3d, Width::B1), 0);
}

#[test]
fn bars_have_the_functions_sizes_and_kinds() {
    let (_, view) = view();
    let bars: Vec<_> = view.space.bars().iter().map(|bar| (bar.bar, bar.kind, bar.size)).collect();
    assert_eq!(bars, [(0, BarKind::Io, 64), (2, BarKind::Memory64 { prefetchable: true }, 0x4000)]);
}

/// A VF that is given to the guest without a legacy function in front of it.
#[test]
fn item_28_without_the_legacy_function_a_vf_is_purely_modern() {
    use crate::soft_pf::{NetBackend, SoftPf, VfSpec};
    let soft = SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [2; 6] }]).unwrap();
    soft.enable_vfs(1).unwrap();
    let view = View::new(soft.vf(0).unwrap().as_ref(), false, 10).unwrap();
    assert_eq!(view.space.read(0, Width::B4), 0x1041_1af4, "a modern network card");
    assert_ne!(view.space.read(8, Width::B1), 0, "legacy drivers want revision 0");
    let bars: Vec<_> = view.space.bars().iter().map(|bar| (bar.bar, matches!(bar.kind, BarKind::Io))).collect();
    assert_eq!(bars, [(2, false), (4, false)], "no BAR 0, no ports");
    assert_eq!(view.space.read(0x10, Width::B4), 0);
    assert_eq!(list(&view).iter().filter(|(id, _)| *id == 9).count(), 4, "virtio's structures");
}

#[test]
fn power_states_are_kept_and_device_control_stays_here() {
    let (_, mut view) = view();
    let _ = view.space.write(PM + 4, Width::B2, 0xffff);
    assert_eq!(view.space.read(PM + 4, Width::B2), 0x000b, "D3, no soft reset; the rest is not there");
    assert_eq!(view.space.read(PM + 2, Width::B2), 0x07c3, "cannot wake the host");
    let _ = view.space.write(EXPRESS + 8, Width::B2, 0xffff);
    assert_eq!(view.space.read(EXPRESS + 8, Width::B2), 0x7fff);
    assert_eq!(view.places.reset, [Some((EXPRESS + 9, 0x80)), Some((RESET + 4, 1))]);
}

#[test]
fn a_bridge_and_a_dead_function_are_refused() {
    let function = test_function();
    function.state().config[0x0e] = 1;
    assert!(matches!(View::new(function.as_ref(), true, 10), Err(ViewError::Header { header: 1, .. })));
    function.state().config[0x0e] = 0xff;
    assert!(matches!(View::new(function.as_ref(), true, 10), Err(ViewError::Header { header: 0x7f, .. })));
}

#[test]
fn vector_structures_outside_of_bars_are_refused() {
    for register in [0x0000_0005, 0x0000_4002, 0x0000_0000, 0xffff_fffa] {
        let function = test_function();
        function.state().config[usize::from(MSIX) + 4..][..4].copy_from_slice(&u32::to_le_bytes(register));
        assert!(View::new(function.as_ref(), true, 10).is_err(), "{register:#x}");
    }
}

#[test]
fn a_list_of_garbage_does_no_harm() {
    for next in [0xfc, 0x40, 0x44, 0xf8, 0x08] {
        let function = test_function();
        let mut bytes = function.state().config.clone();
        for (id, at) in (0_u8..).zip((0x40..0x100).step_by(4)) {
            bytes[at] = id % 0x15;
            bytes[at + 1] = if at + 4 < 0x100 { at as u8 + 4 } else { next };
            bytes[at + 2] = 0xff;
        }
        function.state().config = bytes;
        if let Ok(view) = View::new(function.as_ref(), true, 10) {
            assert!(list(&view).len() <= 48);
        }
    }
}
