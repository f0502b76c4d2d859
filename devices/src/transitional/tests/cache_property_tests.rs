// SPDX-License-Identifier: Apache-2.0
//! Conformance item 37: two identical stacks, one with the shadow and one without, get the same
//! random guest, and the guest sees the same. The guest may do anything: all widths and offsets, the
//! modern interface in between, kicks, MSI-X, resets of all kinds, real disk requests.

use std::io::Write;

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use crate::bus::{Access, Width};
use crate::pci::PciDevice;
use crate::soft_pf::{NetBackend, NotifyQuirk, Quirks, VfQuirks, VfSpec};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{DEVICE_WRITES, Ring, Stack};

const SECTOR: u64 = 512;
const RING: u64 = 0x10_0000;
const BUFFERS: u64 = 0x20_0000;
/// BAR with the modern structures of a VF, and where the device configuration is in it.
const MODERN_BAR: u8 = 2;
const MODERN_CONFIG: u64 = 0x2000;

#[derive(Clone, Debug)]
enum Op {
    Read(u64, Width),
    Write(u64, Width, u32),
    /// Queue select, and an address that is 0 or the queue's own.
    SetUp(u16, bool),
    Kick(u16),
    /// Both vectors, each read back.
    Vectors(u16),
    /// A status, and read back.
    Status(u8),
    Command(u32),
    Msix(bool),
    ModernRead(u64, Width),
    ModernWrite(u64, Width, u32),
    MachineReset,
    /// A whole driver that writes and reads this sector.
    Disk(u8),
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::B1), Just(Width::B2), Just(Width::B4)]
}

fn value() -> impl Strategy<Value = u32> {
    prop_oneof![0..8_u32, Just(0), Just(3), Just(7), any::<u32>()]
}

/// Registers as drivers write them. Queue addresses are left to [`Op::SetUp`]: rings on top of each
/// other would make the device's work depend on its thread's timing.
fn register_write() -> impl Strategy<Value = Op> {
    let place = prop_oneof![
        Just((4_u64, Width::B4)),
        Just((14, Width::B2)),
        Just((18, Width::B1)),
        Just((20, Width::B2)),
        Just((22, Width::B2)),
        Just((20, Width::B1)),
        Just((25, Width::B1)),
    ];
    (place, value()).prop_map(|((offset, width), value)| Op::Write(offset, width, value))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..72_u64, width()).prop_map(|(o, w)| Op::Read(o, w)),
        4 => (prop::sample::select(vec![0_u64, 4, 8, 12, 14, 18, 20, 22, 24]), width()).prop_map(|(o, w)| Op::Read(o, w)),
        6 => (18..32_u64).prop_map(|o| Op::Read(o, Width::B1)),
        6 => register_write(),
        2 => (prop_oneof![0..8_u64, 12..72_u64], width(), value()).prop_map(|(o, w, v)| Op::Write(o, w, v)),
        4 => (0..5_u16, prop::bool::weighted(0.7)).prop_map(|(queue, on)| Op::SetUp(queue, on)),
        2 => (0..4_u16).prop_map(Op::Kick),
        3 => prop_oneof![0..5_u16, Just(0xffff)].prop_map(Op::Vectors),
        3 => prop_oneof![0..8_u8, Just(7), any::<u8>()].prop_map(Op::Status),
        1 => prop::sample::select(vec![0_u32, 1, 3, 5, 7, 0x407]).prop_map(Op::Command),
        3 => prop::bool::weighted(0.7).prop_map(Op::Msix),
        1 => (prop_oneof![0..64_u64, MODERN_CONFIG..MODERN_CONFIG + 24], width()).prop_map(|(o, w)| Op::ModernRead(o, w)),
        // Everything but "enable this queue".
         4 => (prop::sample::select(vec![(8_u64, Width::B4), (12, Width::B4), (16, Width::B2), (20, Width::B1), (22, Width::B2),
            (24, Width::B2), (26, Width::B2)]), value()).prop_map(|((o, w), v)| Op::ModernWrite(o, w, v)),
        1 => Just(Op::MachineReset),
        1 => (1..60_u8).prop_map(Op::Disk),
    ]
}

fn access(offset: u64, width: Width) -> Access {
    Access { offset, width, vcpu: 0 }
}

/// What the guest sees of `op`.
fn run(stack: &mut Stack, op: &Op, is_disk: bool) -> Vec<u64> {
    let device = stack.device.clone();
    match *op {
        Op::Read(offset, width) => return vec![device.bar_read(0, access(offset, width))],
        Op::Write(offset, width, value) => stack.write(offset, width, width.truncate(value.into()) as u32),
        Op::SetUp(queue, on) => {
            stack.write(14, Width::B2, queue.into());
            let before = stack.read(8, Width::B4);
            let pfn = if on { (RING >> 12) as u32 + 8 * u32::from(queue) } else { 0 };
            stack.write(8, Width::B4, pfn);
            return vec![before.into(), stack.read(8, Width::B4).into(), stack.read(12, Width::B2).into()];
        }
        Op::Vectors(vector) => {
            let pair = [20, 22].map(|offset| {
                stack.write(offset, Width::B2, vector.into());
                stack.read(offset, Width::B2).into()
            });
            return pair.to_vec();
        }
        Op::Status(status) => {
            stack.write(18, Width::B1, status.into());
            return vec![stack.read(18, Width::B1).into()];
        }
        Op::Kick(queue) => stack.write(16, Width::B2, queue.into()),
        Op::Command(command) => {
            let _ = device.config_write(4, Width::B2, command);
        }
        Op::Msix(on) => stack.set_msix(on),
        Op::ModernRead(offset, width) => return vec![device.bar_read(MODERN_BAR, access(offset, width))],
        Op::ModernWrite(offset, width, value) => {
            let _ = device.bar_write(MODERN_BAR, access(offset, width), width.truncate(value.into()));
        }
        Op::MachineReset => {
            let _ = device.machine_reset();
        }
        Op::Disk(sector) if is_disk => return disk(stack, sector),
        Op::Disk(_) => {}
    }
    vec![device.config_read(4, Width::B4).into()]
}

/// An old driver from load to unload; what it read on the way, and what was in the sector.
fn disk(stack: &mut Stack, sector: u8) -> Vec<u64> {
    let _ = stack.device.config_write(4, Width::B2, 7);
    stack.set_msix(false);
    let mut seen = Vec::new();
    for status in [0, 1, 3] {
        seen.push(stack.read(18, Width::B1).into());
        stack.write(18, Width::B1, status);
    }
    seen.push(stack.read(0, Width::B4).into());
    stack.write(4, Width::B4, 0);
    seen.extend((20..44).map(|offset| u64::from(stack.read(offset, Width::B1))));
    stack.memory.write_slice(&[0; 0x4000], GuestAddress(RING)).unwrap();
    let size = stack.set_up_queue(0, RING);
    seen.extend([u64::from(size), stack.read(8, Width::B4).into()]);
    stack.write(18, Width::B1, 7);
    let mut ring = Ring { base: RING, size, next: 0 };
    for kind in [1_u32, 0] {
        let (header, data, status) = (BUFFERS, BUFFERS + 0x1000, BUFFERS + 0x2000);
        let fill = if kind == 1 { sector } else { 0 };
        stack.memory.write_slice(&[fill; SECTOR as usize], GuestAddress(data)).unwrap();
        stack.memory.write_obj(kind, GuestAddress(header)).unwrap();
        stack.memory.write_obj(0_u32, GuestAddress(header + 4)).unwrap();
        stack.memory.write_obj(u64::from(sector), GuestAddress(header + 8)).unwrap();
        let flags = if kind == 0 { DEVICE_WRITES } else { 0 };
        ring.offer(&stack.memory, &[(header, 16, 0), (data, SECTOR as u32, flags), (status, 1, DEVICE_WRITES)]);
        stack.write(16, Width::B2, 0);
        seen.push(stack.wait_for_interrupt().into());
        seen.push(stack.memory.read_obj::<u8>(GuestAddress(status)).unwrap().into());
        seen.push(stack.memory.read_obj(GuestAddress(data)).unwrap());
    }
    stack.write(18, Width::B1, 0);
    seen.push(stack.read(18, Width::B1).into());
    seen
}

fn stack(is_disk: bool, quirks: &Quirks, shadow: bool) -> Stack {
    let spec = if is_disk {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0x5a; 64 * SECTOR as usize]).unwrap();
        VfSpec::Blk { size: None, file, read_only: false, id: "disk".into() }
    } else {
        VfSpec::Net { backend: NetBackend::Loopback, mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56] }
    };
    Stack::with_shadow(spec, quirks.clone(), shadow)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn item_37_a_guest_cannot_tell_whether_there_is_a_shadow(
        ops in prop::collection::vec(op(), 1..120),
        is_disk in any::<bool>(),
        pfn_zero_resets in any::<bool>(),
        loses_early_kicks in any::<bool>(),
        no_notify_info in any::<bool>(),
        vectors_kept in prop::option::weighted(0.2, 1..4_u16),
    ) {
        let quirks = Quirks { vf: VfQuirks { pfn_zero_resets, loses_early_kicks, vectors_kept }, notify: NotifyQuirk::unsupported(no_notify_info), ..Quirks::default() };
        let mut with = stack(is_disk, &quirks, true);
        let mut without = stack(is_disk, &quirks, false);
        for (step, op) in ops.iter().enumerate() {
            let (left, right) = (run(&mut with, op, is_disk), run(&mut without, op, is_disk));
            prop_assert_eq!(left, right, "step {}, {:?}: with the shadow, and without", step, op);
            prop_assert_eq!(with.line.is_high(), without.line.is_high(), "step {}", step);
        }
        let (with, without) = (with.device.report(), without.device.report());
        prop_assert_eq!(without.count(DeviceCounter::ShadowReads), 0);
        prop_assert!(with.count(DeviceCounter::Commands) <= without.count(DeviceCounter::Commands));
        prop_assert_eq!((with.errors, with.faulted, with.queues), (without.errors, without.faulted, without.queues));
    }
}

#[test]
fn such_guests_do_use_the_shadow() {
    let mut with = stack(true, &Quirks::default(), true);
    let mut without = stack(true, &Quirks::default(), false);
    assert_eq!(disk(&mut with, 9), disk(&mut without, 9));
    let (with, without) = (with.device.report(), without.device.report());
    assert!(with.count(DeviceCounter::ShadowReads) > 15, "{with:?}");
    assert_eq!(
        (with.count(DeviceCounter::Reads), with.count(DeviceCounter::Writes)),
        (without.count(DeviceCounter::Reads), without.count(DeviceCounter::Writes))
    );
    assert!(
        with.count(DeviceCounter::Commands) + 15 < without.count(DeviceCounter::Commands),
        "{} and {}",
        with.count(DeviceCounter::Commands),
        without.count(DeviceCounter::Commands)
    );
}
