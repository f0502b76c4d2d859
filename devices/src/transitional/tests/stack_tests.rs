// SPDX-License-Identifier: Apache-2.0
//! The whole stack below a guest: this module over admin commands over a PF's admin virtqueue over
//! the software PF, with a driver's accesses on top and real rings in memory.
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress};

use crate::bus::Width;
use crate::contract::mock::{give_it_time, wait_until};
use crate::soft_pf::{NetBackend, NotifyQuirk, Quirks, ReplyQuirks, VfQuirks, VfSpec};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{DEVICE_WRITES, Ring, Stack, counts};
use crate::transitional::*;

const SECTOR: usize = 512;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// Rings from here, buffers from there.
const RING: u64 = 0x10_0000;
const BUFFERS: u64 = 0x20_0000;

/// One block request: type 0 in, 1 out; returns the status byte's address.
fn request(stack: &Stack, ring: &mut Ring, kind: u32, sector: u64, length: u32) -> u64 {
    let (header, data, status) = (BUFFERS, BUFFERS + 0x1000, BUFFERS + 0x8000);
    stack.memory.write_obj(kind.to_le(), GuestAddress(header)).unwrap();
    stack.memory.write_obj(0_u32, GuestAddress(header + 4)).unwrap();
    stack.memory.write_obj(sector.to_le(), GuestAddress(header + 8)).unwrap();
    stack.memory.write_obj(0xff_u8, GuestAddress(status)).unwrap();
    let data_flags = if kind == 0 { DEVICE_WRITES } else { 0 };
    ring.offer(&stack.memory, &[(header, 16, 0), (data, length, data_flags), (status, 1, DEVICE_WRITES)]);
    status
}

fn disk() -> (std::fs::File, VfSpec) {
    let mut file = tempfile::tempfile().unwrap();
    for sector in 0..64_u8 {
        file.write_all(&[sector; SECTOR]).unwrap();
    }
    let spec = VfSpec::Blk { size: None, file: file.try_clone().unwrap(), read_only: false, id: "disk".into() };
    (file, spec)
}

/// Driver steps up to DRIVER_OK without MSI-X, as in RHEL 5; never touches bus mastering.
fn start_disk(stack: &Stack) -> Ring {
    stack.write(18, Width::B1, 0);
    stack.write(18, Width::B1, 1);
    stack.write(18, Width::B1, 3);
    let features = stack.read(0, Width::B4);
    stack.write(4, Width::B4, features & (1 << 2 | 1 << 6));
    let size = stack.set_up_queue(0, RING);
    stack.write(18, Width::B1, 7);
    stack.memory.write_slice(&[0; 0x4000], GuestAddress(RING)).unwrap();
    Ring { base: RING, size, next: 0 }
}

#[test]
fn a_driver_with_intx_reads_and_writes_a_disk() {
    let (mut file, spec) = disk();
    let mut stack = Stack::new(spec, Quirks::default());
    let capacity: u64 = (0..8).map(|byte| u64::from(stack.read(20 + byte, Width::B1)) << (8 * byte)).sum();
    assert_eq!(capacity, 64);
    let mut ring = start_disk(&stack);

    let status = request(&stack, &mut ring, 0, 5, 2 * SECTOR as u32);
    stack.write(16, Width::B2, 0);
    assert_eq!(stack.wait_for_interrupt(), 1);
    assert!(!stack.line.is_high());
    assert_eq!(stack.read(19, Width::B1), 0);
    assert_eq!(ring.used_index(&stack.memory), 1);
    assert_eq!(stack.memory.read_obj::<u8>(GuestAddress(status)).unwrap(), 0);
    let mut data = [0; 2 * SECTOR];
    stack.memory.read_slice(&mut data, GuestAddress(BUFFERS + 0x1000)).unwrap();
    assert!(data[..SECTOR].iter().all(|b| *b == 5) && data[SECTOR..].iter().all(|b| *b == 6));

    stack.memory.write_slice(&[0xa5; SECTOR], GuestAddress(BUFFERS + 0x1000)).unwrap();
    let status = request(&stack, &mut ring, 1, 9, SECTOR as u32);
    stack.write(16, Width::B2, 0);
    assert_eq!(stack.wait_for_interrupt(), 1);
    assert_eq!(stack.memory.read_obj::<u8>(GuestAddress(status)).unwrap(), 0);
    let mut sector = [0; SECTOR];
    file.seek(SeekFrom::Start(9 * SECTOR as u64)).unwrap();
    file.read_exact(&mut sector).unwrap();
    assert_eq!(sector, [0xa5; SECTOR]);

    let report = stack.device.report();
    assert_eq!((report.count(DeviceCounter::KicksStored), report.faulted), (2, None));
    assert_eq!(report.errors, crate::contract::RegisterFailures::default());
}

/// Both kinds of VF: those that serve kicks before DRIVER_OK, and those that lose them.
fn early_quirks() -> [Quirks; 2] {
    [false, true].map(|loses_early_kicks| Quirks {
        vf: VfQuirks { loses_early_kicks, ..VfQuirks::default() },
        ..Quirks::default()
    })
}

fn stack_with(spec: VfSpec, quirks: Quirks, early: EarlyKicks) -> Stack {
    Stack::with_config(spec, quirks, |config| config.kicks.early = early)
}

#[test]
fn h12_a_disk_answers_before_driver_ok_before_features_and_before_any_status() {
    for quirks in early_quirks() {
        for early in [EarlyKicks::Auto, EarlyKicks::Start] {
            for (status, features) in [(Some(3), true), (Some(3), false), (None, false)] {
                let (_file, spec) = disk();
                let mut stack = stack_with(spec, quirks.clone(), early);
                status.into_iter().for_each(|status| stack.write(18, Width::B1, status));
                if features {
                    stack.write(4, Width::B4, 0);
                }
                let size = stack.set_up_queue(0, RING);
                let mut ring = Ring { base: RING, size, next: 0 };
                for round in 0..3 {
                    request(&stack, &mut ring, 0, round, SECTOR as u32);
                    stack.write(16, Width::B2, 0);
                    assert_eq!(stack.wait_for_interrupt(), 1);
                    assert_eq!(stack.memory.read_obj::<u8>(GuestAddress(BUFFERS + 0x1000)).unwrap(), round as u8);
                    assert_eq!(stack.read(18, Width::B1), status.unwrap_or(0), "the guest's own status");
                }
                let kinds = [DeviceCounter::KicksEarly, DeviceCounter::EarlyStarts, DeviceCounter::KicksReplayed];
                assert_eq!(counts(&stack.device, kinds), [1, 1, 0]);
                // The rest of the old order, and the driver goes on.
                stack.write(4, Width::B4, 0);
                stack.write(18, Width::B1, 7);
                assert_eq!(stack.read(18, Width::B1), 7);
                request(&stack, &mut ring, 0, 9, SECTOR as u32);
                stack.write(16, Width::B2, 0);
                assert_eq!(stack.wait_for_interrupt(), 1);
                stack.write(18, Width::B1, 0);
                assert_eq!(stack.read(18, Width::B1), 0);
                assert_eq!(stack.device.report().errors, crate::contract::RegisterFailures::default());
            }
        }
    }
}

#[test]
fn h12_early_pass_leaves_it_to_the_device_and_repeats_at_driver_ok() {
    for quirks in early_quirks() {
        let loses = quirks.vf.loses_early_kicks;
        let (_file, spec) = disk();
        let mut stack = stack_with(spec, quirks, EarlyKicks::Pass);
        stack.write(18, Width::B1, 3);
        let size = stack.set_up_queue(0, RING);
        let mut ring = Ring { base: RING, size, next: 0 };
        request(&stack, &mut ring, 0, 1, SECTOR as u32);
        stack.write(16, Width::B2, 0);
        if loses {
            give_it_time(Duration::from_millis(50));
            assert_eq!(ring.used_index(&stack.memory), 0, "this device loses early kicks");
        } else {
            assert_eq!(stack.wait_for_interrupt(), 1);
        }
        stack.write(18, Width::B1, 7);
        if loses {
            assert_eq!(stack.wait_for_interrupt(), 1);
        }
        assert_eq!(ring.used_index(&stack.memory), 1);
        let kinds = [DeviceCounter::KicksEarly, DeviceCounter::EarlyStarts, DeviceCounter::KicksReplayed];
        assert_eq!(counts(&stack.device, kinds), [1, 0, 1]);
    }
}

#[test]
fn the_disk_works_after_a_reset_and_with_pfn_0_as_a_reset() {
    for pfn_zero_resets in [false, true] {
        let (_file, spec) = disk();
        let mut stack =
            Stack::new(spec, Quirks { vf: VfQuirks { pfn_zero_resets, ..VfQuirks::default() }, ..Quirks::default() });
        for round in 0..3 {
            let mut ring = start_disk(&stack);
            request(&stack, &mut ring, 0, round, SECTOR as u32);
            stack.write(16, Width::B2, 0);
            assert_eq!(stack.wait_for_interrupt(), 1);
            assert_eq!(stack.memory.read_obj::<u8>(GuestAddress(BUFFERS + 0x1000)).unwrap(), round as u8);
            stack.write(18, Width::B1, 0);
            stack.write(14, Width::B2, 0);
            stack.write(8, Width::B4, 0);
        }
        assert_eq!(stack.device.report().errors, crate::contract::RegisterFailures::default());
    }
}

#[test]
fn doorbells_in_the_owners_bar_and_kicks_by_command_work_too() {
    let owner = Quirks { notify: NotifyQuirk::Owner, ..Quirks::default() };
    let none = Quirks { notify: NotifyQuirk::Unsupported, ..Quirks::default() };
    for (quirks, by_command) in [(owner, false), (none, true)] {
        let (_file, spec) = disk();
        let mut stack = Stack::new(spec, quirks);
        let mut ring = start_disk(&stack);
        request(&stack, &mut ring, 0, 1, SECTOR as u32);
        stack.write(16, Width::B2, 0);
        assert_eq!(stack.wait_for_interrupt(), 1);
        let kinds = [DeviceCounter::KicksStored, DeviceCounter::KicksCommanded];
        assert_eq!(counts(&stack.device, kinds), if by_command { [0, 1] } else { [1, 0] });
    }
}

#[test]
fn a_disk_goes_on_when_msix_is_switched_on_and_off() {
    let (_file, spec) = disk();
    let mut stack = Stack::new(spec, Quirks::default());
    let mut ring = start_disk(&stack);
    stack.set_msix(true);
    stack.write(14, Width::B2, 0);
    assert_eq!(stack.read(22, Width::B2), 0xffff);
    stack.write(22, Width::B2, 1);
    assert_eq!(stack.read(22, Width::B2), 1);
    request(&stack, &mut ring, 0, 2, SECTOR as u32);
    stack.write(16, Width::B2, 0);
    wait_until("the request is served", || ring.used_index(&stack.memory) == 1);
    stack.set_msix(false);
    assert_eq!(stack.wait_for_interrupt(), 1, "the one that a switch may have lost");
    request(&stack, &mut ring, 0, 3, SECTOR as u32);
    stack.write(16, Width::B2, 0);
    assert_eq!(stack.wait_for_interrupt(), 1);
    assert_eq!(ring.used_index(&stack.memory), 2);
    assert_eq!(stack.device.report().errors, crate::contract::RegisterFailures::default());
}

#[test]
fn f01_linux_network_probe_is_37_commands() {
    let stack = Stack::new(VfSpec::Net { backend: NetBackend::Loopback, mac: MAC }, Quirks::default());
    stack.write(18, Width::B1, 0);
    for status in [1, 3] {
        stack.read(18, Width::B1);
        stack.write(18, Width::B1, status);
    }
    let features = stack.read(0, Width::B4);
    assert_eq!(features & (1 << 30), 0);
    stack.write(4, Width::B4, features & (1 << 5 | 1 << 16 | 1 << 17));
    let mac: Vec<u8> = (20..26).map(|offset| stack.read(offset, Width::B1) as u8).collect();
    assert_eq!(mac, MAC);
    stack.set_msix(true);
    stack.write(20, Width::B2, 0);
    assert_eq!(stack.read(20, Width::B2), 0);
    for queue in 0..2 {
        assert_ne!(stack.set_up_queue(queue, RING + u64::from(queue) * 0x8000), 0);
        stack.write(22, Width::B2, queue + 1);
        assert_eq!(stack.read(22, Width::B2), queue + 1);
    }
    assert_ne!(stack.set_up_queue(2, RING + 0x10000), 0);
    stack.write(16, Width::B2, 0);
    assert_eq!(stack.read(30, Width::B1) | stack.read(31, Width::B1) << 8, 1, "link up, behind the moved MAC");
    stack.read(18, Width::B1);
    stack.write(18, Width::B1, 7);
    assert_eq!(stack.commands(), 37, "35 of the trace, one look whether the reset ended, and the early start");
    let kinds = [DeviceCounter::Commands, DeviceCounter::EarlyStarts, DeviceCounter::KicksReplayed];
    assert_eq!(counts(&stack.device, kinds), [37, 1, 0]);
}

#[test]
fn f12_a_hanging_pf_ends_service_and_nothing_else() {
    let (_file, spec) = disk();
    let stack = Stack::new(spec, Quirks::default());
    start_disk(&stack);
    stack.pf.set_quirks(Quirks {
        reply: ReplyQuirks { answer: Some((22, 5)), ..ReplyQuirks::default() },
        ..Quirks::default()
    });
    assert_eq!(stack.read(20, Width::B1), 0xff);
    assert!(stack.device.report().faulted.is_some(), "the member is gone");
    let before = stack.commands();
    assert_eq!((stack.read(18, Width::B1), stack.read(0, Width::B4)), (7, u32::MAX));
    assert_eq!(stack.commands(), before);
    stack.pf.set_quirks(Quirks::default());
    stack.write(18, Width::B1, 0);
    assert_eq!(stack.device.report().faulted, None);
    assert_eq!(stack.read(20, Width::B1), 64);
    stack.device.shutdown();
}
