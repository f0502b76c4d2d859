// SPDX-License-Identifier: Apache-2.0
//! Random guests over the whole stack, with each admin command looked at on its way to the PF: nothing
//! a guest does to its function makes a command with another opcode than 2 to 5, for another group or
//! member, or for bytes that are not inside one field (conformance item 41).
use proptest::prelude::*;

use crate::admin::faulty::Seen;
use crate::bus::{Access, Width};
use crate::pci::PciDevice;
use crate::soft_pf::{NotifyQuirk, Quirks};
use crate::transitional::tests::faulty_stack::{QUEUE, Setup, Stack};

/// Sizes of the fields in order, from the standard's structures: registers, and a disk's configuration.
const REGISTERS: [u8; 10] = [4, 4, 4, 2, 2, 2, 1, 1, 2, 2];
const DISK: [u8; 30] = [8, 4, 4, 2, 1, 1, 4, 1, 1, 2, 4, 1, 1, 2, 4, 4, 4, 4, 4, 1, 3, 4, 4, 4, 4, 4, 4, 4, 4, 1];

#[derive(Clone, Debug)]
enum Op {
    Read(u8, u64, Width),
    Write(u8, u64, Width, u32),
    Config(u16, Width, u32),
    Msix(bool),
    SetUp,
}

fn op() -> impl Strategy<Value = Op> {
    let width = || prop_oneof![Just(Width::B1), Just(Width::B2), Just(Width::B4)];
    let value = || prop_oneof![0..8_u32, any::<u32>(), Just(0x100)];
    let bar = || prop_oneof![4 => Just(0_u8), 1 => Just(2), 1 => Just(4)];
    let register =
        prop_oneof![Just((14, Width::B2)), Just((8, Width::B4)), Just((16, Width::B2)), Just((18, Width::B1))];
    prop_oneof![
        6 => (bar(), 0..140_u64, width()).prop_map(|(bar, offset, width)| Op::Read(bar, offset, width)),
        6 => (bar(), 0..140_u64, width(), value()).prop_map(|(bar, offset, width, v)| Op::Write(bar, offset, width, v)),
        6 => (register, value()).prop_map(|((offset, width), v)| Op::Write(0, offset, width, v)),
        1 => (0..64_u16, width(), any::<u32>()).prop_map(|(at, width, v)| Op::Config(at * 4, width, v)),
        1 => any::<bool>().prop_map(Op::Msix),
        1 => Just(Op::SetUp),
    ]
}

fn inside_one_field(sizes: &[u8], offset: u8, len: usize) -> bool {
    let (first, last) = (usize::from(offset), usize::from(offset) + len - 1);
    let field = |byte: usize| {
        let mut end = 0;
        sizes.iter().position(|size| {
            end += usize::from(*size);
            byte < end
        })
    };
    len == 1 || (field(first).is_some() && field(first) == field(last))
}

fn check(seen: &Seen) {
    assert!((2..=5).contains(&seen.opcode) && (seen.group_type, seen.member_id) == (1, 1), "{seen:?}");
    let offset = seen.offset.unwrap();
    let len = match seen.opcode {
        2 | 4 => {
            assert_eq!((seen.writable, &seen.readable[25..32]), (8, &[0; 7][..]), "{seen:?}");
            seen.readable.len() - 32
        }
        _ => {
            assert_eq!(seen.readable.len(), 25, "{seen:?}");
            seen.writable as usize - 8
        }
    };
    assert!(matches!(len, 1 | 2 | 4), "{seen:?}");
    let sizes: &[u8] = if seen.opcode < 4 { &REGISTERS } else { &DISK };
    assert!(inside_one_field(sizes, offset, len), "{len} bytes at {offset}: {seen:?}");
    assert!(seen.opcode >= 4 || (offset < 24 && offset != 19), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn item_41_no_guest_makes_any_other_command(
        ops in prop::collection::vec(op(), 1..80),
        shadow in any::<bool>(),
        no_notify_info in any::<bool>(),
    ) {
        let quirks = Quirks { notify: NotifyQuirk::unsupported(no_notify_info), ..Quirks::default() };
        let mut stack = Stack::new(&Setup { quirks, shadow, ..Setup::default() });
        for op in &ops {
            match *op {
                Op::Read(bar, offset, width) => drop(stack.device.bar_read(bar, Access { offset, width, vcpu: 0 })),
                Op::Write(bar, offset, width, value) => {
                    let access = Access { offset, width, vcpu: 0 };
                    let _ = stack.device.bar_write(bar, access, width.truncate(value.into()));
                }
                Op::Config(offset, width, value) => stack.config_write(offset, width, value),
                Op::Msix(on) => stack.set_msix(on),
                Op::SetUp => {
                    stack.write(18, Width::B1, 0);
                    stack.start();
                    prop_assert_eq!(stack.read(12, Width::B2), u32::from(QUEUE));
                    stack.offer_read(3);
                    stack.write(16, Width::B2, 0);
                }
            }
            stack.pf.seen().iter().for_each(check);
        }
        prop_assert_eq!(stack.pf.violations(), 0);
    }
}

/// The check can fail.
#[test]
fn fields_of_the_check() {
    assert!(inside_one_field(&DISK, 16, 2) && !inside_one_field(&DISK, 17, 2) && !inside_one_field(&DISK, 16, 4));
    assert!(inside_one_field(&REGISTERS, 0, 4) && !inside_one_field(&REGISTERS, 18, 2));
    assert_eq!(DISK.iter().map(|size| u32::from(*size)).sum::<u32>(), 93);
}
