// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Answers with its own number and the offset, and remembers the last write.
struct Probe {
    id: u64,
    written: AtomicU64,
}

impl Probe {
    fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id, written: AtomicU64::new(0) })
    }
}

impl IoDevice for Probe {
    fn name(&self) -> &str {
        "probe"
    }
    fn read(&self, access: Access) -> u64 {
        self.id << 8 | access.offset
    }
    fn write(&self, access: Access, value: u64) -> Effect {
        self.written.store(access.offset << 32 | value, Ordering::SeqCst);
        Effect::Remap
    }
}

fn range(base: u64, size: u64) -> Range {
    Range::new(base, size).unwrap()
}

fn claim(base: u64, size: u64, id: u64) -> Claim {
    Claim { range: range(base, size), device: Probe::new(id) }
}

#[test]
fn range_is_never_empty_and_never_wraps() {
    assert_eq!(Range::new(5, 0), None);
    assert_eq!(Range::new(u64::MAX, 2), None);
    assert_eq!(range(u64::MAX, 1).last(), u64::MAX);
}

#[test]
fn finds_first_and_last_address_of_each_device() {
    let bus = Bus::new("test");
    bus.insert(range(0x60, 5), Probe::new(1)).unwrap();
    bus.insert(range(0x3f8, 8), Probe::new(2)).unwrap();
    assert_eq!(bus.read(0x60, Width::B2, 0), 0x100);
    assert_eq!(bus.read(0x64, Width::B1, 0), 0x04);
    assert_eq!(bus.read(0x3ff, Width::B2, 0), 0xffff, "second byte is outside");
    assert_eq!(bus.read(0x3f7, Width::B2, 0), 0xffff, "first byte is outside");
    assert_eq!(bus.read(0x65, Width::B4, 0), 0xffff_ffff);
    assert_eq!(bus.read(u64::MAX, Width::B8, 0), u64::MAX);
}

#[test]
fn read_value_is_cut_to_width_and_write_value_too() {
    let bus = Bus::new("test");
    let probe = Probe::new(0xab);
    bus.insert(range(0, 4), probe.clone()).unwrap();
    assert_eq!(bus.read(1, Width::B1, 0), 0x01);
    assert_eq!(bus.write(2, Width::B1, 0x1234, 0), Effect::Remap);
    assert_eq!(probe.written.load(Ordering::SeqCst), 2 << 32 | 0x34);
    assert_eq!(bus.write(9, Width::B1, 1, 0), Effect::None);
}

#[test]
fn fixed_devices_may_not_overlap() {
    let bus = Bus::new("test");
    bus.insert(range(0x70, 2), Probe::new(1)).unwrap();
    let error = bus.insert(range(0x71, 1), Probe::new(2)).unwrap_err();
    assert!(error.to_string().contains("0x71-0x71 overlaps"), "{error}");
}

#[test]
fn overlapping_windows_first_one_wins_and_fixed_ones_always() {
    let bus = Bus::new("test");
    bus.insert(range(0xc000, 0x10), Probe::new(1)).unwrap();
    let placed = bus.set_windows(&[claim(0xc008, 8, 2), claim(0xd000, 0x40, 3), claim(0xd020, 0x40, 4)]);
    assert_eq!(placed, [false, true, false]);
    assert_eq!(bus.read(0xc009, Width::B1, 0), 0x09);
    assert_eq!(bus.read(0xd020, Width::B2, 0), 0x320);
    assert_eq!(bus.set_windows(&[]), Vec::<bool>::new());
    assert_eq!(bus.read(0xd020, Width::B2, 0), 0xffff);
}
