// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::bus::Width;
use crate::chipset::calendar::DateTime;
use crate::contract::mock::MockLine;

/// Sunday 2026-11-22 13:07:23 UTC.
const NOW: u64 = 1_795_352_843;

struct Rig {
    cmos: Cmos,
    /// Nanoseconds since 1970.
    time: Arc<AtomicU64>,
    line: Arc<MockLine>,
}

impl Rig {
    fn new() -> Self {
        Self::with_memory(128 << 20, 0)
    }
    fn with_memory(below: u64, above: u64) -> Self {
        let time = Arc::new(AtomicU64::new(NOW * 1_000_000_000));
        let clock = time.clone();
        let clock: Clock = Box::new(move || Duration::from_nanos(clock.load(Ordering::Relaxed)));
        let (cmos, line) = (Cmos::with_clock(0, clock).unwrap(), Arc::new(MockLine::default()));
        cmos.power_on(line.clone(), below, above);
        Self { cmos, time, line }
    }
    /// A reboot: another machine with the same chip.
    fn reboot(&mut self) {
        self.cmos.power_off();
        self.line = Arc::default();
        self.cmos.power_on(self.line.clone(), 128 << 20, 0);
    }
    fn pass(&self, time: Duration) {
        self.time.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
    fn out(&self, port: u64, value: u8) {
        let access = Access { offset: port, width: Width::B1, vcpu: 0 };
        assert_eq!(self.cmos.write(access, value.into()), Effect::None);
    }
    fn get(&self, index: u8) -> u8 {
        self.out(0, index);
        self.cmos.read(Access { offset: 1, width: Width::B1, vcpu: 0 }) as u8
    }
    fn set(&self, index: u8, value: u8) {
        self.out(0, index);
        self.out(1, value);
    }
    fn all<const N: usize>(&self, indices: [u8; N]) -> [u8; N] {
        indices.map(|index| self.get(index))
    }
    fn assert_checksum(&self) {
        let sum: u16 = (0x10..0x2e).map(|at| u16::from(self.get(at))).sum();
        assert_eq!(self.all([0x2e, 0x2f]), sum.to_be_bytes());
    }
}

const CLOCK: [u8; 8] = [0x32, 9, 8, 7, 4, 2, 0, 6];

#[test]
fn shows_the_time_in_all_four_formats() {
    let rig = Rig::new();
    assert_eq!(rig.get(0x0b), 0x02);
    assert_eq!(rig.all(CLOCK), [0x20, 0x26, 0x11, 0x22, 0x13, 0x07, 0x23, 1], "BCD, 24 h");
    rig.set(0x0b, 0x06);
    assert_eq!(rig.all(CLOCK), [20, 26, 11, 22, 13, 7, 23, 1], "binary, 24 h");
    rig.set(0x0b, 0x04);
    assert_eq!(rig.get(4), 0x81, "binary, 1 pm");
    rig.set(0x0b, 0x00);
    assert_eq!(rig.get(4), 0x81, "BCD, 1 pm");
    for (hours, bcd) in [(11, 0x12), (12, 0x01), (22, 0x11), (23, 0x92), (0, 0x81)] {
        rig.time.store((NOW + hours * 3600) * 1_000_000_000, Ordering::Relaxed);
        assert_eq!(rig.get(4), bcd, "{hours} hours after 1 pm");
    }
}

#[test]
fn time_set_as_linux_does_it_goes_on_from_there() {
    let mut rig = Rig::new();
    rig.set(0x0b, 0x82);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.get(0), 0x23, "stands still");
    // 2000-02-28 23:59:59; on the way there, 30 February comes by.
    for (index, value) in [(7, 0x30), (9, 0x00), (8, 0x02), (7, 0x28), (4, 0x23), (2, 0x59), (0, 0x59), (0x32, 0x20)] {
        rig.set(index, value);
    }
    rig.set(0x0b, 0x02);
    assert_eq!(rig.all(CLOCK), [0x20, 0x00, 0x02, 0x28, 0x23, 0x59, 0x59, 2]);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.all(CLOCK), [0x20, 0x00, 0x02, 0x29, 0x00, 0x00, 0x01, 3]);
    rig.reboot();
    assert_eq!(rig.get(7), 0x29, "battery-backed");
}

#[test]
fn one_register_set_alone_and_impossible_dates() {
    let rig = Rig::new();
    rig.set(4, 0x09);
    assert_eq!(rig.all([7, 4, 2]), [0x22, 0x09, 0x07]);
    rig.set(8, 0x77);
    rig.set(4, 0xff);
    assert_eq!(rig.all([8, 4]), [0x11, 0x09], "refused");
    rig.set(0x0b, 0x00);
    rig.set(4, 0x92);
    assert_eq!(rig.get(4), 0x92, "12 pm");
    rig.set(4, 0x93);
    rig.set(4, 0x00);
    assert_eq!(rig.get(4), 0x92, "there is no 13 pm and no 0 am");
    rig.set(4, 0x12);
    rig.set(0x0b, 0x02);
    assert_eq!(rig.get(4), 0x00, "12 am");
}

#[test]
fn update_in_progress_comes_each_second_and_goes_with_the_second() {
    let rig = Rig::new();
    assert_eq!(rig.get(0x0a), 0x26);
    rig.pass(Duration::from_micros(997_771));
    assert_eq!(rig.get(0x0a), 0x26);
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.get(0x0a), 0xa6);
    assert_eq!(rig.get(0), 0x23, "the old second to the end");
    rig.pass(Duration::from_micros(2228));
    assert_eq!((rig.get(0x0a), rig.get(0)), (0x26, 0x24));
    rig.set(0x0a, 0xff);
    assert_eq!(rig.get(0x0a), 0x7f, "read-only");
    rig.set(0x0b, 0x82);
    rig.pass(Duration::from_millis(999));
    assert_eq!(rig.get(0x0a), 0x7f, "a clock that stands still has no updates");
}

/// Linux up to 2.6.2x polls for the rising edge, then for the falling one, a million times each.
#[test]
fn an_old_kernels_wait_for_the_edge_ends_even_with_slow_port_accesses() {
    for cost in [Duration::from_micros(2), Duration::from_micros(240), Duration::from_micros(1100)] {
        let rig = Rig::new();
        let poll = |level: u8| {
            (0..1_000_000).find(|_| {
                rig.pass(2 * cost);
                rig.get(0x0a) & 0x80 == level
            })
        };
        assert!(poll(0x80).is_some() && poll(0).is_some(), "{cost:?}");
        assert_eq!(rig.get(0), 0x24, "{cost:?}: within the second");
    }
}

#[test]
fn status_c_and_d() {
    let rig = Rig::new();
    assert_eq!(rig.get(0x0c), 0);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.get(0x0c), 0x50, "a second, and a period of the default rate");
    assert_eq!(rig.get(0x0c), 0, "reading clears it");
    rig.set(0x0d, 0);
    assert_eq!(rig.get(0x0d), 0x80);
}

#[test]
fn memory_sizes() {
    let word = |rig: &Rig, at: u8| u16::from_le_bytes([rig.get(at), rig.get(at + 1)]);
    let rig = Rig::with_memory(32 << 20, 0);
    assert_eq!(word(&rig, 0x15), 640);
    assert_eq!((word(&rig, 0x17), word(&rig, 0x30)), (31 << 10, 31 << 10));
    assert_eq!(word(&rig, 0x34), 256, "16 MiB in units of 64 KiB");
    assert_eq!(rig.all([0x5b, 0x5c, 0x5d]), [0, 0, 0]);
    let rig = Rig::with_memory(3 << 30, 5 << 30);
    assert_eq!(word(&rig, 0x17), 0xffff);
    assert_eq!(u64::from(word(&rig, 0x34)) << 16, (3 << 30) - (16 << 20));
    assert_eq!(rig.all([0x5b, 0x5c, 0x5d]), [0x00, 0x40, 0x01]);
    let tiny = Rig::with_memory(1 << 19, 0);
    assert_eq!((word(&tiny, 0x15), word(&tiny, 0x17), word(&tiny, 0x34)), (512, 0, 0));
    rig.assert_checksum();
}

#[test]
fn e15_what_a_guest_left_is_there_after_a_reboot() {
    let mut rig = Rig::new();
    rig.set(0x8f, 0x0a);
    assert_eq!(rig.get(0x0f), 0x0a, "bit 7 of the index is the NMI mask");
    rig.set(0x7f, 0x5a);
    rig.set(0x05, 0x07);
    rig.set(0x5f, 9);
    rig.set(0x15, 1);
    rig.set(0x0b, 0xfe);
    rig.set(4, 9);
    rig.reboot();
    assert_eq!(rig.all([0x7f, 0x05]), [0x5a, 0x07], "memory and alarm");
    assert_eq!(rig.get(4), 0x09, "the time that was being set");
    assert_eq!(rig.all([0x0f, 0x5f, 0x15, 0x0b]), [0, 0, 0x80, 0x02], "firmware's own");
    rig.assert_checksum();
}

/// The line goes with its machine: nothing of the old one is held or driven.
#[test]
fn e15_a_machine_that_is_off_has_no_line() {
    let rig = Rig::new();
    let line = Arc::downgrade(&rig.line);
    let Rig { cmos, line: strong, .. } = rig;
    cmos.power_off();
    drop(strong);
    assert!(line.upgrade().is_none());
}

/// The interrupts by the host's own clock, through the thread: each edge after the one before was acknowledged.
#[test]
fn e15_the_thread_raises_irq_8() {
    let (cmos, line) = (Cmos::new(0).unwrap(), Arc::new(MockLine::default()));
    cmos.power_on(line.clone(), 64 << 20, 0);
    let out = |port, value: u64| _ = cmos.write(Access { offset: port, width: Width::B1, vcpu: 0 }, value);
    out(0, 0x0b);
    out(1, 0x42);
    out(0, 0x0c);
    for edge in 1..=20 {
        while !line.is_high() {
            std::thread::yield_now();
        }
        assert_eq!(line.rises(), edge);
        let flags = cmos.read(Access { offset: 1, width: Width::B1, vcpu: 0 });
        assert_eq!(flags & 0xc0, 0xc0);
    }
    cmos.power_off();
    assert!(Arc::strong_count(&line) == 1, "let go of");
}

#[test]
fn wider_accesses_are_two_bytes() {
    let rig = Rig::new();
    let access = |offset, width| Access { offset, width, vcpu: 0 };
    assert_eq!(rig.cmos.write(access(0, Width::B2), 0x5a40), Effect::None, "index and data at once");
    assert_eq!(rig.get(0x40), 0x5a);
    assert_eq!(rig.cmos.read(access(0, Width::B2)), 0x5aff);
}

proptest! {
    #[test]
    fn random_accesses_never_panic_and_the_clock_stays_a_clock(
        writes in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u64..3_000_000_000), 1..80)
    ) {
        let rig = Rig::new();
        for (index, value, nanos) in writes {
            rig.set(index, value);
            rig.pass(Duration::from_nanos(nanos));
            let _ = rig.get(index);
        }
        rig.set(0x0b, 0x06);
        let [century, year, month, day, hour, minute, second, weekday] = rig.all(CLOCK);
        let year = u16::from(century) * 100 + u16::from(year);
        let shown = DateTime { year, month, day, hour, minute, second };
        prop_assert_eq!(shown.weekday(), Some(weekday));
    }
}
