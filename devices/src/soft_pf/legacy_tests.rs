// SPDX-License-Identifier: Apache-2.0
//! Legacy registers of a network VF, through administration commands.

use super::super::testing::{Bench, eventually, kick, read, settle};
use super::super::{NotifyQuirk, Quirks, VfQuirks};
use super::*;
use crate::bus::Width;

fn bench() -> Bench {
    Bench::ready(Bench::nets(2))
}

impl Bench {
    fn reg(&mut self, offset: u8, len: u32) -> u32 {
        self.legacy_read(1, false, offset, len).unwrap()
    }
}

#[test]
fn features_have_32_bits() {
    let mut bench = bench();
    let offered = bench.reg(at::DEVICE_FEATURES, 4);
    assert_eq!(offered, 0x380f_8020 & offered | 1 << 27, "any layout, and nothing of the standard's 1.x");
    assert_eq!(offered & (1 << 30 | 1 << 27 | 1 << 5), 1 << 27 | 1 << 5);
    bench.legacy_write(1, at::DRIVER_FEATURES, 4, u32::MAX);
    assert_eq!(bench.reg(at::DRIVER_FEATURES, 4), offered);
    bench.legacy_write(1, at::DRIVER_FEATURES + 3, 1, 0);
    assert_eq!(bench.reg(at::DRIVER_FEATURES, 4), offered & 0xff_ffff);
    bench.legacy_write(1, at::DEVICE_FEATURES, 4, 0);
    assert_eq!(bench.reg(at::DEVICE_FEATURES, 4), offered);
}

#[test]
fn queues_are_selected_and_sized_by_the_device() {
    let mut bench = bench();
    for (queue, size) in [(0, 256), (1, 256), (2, 64), (3, 0), (0xffff, 0)] {
        bench.legacy_write(1, at::QUEUE_SELECT, 2, queue);
        assert_eq!((bench.reg(at::QUEUE_SELECT, 2), bench.reg(at::QUEUE_SIZE, 2)), (queue, size));
        bench.legacy_write(1, at::QUEUE_SIZE, 2, 16);
        assert_eq!(bench.reg(at::QUEUE_SIZE, 2), size, "not negotiable");
        bench.legacy_write(1, at::QUEUE_ADDRESS, 4, 0x1234 + queue);
    }
    for (queue, pfn) in [(0, 0x1234), (1, 0x1235), (2, 0x1236), (3, 0)] {
        bench.legacy_write(1, at::QUEUE_SELECT, 2, queue);
        assert_eq!(bench.reg(at::QUEUE_ADDRESS, 4), pfn);
    }
    assert_eq!(bench.legacy_read(2, false, at::QUEUE_SELECT, 2), Ok(0), "each VF has its own");
}

#[test]
fn status_takes_any_order_and_zero_resets_all() {
    let mut bench = bench();
    bench.soft.vf(0).unwrap().set_msix(&[None; 4]).unwrap();
    for (write, reads) in [(6, 6), (3, 3), (7, 7), (0x8f, 0x87), (0x4b, 3)] {
        bench.legacy_write(1, at::DEVICE_STATUS, 1, write);
        assert_eq!(bench.reg(at::DEVICE_STATUS, 1), reads, "FEATURES_OK and NEEDS_RESET are not there");
    }
    bench.legacy_write(1, at::DRIVER_FEATURES, 4, 1 << 5);
    bench.legacy_write(1, at::QUEUE_SELECT, 2, 1);
    bench.legacy_write(1, at::QUEUE_ADDRESS, 4, 77);
    bench.legacy_write(1, at::QUEUE_VECTOR, 2, 2);
    bench.legacy_write(1, at::CONFIG_VECTOR, 2, 1);
    bench.legacy_write(1, at::DEVICE_STATUS, 1, 0);
    assert_eq!(
        (bench.reg(at::DEVICE_STATUS, 1), bench.reg(at::DRIVER_FEATURES, 4), bench.reg(at::QUEUE_SELECT, 2)),
        (0, 0, 0)
    );
    bench.legacy_write(1, at::QUEUE_SELECT, 2, 1);
    assert_eq!((bench.reg(at::QUEUE_ADDRESS, 4), bench.reg(at::QUEUE_VECTOR, 2)), (0, 0xffff));
    assert_eq!(bench.reg(at::CONFIG_VECTOR, 2), 0xffff);
}

#[test]
fn address_0_disables_the_queue_or_resets_the_device() {
    for resets in [false, true] {
        let mut bench = bench();
        bench.soft.set_quirks(Quirks {
            vf: VfQuirks { pfn_zero_resets: resets, ..VfQuirks::default() },
            ..Quirks::default()
        });
        let (vf, ram) = bench.vf(0, 0x40000);
        let mut ring = bench.legacy_queue(1, 1, &ram, 0x1000);
        bench.legacy_write(1, at::DEVICE_STATUS, 1, 7);
        ring.add(&[(0x3_0000, 10, false)]);
        kick(vf.as_ref(), 1);
        ring.wait();
        bench.legacy_write(1, at::QUEUE_ADDRESS, 4, 0);
        ring.add(&[(0x3_0000, 10, false)]);
        kick(vf.as_ref(), 1);
        settle();
        assert_eq!(ring.poll(), None);
        assert_eq!(bench.reg(at::DEVICE_STATUS, 1), if resets { 0 } else { 7 });
    }
}

#[test]
fn a_write_to_notify_kicks() {
    let mut bench = bench();
    let (_vf, ram) = bench.vf(0, 0x40000);
    let mut ring = bench.legacy_queue(1, 1, &ram, 0x1000);
    bench.legacy_write(1, at::DEVICE_STATUS, 1, 7);
    ring.add(&[(0x3_0000, 10, false)]);
    for stranger in [0, 2, 3, 700, 0xffff] {
        bench.legacy_write(1, at::QUEUE_NOTIFY, 2, stranger);
    }
    settle();
    assert_eq!(ring.poll(), None);
    bench.legacy_write(1, at::QUEUE_NOTIFY, 2, 1);
    ring.wait();
    bench.soft.set_quirks(Quirks { notify: NotifyQuirk::Owner, ..Quirks::default() });
    ring.add(&[(0x3_0000, 10, false)]);
    bench.pf.region_write(2, 0x3800, Width::B2, 1).unwrap();
    ring.wait();
}

#[test]
fn b14_an_isr_read_by_command_clears_it() {
    let mut bench = bench();
    let (_vf, ram) = bench.vf(0, 0x40000);
    let mut ring = bench.legacy_queue(1, 1, &ram, 0x1000);
    bench.legacy_write(1, at::DEVICE_STATUS, 1, 7);
    ring.add(&[(0x3_0000, 10, false)]);
    bench.legacy_write(1, at::QUEUE_NOTIFY, 2, 1);
    ring.wait();
    eventually("the interrupt status shows", || (bench.reg(at::ISR_STATUS, 1) == 1).then_some(()));
    assert_eq!(bench.reg(at::ISR_STATUS, 1), 0, "the read has cleared it");
}

#[test]
fn both_interfaces_are_one_device() {
    let mut bench = bench();
    let vf = bench.soft.vf(0).unwrap();
    vf.config_write(4, Width::B2, 6).unwrap();
    vf.region_write(2, 20, Width::B1, 3).unwrap();
    vf.region_write(2, 8, Width::B4, 1).unwrap();
    vf.region_write(2, 12, Width::B4, 1).unwrap();
    assert_eq!(bench.reg(at::DEVICE_STATUS, 1), 3);
    bench.legacy_write(1, at::DRIVER_FEATURES, 4, 1 << 5);
    assert_eq!(read(vf.as_ref(), 12, Width::B4), 0, "a legacy driver has no bits from 32 on");
    bench.legacy_write(1, at::DEVICE_STATUS, 1, 0);
    assert_eq!(read(vf.as_ref(), 20, Width::B1), 0);
}
