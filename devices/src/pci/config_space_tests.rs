// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const NET: Identity = Identity {
    vendor_id: 0x1af4,
    device_id: 0x1000,
    revision_id: 0,
    class_code: [0, 0, 2],
    subsystem: Subsystem { vendor_id: 0x1af4, id: 1 },
};

fn net() -> ConfigSpace {
    let mut config = ConfigSpace::new(&NET);
    config.add_bar(0, BarKind::Io, 64).unwrap();
    config.add_bar(1, BarKind::Memory32 { prefetchable: false }, 0x1000).unwrap();
    config.add_bar(4, BarKind::Memory64 { prefetchable: true }, 0x4000).unwrap();
    config.set_interrupt(1, 11);
    config
}

fn io(base: u64) -> BarWindow {
    BarWindow { bar: 0, kind: BarKind::Io, base, size: 64 }
}

#[test]
fn e01_e02_ids_and_their_parts() {
    let config = net();
    assert_eq!(config.read(0, Width::B4), 0x1000_1af4);
    assert_eq!(config.read(2, Width::B2), 0x1000);
    assert_eq!(config.read(3, Width::B1), 0x10);
    assert_eq!(config.read(1, Width::B2), 0x001a, "unaligned");
}

#[test]
fn e03_e04_class_and_revision() {
    let config = net();
    assert_eq!(config.read(8, Width::B4), 0x0200_0000);
    assert_eq!(config.read(8, Width::B1), 0);
}

#[test]
fn e05_e06_subsystem() {
    assert_eq!(net().read(0x2c, Width::B4), 0x0001_1af4);
    let blk = ConfigSpace::new(&Identity { device_id: 0x1001, subsystem: Subsystem { id: 2, ..NET.subsystem }, ..NET });
    assert_eq!(blk.read(0x2e, Width::B2), 2);
}

#[test]
fn e07_io_bar_sizing() {
    for (size, sized) in [(64, 0xffff_ffc1), (32, 0xffff_ffe1), (128, 0xffff_ff81)] {
        let mut config = ConfigSpace::new(&NET);
        config.add_bar(0, BarKind::Io, size).unwrap();
        assert_eq!(config.write(0x10, Width::B4, u32::MAX), Changed::BARS);
        assert_eq!(config.read(0x10, Width::B4), sized);
    }
}

#[test]
fn e07_memory_bar_sizing() {
    let mut config = net();
    for bar in [0x14, 0x20, 0x24] {
        let _ = config.write(bar, Width::B4, u32::MAX);
    }
    assert_eq!(config.read(0x14, Width::B4), 0xffff_f000);
    assert_eq!(config.read(0x20, Width::B4), 0xffff_c00c);
    assert_eq!(config.read(0x24, Width::B4), 0xffff_ffff);
    assert_eq!(config.write(0x18, Width::B4, u32::MAX), Changed::empty(), "BAR 2 does not exist");
    assert_eq!(config.read(0x18, Width::B4), 0);
}

#[test]
fn e08_e09_bar_low_bits_are_fixed_and_bytes_can_be_written_alone() {
    let mut config = net();
    let _ = config.write(0x10, Width::B4, 0xc043);
    assert_eq!(config.read(0x10, Width::B4), 0xc041);

    let mut config = net();
    let _ = config.write(0x11, Width::B1, 0xc0);
    let _ = config.write(0x10, Width::B1, 0x40);
    assert_eq!(config.read(0x10, Width::B4), 0xc041);
    assert_eq!(config.read(0x10, Width::B2), 0xc041);
    assert_eq!(config.read(0x11, Width::B1), 0xc0);
    assert_eq!(config.bar(0), Some(io(0xc040)));
}

#[test]
fn e10_reset_values() {
    let mut config = net();
    let before = config.bytes().to_vec();
    assert_eq!(config.read(0x10, Width::B4), 1);
    let _ = config.write(0x10, Width::B4, 0xc040);
    let _ = config.write(0x04, Width::B2, 0x407);
    let _ = config.write(0x3c, Width::B1, 5);
    config.set_interrupt_status(true);
    config.reset();
    assert_eq!(config.bytes(), before);
}

#[test]
fn reset_but_bars_keeps_bases_only() {
    let mut config = net();
    config.place_bar(0, 0xc040);
    config.place_bar(4, 0x12_0000_4000);
    let _ = config.write(0x04, Width::B2, 3);
    config.reset_but_bars();
    assert_eq!(config.command(), Command::empty());
    assert_eq!(config.bar(0), Some(io(0xc040)));
    assert_eq!(config.bar(4).unwrap().base, 0x12_0000_4000);
    assert!(config.windows().is_empty());
}

#[test]
fn e11_e12_command_decides_what_is_decoded() {
    let mut config = net();
    config.place_bar(0, 0xc040);
    config.place_bar(1, 0xe000_0000);
    assert!(config.windows().is_empty());
    assert_eq!(config.write(0x04, Width::B2, 1), Changed::COMMAND);
    assert_eq!(config.read(0x04, Width::B2), 1);
    assert_eq!(config.windows(), [io(0xc040)]);
    assert_eq!(config.write(0x04, Width::B2, 1), Changed::empty(), "the same value again");
    let _ = config.write(0x04, Width::B2, 2);
    assert_eq!(config.windows().iter().map(|w| w.bar).collect::<Vec<_>>(), [1], "BAR 4 is not placed");
}

#[test]
fn e13_bar_moves_while_decoded() {
    let mut config = net();
    let _ = config.write(0x04, Width::B1, 1);
    let _ = config.write(0x10, Width::B4, 0xc041);
    assert_eq!(config.windows(), [io(0xc040)]);
    assert_eq!(config.write(0x10, Width::B4, 0xd041), Changed::BARS);
    assert_eq!(config.windows(), [io(0xd040)]);
    assert_eq!(config.write(0x10, Width::B4, 0xd041), Changed::empty());
}

#[test]
fn sizing_a_decoded_bar_is_no_window() {
    let mut config = net();
    let _ = config.write(0x04, Width::B2, 3);
    for bar in [0x10, 0x14, 0x20] {
        let _ = config.write(bar, Width::B4, u32::MAX);
        assert!(config.windows().is_empty(), "low half of {bar:#x}");
    }
    let _ = config.write(0x24, Width::B4, u32::MAX);
    assert!(config.windows().is_empty(), "both halves");
    let _ = config.write(0x10, Width::B4, 0xffc0);
    assert_eq!(config.windows(), [io(0xffc0)], "the last ports are fine");
    let _ = config.write(0x10, Width::B4, 0x1_0000);
    assert!(config.windows().is_empty(), "no port has more than 16 bits");
}

#[test]
fn e14_interrupt_pin_is_read_only_and_line_is_not() {
    let mut config = net();
    let _ = config.write(0x3c, Width::B4, u32::MAX);
    assert_eq!(config.read(0x3c, Width::B4), 0x01ff);
    assert_eq!(ConfigSpace::new(&NET).read(0x3d, Width::B1), 0);
}

#[test]
fn status_bit_3_is_the_owners() {
    let mut config = net();
    config.set_interrupt_status(true);
    let _ = config.write(0x04, Width::B4, 0xffff_0000);
    assert_eq!(config.read(0x06, Width::B2), 0x0008);
    config.set_interrupt_status(false);
    assert_eq!(config.read(0x06, Width::B2), 0);
}

#[test]
fn capabilities_are_linked_in_order() {
    let mut config = net();
    assert_eq!(config.read(0x34, Width::B1), 0);
    assert_eq!(config.add_capability(0x11, &[3, 0, 1, 0, 0, 0, 1, 8, 0, 0], &[0, 0xc0]), Ok(0x40));
    assert_eq!(config.add_capability(0x09, &[5; 15], &[]), Ok(0x4c));
    assert_eq!(config.add_capability(0x09, &[6; 4], &[]), Ok(0x60));
    assert_eq!(config.read(0x06, Width::B2), 0x10);
    assert_eq!(config.read(0x34, Width::B1), 0x40);
    assert_eq!(config.read(0x40, Width::B4), 0x0003_4c11);
    assert_eq!(config.read(0x4c, Width::B2), 0x6009);
    assert_eq!(config.read(0x60, Width::B2), 0x0009);
    assert_eq!(config.write(0x42, Width::B2, 0xffff), Changed::CAPABILITIES);
    assert_eq!(config.read(0x40, Width::B4), 0xc003_4c11);
    assert_eq!(config.write(0x4c, Width::B4, 0), Changed::empty(), "nothing to write there");
    config.reset();
    assert_eq!(config.read(0x40, Width::B4), 0x0003_4c11, "links survive a reset, control does not");
}

#[test]
fn capability_area_can_be_filled_and_not_overfilled() {
    let mut config = net();
    assert_eq!(config.add_capability(0x09, &[0; 0xbe], &[]), Ok(0x40));
    assert_eq!(config.add_capability(0x09, &[], &[]), Err(ConfigError::NoRoom { id: 9, bytes: 2, left: 0 }));
    assert!(matches!(config.add_capability(0x09, &[], &[1]), Err(ConfigError::MaskTooLong { .. })));
    let mut config = net();
    assert!(config.add_capability(0x09, &[0; 0xbf], &[]).is_err());
    assert!(config.add_capability(0x09, &vec![0; 0x1_0000], &[]).is_err());
    assert_eq!(config.read(0x34, Width::B4), 0, "a failed addition leaves no trace");
}

#[test]
fn extended_capabilities_are_linked() {
    let mut config = net();
    assert_eq!(config.read(0x100, Width::B4), 0, "none");
    assert_eq!(config.add_extended_capability(0x10, 1, &[0; 0x3c], &[0, 0, 0, 0, 0xff]), Ok(0x100));
    assert_eq!(config.add_extended_capability(0x0e, 2, &[0; 4], &[]), Ok(0x140));
    assert_eq!(config.read(0x100, Width::B4), 0x1401_0010);
    assert_eq!(config.read(0x140, Width::B4), 0x0002_000e);
    assert_eq!(config.write(0x108, Width::B2, 0xffff), Changed::CAPABILITIES);
    assert_eq!(config.read(0x108, Width::B4), 0xff);
    assert!(config.add_extended_capability(0x0b, 1, &[0; 0xeb5], &[]).is_err());
    assert_eq!(config.add_extended_capability(0x0b, 1, &[0; 0xeb4], &[]), Ok(0x148));
}

#[test]
fn bars_that_cannot_be() {
    let mut config = net();
    assert_eq!(config.add_bar(0, BarKind::Io, 32), Err(ConfigError::BarTaken { bar: 0 }));
    assert_eq!(config.add_bar(5, BarKind::Io, 32), Err(ConfigError::BarTaken { bar: 5 }), "upper half of 4");
    assert_eq!(config.add_bar(6, BarKind::Io, 32), Err(ConfigError::BarTaken { bar: 6 }));
    assert_eq!(config.add_bar(255, BarKind::Io, 32), Err(ConfigError::BarTaken { bar: 255 }));
    let wide = BarKind::Memory64 { prefetchable: false };
    assert_eq!(config.add_bar(3, wide, 4096), Err(ConfigError::BarTaken { bar: 3 }));
    assert_eq!(ConfigSpace::new(&NET).add_bar(5, wide, 4096), Err(ConfigError::BarTaken { bar: 5 }));
    for size in [0, 2, 48, 512, u64::MAX] {
        assert!(matches!(config.add_bar(2, BarKind::Io, size), Err(ConfigError::BarSize { .. })), "{size}");
    }
    assert!(config.add_bar(2, BarKind::Memory32 { prefetchable: false }, 1 << 32).is_err());
}

#[test]
fn outside_is_all_ones_and_writes_are_dropped() {
    let mut config = net();
    assert_eq!(config.read(0xffc, Width::B4), 0);
    assert_eq!(config.read(0xffd, Width::B4), u32::MAX);
    assert_eq!(config.read(0xfff, Width::B2), 0xffff);
    assert_eq!(config.read(u16::MAX, Width::B1), 0xff);
    assert_eq!(config.read(0, Width::B8), u32::MAX);
    let before = config.bytes().to_vec();
    assert_eq!(config.write(0xffe, Width::B4, u32::MAX), Changed::empty());
    assert_eq!(config.write(0x10, Width::B8, 0), Changed::empty());
    assert_eq!(config.bytes(), before);
}

#[test]
fn patch_sets_read_only_bits_for_good() {
    let mut config = net();
    config.add_capability(0x11, &[3, 0], &[0, 0xc0]).unwrap();
    config.patch(0x42, Width::B2, 0x8007);
    assert_eq!(config.read(0x42, Width::B2), 0x8007);
    config.reset();
    assert_eq!(config.read(0x42, Width::B2), 0x0007);
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::B1), Just(Width::B2), Just(Width::B4), Just(Width::B8)]
}

fn offset_strategy() -> impl Strategy<Value = u16> {
    prop_oneof![3 => 0_u16..0x68, 1 => 0xff_u16..0x118, 1 => any::<u16>()]
}

proptest! {
    /// Whatever is written, reads of all widths show the same bytes, read-only bytes keep their
    /// values, and what the methods say agrees with what the guest reads.
    #[test]
    fn random_writes_never_make_registers_disagree(
        writes in prop::collection::vec((offset_strategy(), width(), any::<u32>()), 1..64)
    ) {
        let mut config = net();
        config.add_capability(0x11, &[3, 0, 1, 0, 0, 0, 1, 8, 0, 0], &[0, 0xc0]).unwrap();
        config.add_extended_capability(0x10, 1, &[0; 0x3c], &[0; 12]).unwrap();
        let fresh = config.bytes().to_vec();
        for (offset, width, value) in writes {
            let before = (config.command(), config.bars());
            let changed = config.write(offset, width, value);
            prop_assert_eq!(changed.contains(Changed::COMMAND), config.command() != before.0);
            prop_assert_eq!(changed.contains(Changed::BARS), config.bars() != before.1);
        }
        for offset in 0..4096_u16 {
            let bytes = |n: u16| (0..n).map(|i| config.read(offset + i, Width::B1) << (8 * i)).sum::<u32>();
            if offset <= 4094 { prop_assert_eq!(config.read(offset, Width::B2), bytes(2)); }
            if offset <= 4092 { prop_assert_eq!(config.read(offset, Width::B4), bytes(4)); }
        }
        prop_assert_eq!(config.read(0x04, Width::B2) as u16, config.command().bits());
        prop_assert_eq!(u64::from(config.read(0x10, Width::B4)), config.bar(0).unwrap().base | 1);
        let high = u64::from(config.read(0x24, Width::B4));
        prop_assert_eq!(high << 32 | u64::from(config.read(0x20, Width::B4)), config.bar(4).unwrap().base | 0xc);
        // E17: the list ends, at the capability that was put there.
        let (mut at, mut seen) = (config.read(0x34, Width::B1) as u16, Vec::new());
        while at != 0 && seen.len() < 64 {
            seen.push((at, config.read(at, Width::B1)));
            at = config.read(at + 1, Width::B1) as u16;
        }
        prop_assert_eq!(seen, [(0x40, 0x11)]);
        for window in config.windows() {
            prop_assert!(window.base != 0 && window.base % window.size == 0);
            prop_assert!(window.base.checked_add(window.size).is_some());
        }
        config.reset();
        prop_assert_eq!(config.bytes(), fresh);
    }
}

#[test]
fn a_saved_state_brings_back_what_a_guest_wrote_and_nothing_else() {
    let mut space = ConfigSpace::new(&NET);
    space.add_bar(0, BarKind::Io, 64).unwrap();
    space.write(4, Width::B2, 0x405);
    space.write(0x10, Width::B4, 0xc000);
    let saved = serde_json::to_string(&space.state()).unwrap();
    space.reset();
    space.set_state(&serde_json::from_str(&saved).unwrap());
    assert_eq!((space.read(4, Width::B2), space.bar(0).unwrap().base), (0x405, 0xc000));
    let before = space.bytes().to_vec();
    space.set_state(&serde_json::from_str("[[0,255],[61,9],[4095,1],[65535,1]]").unwrap());
    assert_eq!(space.bytes(), before, "read-only, or outside");
}

#[test]
fn an_expansion_rom_is_sized_and_decoded_by_its_own_bit_and_command() {
    let mut space = ConfigSpace::new(&NET);
    space.add_rom(0x2_0000).unwrap();
    assert!(space.add_rom(0x2_0001).is_err());
    let rom = |space: &ConfigSpace| space.windows().into_iter().find(|window| window.bar == ROM_BAR);
    let write = |space: &mut ConfigSpace, value| space.write(0x30, Width::B4, value);
    assert_eq!(write(&mut space, 0xffff_f800), Changed::BARS);
    assert_eq!(space.read(0x30, Width::B4), 0xfffe_0000, "size");
    assert_eq!(write(&mut space, 0xfffe_0000), Changed::empty());
    write(&mut space, 0xfebe_07ff);
    assert_eq!(space.read(0x30, Width::B4), 0xfebe_0001, "bits 10 to 1 are 0");
    assert_eq!(rom(&space), None, "COMMAND");
    assert_eq!(space.write(0x04, Width::B2, 2), Changed::COMMAND);
    let kind = BarKind::Memory32 { prefetchable: false };
    assert_eq!(rom(&space), Some(BarWindow { bar: ROM_BAR, kind, base: 0xfebe_0000, size: 0x2_0000 }));
    write(&mut space, 0xfebe_0000);
    assert_eq!(rom(&space), None, "its own bit");
    write(&mut space, 1);
    assert_eq!(rom(&space), None, "not placed");
    space.place_bar(ROM_BAR, 0xd000_0000);
    assert_eq!(space.read(0x30, Width::B4), 0xd000_0000);
    space.write(0x30, Width::B1, 1);
    space.reset_but_bars();
    assert_eq!(space.read(0x30, Width::B4), 0xd000_0000, "the place stays, the bit does not");
    space.reset();
    assert_eq!(space.read(0x30, Width::B4), 0);
    let mut none = ConfigSpace::new(&NET);
    assert_eq!(none.write(0x30, Width::B4, u32::MAX), Changed::empty());
    assert_eq!((none.read(0x30, Width::B4), none.bar(ROM_BAR)), (0, None), "a function without one");
}
