// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::bus::Width;
use crate::contract::mock::MockLine;

struct Rig {
    pm: AcpiPm,
    line: Arc<MockLine>,
    nanos: Arc<AtomicU64>,
}

impl Rig {
    fn new() -> Self {
        let (line, nanos) = (Arc::new(MockLine::default()), Arc::new(AtomicU64::new(0)));
        let clock = nanos.clone();
        let clock: Clock = Box::new(move || Duration::from_nanos(clock.load(Ordering::Relaxed)));
        Self { pm: AcpiPm::with_clock(line.clone(), clock), line, nanos }
    }
    fn read(&self, offset: u64, width: Width) -> u64 {
        self.pm.read(Access { offset, width, vcpu: 0 })
    }
    fn write(&self, offset: u64, width: Width, value: u64) -> Effect {
        self.pm.write(Access { offset, width, vcpu: 0 }, value)
    }
    fn levels(&self) -> Vec<bool> {
        self.line.take_calls()
    }
}

#[test]
fn timer_runs_at_its_frequency_in_32_bits() {
    let rig = Rig::new();
    assert_eq!(rig.read(8, Width::B4), 0);
    rig.nanos.store(1_000_000_000, Ordering::Relaxed);
    assert_eq!(rig.read(8, Width::B4), 3_579_545);
    assert_eq!(rig.read(9, Width::B1), 3_579_545 >> 8 & 0xff);
    assert_eq!(rig.read(10, Width::B2), 3_579_545 >> 16);
    rig.nanos.store(1_200_000_000_000, Ordering::Relaxed);
    assert_eq!(rig.read(8, Width::B4), 3_579_545 * 1200 % (1 << 32), "wrapped");
    rig.nanos.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(rig.read(8, Width::B4), 0xb5a5bec0, "after 584 years");
    let _ = rig.write(8, Width::B4, 0);
    assert_ne!(rig.read(8, Width::B4), 0, "read-only");
}

/// As the guest sees it, no time passes while it stands still; it never goes back.
#[test]
fn e17_the_timer_stands_still_while_it_is_stopped() {
    let rig = Rig::new();
    let at = |seconds: u64| {
        rig.nanos.store(seconds * 1_000_000_000, Ordering::Relaxed);
        rig.read(8, Width::B4) / 3_579_545
    };
    assert_eq!(at(1), 1);
    rig.pm.stop_timer();
    assert_eq!(at(5), 1);
    rig.pm.stop_timer();
    assert_eq!(at(10), 1);
    rig.pm.start_timer();
    assert_eq!((at(10), at(12)), (1, 3));
    rig.pm.start_timer();
    assert_eq!(at(12), 3);
}

#[test]
fn e17_state_is_one_plain_value() {
    let rig = Rig::new();
    let _ = (rig.pm.power_button(), rig.write(2, Width::B4, 0x1400_0100));
    rig.nanos.store(3_000_000_000, Ordering::Relaxed);
    let saved = serde_json::to_string(&rig.pm.state()).unwrap();
    let other = Rig::new();
    other.pm.set_state(serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(other.pm.state(), rig.pm.state());
    assert_eq!(other.levels(), [true]);
    other.nanos.store(1_000_000_000, Ordering::Relaxed);
    assert_eq!(other.read(8, Width::B4), 4 * 3_579_545, "goes on from 3 s");
}

#[test]
fn power_button_raises_the_sci_until_it_is_acknowledged() {
    let rig = Rig::new();
    assert!(!rig.pm.power_button(), "nobody listens");
    assert!(rig.levels().is_empty());
    assert_eq!(rig.read(0, Width::B2), 0x100);
    let _ = rig.write(2, Width::B2, 0x100);
    assert_eq!(rig.levels(), [true], "found when enabled");
    assert!(rig.pm.power_button());
    let _ = rig.write(0, Width::B1, 0xff);
    assert_eq!((rig.levels(), rig.read(0, Width::B2)), (vec![], 0x100), "the other byte clears nothing");
    let _ = rig.write(0, Width::B2, 0x100);
    assert_eq!((rig.levels(), rig.read(0, Width::B2)), (vec![false], 0));
    assert!(rig.pm.power_button());
    assert_eq!(rig.levels(), [true]);
}

#[test]
fn status_and_enable_in_one_dword() {
    let rig = Rig::new();
    let _ = rig.pm.power_button();
    let _ = rig.write(0, Width::B4, 0xffff_0000);
    assert_eq!(rig.read(0, Width::B4), 0x0721_0100, "only bits that exist can be enabled");
    assert_eq!(rig.levels(), [true]);
    let _ = rig.write(0, Width::B4, 0x0000_0100);
    assert_eq!(rig.read(0, Width::B4), 0);
    assert_eq!(rig.levels(), [false]);
}

#[test]
fn sleep_type_5_switches_off_and_others_do_not() {
    let rig = Rig::new();
    assert_eq!(rig.read(4, Width::B2), 1, "ACPI mode");
    assert_eq!(rig.write(4, Width::B2, 5 << 10), Effect::None, "ACPICA writes the type before it sleeps");
    assert_eq!(rig.read(4, Width::B2), 0x1401);
    assert_eq!(rig.write(4, Width::B2, 1 << 13 | 1 << 10), Effect::None);
    assert_eq!(rig.write(4, Width::B2, 1 << 13 | 5 << 10), Effect::PowerOff);
    assert_eq!(rig.read(4, Width::B2), 0x1401, "SLP_EN is write-only");
    assert_eq!(rig.write(5, Width::B1, 0x34), Effect::PowerOff, "the upper byte alone");
    assert_eq!(rig.write(4, Width::B1, 0), Effect::None);
    assert_eq!(rig.read(4, Width::B2), 0x1401, "SCI_EN cannot be cleared");
    assert_eq!(rig.write(3, Width::B2, 0x3400), Effect::None, "0x603 and 0x604: the lower byte of control");
}

#[test]
fn unused_ports_read_as_zero() {
    let rig = Rig::new();
    let _ = rig.write(6, Width::B2, 0xffff);
    assert_eq!(rig.read(6, Width::B2), 0);
    assert_eq!(rig.read(4, Width::B4), 1);
    assert_eq!(rig.read(4, Width::B8), 1, "timer at 0");
}

proptest! {
    /// The line is high exactly when an enabled event is pending, and reads of all widths agree.
    #[test]
    fn random_accesses(accesses in prop::collection::vec((0_u64..12, 0..4_usize, any::<u64>(), any::<bool>()), 1..60)) {
        let rig = Rig::new();
        rig.nanos.store(77_777_777_777, Ordering::Relaxed);
        let mut level = false;
        for (offset, width, value, button) in accesses {
            let width = [Width::B1, Width::B2, Width::B4, Width::B8][width];
            let effect = rig.write(offset, width, width.truncate(value));
            prop_assert!(matches!(effect, Effect::None | Effect::PowerOff));
            if button {
                rig.pm.power_button();
            }
            if let Some(last) = rig.levels().last() {
                level = *last;
            }
            prop_assert_eq!(level, rig.read(0, Width::B2) & rig.read(2, Width::B2) != 0);
            for offset in 0..=8 {
                let bytes = (0..4).map(|i| rig.read(offset + i, Width::B1) << (8 * i)).fold(0, |a, b| a | b);
                prop_assert_eq!(rig.read(offset, Width::B4), bytes);
                prop_assert_eq!(rig.read(offset, Width::B2), bytes & 0xffff);
            }
        }
    }
}
