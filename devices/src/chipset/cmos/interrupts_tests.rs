// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

/// Sunday 2026-11-22 13:07:23 UTC.
const NOW: Duration = Duration::from_secs(1_795_352_843);

struct Rig {
    state: CmosState,
    now: Duration,
}

impl Rig {
    fn new() -> Self {
        let mut state = CmosState::new(0, NOW);
        state.power_on(64 << 20, 0, NOW);
        Self { state, now: NOW }
    }
    fn set(&mut self, index: u8, value: u8) {
        self.state.write(index, value, self.now);
    }
    fn set_alarm(&mut self, time: [u8; 3]) {
        for (index, value) in [HOUR_ALARM, MINUTE_ALARM, SECOND_ALARM].into_iter().zip(time) {
            self.set(index, value);
        }
    }
    fn flags(&mut self) -> u8 {
        self.state.read(STATUS_C, self.now)
    }
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.state.look(self.now);
    }
    /// Waits as the thread does. Returns how long.
    fn wait(&mut self) -> Option<Duration> {
        let time = self.state.until_interrupt(self.now)?;
        assert!(!self.state.wants_interrupt());
        self.pass(time);
        assert!(self.state.wants_interrupt(), "woken too early");
        Some(time)
    }
}

#[test]
fn e15_periodic_interrupts_come_at_their_rate_and_status_c_ends_them() {
    let mut rig = Rig::new();
    rig.set(STATUS_B, 0x42);
    for _ in 0..1024 {
        let time = rig.wait().unwrap();
        assert!(time <= Duration::from_nanos(976_563), "{time:?}");
        assert_eq!(rig.state.until_interrupt(rig.now), None, "the line is high: there is no other edge");
        assert_eq!(rig.flags() & !C_UPDATED, 0xc0);
        assert_eq!(rig.flags(), 0, "reading takes it back");
    }
    assert_eq!(rig.now - NOW, Duration::from_secs(1), "1024 in a second");
    rig.set(STATUS_B, 0x02);
    assert_eq!(rig.state.until_interrupt(rig.now), None, "disabled");
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.flags(), 0x40, "the flag comes, the interrupt does not");
}

#[test]
fn e15_rates() {
    for (rate, hertz) in [(1_u8, 256_u64), (2, 128), (3, 8192), (6, 1024), (13, 8), (15, 2)] {
        let mut rig = Rig::new();
        rig.set(STATUS_A, 0x20 | rate);
        rig.set(STATUS_B, 0x42);
        let mut count = 0;
        while rig.now < NOW + Duration::from_secs(1) {
            rig.wait().unwrap();
            rig.flags();
            count += 1;
        }
        assert_eq!(count, hertz, "rate {rate}");
    }
    let mut rig = Rig::new();
    rig.set(STATUS_A, 0x20);
    rig.set(STATUS_B, 0x42);
    assert_eq!(rig.wait(), None, "rate 0 is none");
    rig.set(STATUS_A, 0x66);
    assert_eq!(rig.wait(), None, "the divider is held in reset");
}

#[test]
fn e15_an_update_interrupts_each_second() {
    let mut rig = Rig::new();
    rig.pass(Duration::from_millis(250));
    rig.set(STATUS_B, 0x12);
    assert_eq!(rig.wait(), Some(Duration::from_millis(750)));
    assert_eq!(rig.state.read(STATUS_A, rig.now) & A_UPDATE, 0, "the update has ended");
    assert_eq!(rig.flags() & !C_PERIODIC, 0x90);
    assert_eq!(rig.wait(), Some(Duration::from_secs(1)));
    rig.set(STATUS_B, 0x92);
    assert_eq!(rig.state.status_b(), 0x82, "SET takes the enable away");
    assert_eq!(rig.wait(), None, "no update, no interrupt");
}

#[test]
fn e15_a_flag_that_waits_interrupts_when_it_is_enabled() {
    let mut rig = Rig::new();
    rig.pass(Duration::from_secs(1));
    assert!(!rig.state.wants_interrupt());
    rig.set(STATUS_B, 0x12);
    assert!(rig.state.wants_interrupt());
    assert_eq!(rig.flags(), 0xd0);
}

#[test]
fn e15_the_alarm_comes_when_it_is_set_for() {
    let cases: &[([u8; 3], u64)] = &[
        ([0x13, 0x07, 0x24], 1),
        ([0x13, 0x07, 0x23], 86_400),
        ([0x13, 0x08, 0x00], 37),
        ([0x00, 0x00, 0x00], 39_157),
        ([0xff, 0xff, 0xff], 1),
        ([0xff, 0xff, 0x10], 47),
        ([0xc0, 0x07, 0x10], 3587),
        ([0x14, 0xff, 0xff], 3157),
        ([0x13, 0xff, 0x22], 59),
    ];
    for (alarm, seconds) in cases {
        let mut rig = Rig::new();
        rig.set_alarm(*alarm);
        rig.set(STATUS_B, 0x22);
        assert_eq!(rig.wait(), Some(Duration::from_secs(*seconds)), "{alarm:x?}");
        assert_eq!(rig.flags() & 0xa0, 0xa0);
        assert_ne!(rig.state.until_interrupt(rig.now), Some(Duration::ZERO), "once");
    }
}

#[test]
fn e15_an_alarm_in_twelve_hours_and_one_that_is_no_time() {
    let mut rig = Rig::new();
    rig.set(STATUS_B, 0x00);
    rig.set_alarm([0x81, 0x07, 0x30]);
    rig.set(STATUS_B, 0x20);
    assert_eq!(rig.wait(), Some(Duration::from_secs(7)), "1:07:30 pm");
    rig.flags();
    rig.set(MINUTE_ALARM, 0x77);
    assert_eq!(rig.wait(), None);
}

#[test]
fn e15_the_alarm_is_not_lost_when_nobody_looked_and_goes_by_the_guests_time() {
    let mut rig = Rig::new();
    rig.set(HOUR, 0x20);
    rig.set_alarm([0x20, 0x10, 0x00]);
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.flags() & C_ALARM, C_ALARM);
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.flags() & C_ALARM, 0);
    rig.pass(Duration::from_secs(7 * 86_400));
    assert_eq!(rig.flags() & C_ALARM, C_ALARM, "a week without a look");
}

#[test]
fn e15_a_host_clock_that_is_set_back_stops_nothing() {
    let mut rig = Rig::new();
    // The second that the clock shows after it was set is the alarm's.
    rig.set_alarm([0x23, 0x20, 0x43]);
    rig.set(STATUS_B, 0x72);
    rig.now -= Duration::from_secs(1_000_000);
    rig.state.look(rig.now);
    assert_eq!(rig.flags(), 0xf0);
    assert!(rig.wait().unwrap() <= Duration::from_millis(1));
}

proptest! {
    /// What the thread waits for is what comes, whatever the registers say; and never for nothing.
    #[test]
    fn the_line_rises_when_it_was_foretold(
        writes in prop::collection::vec((0_u8..14, any::<u8>()), 0..20),
        passed in 0_u64..5_000_000_000,
    ) {
        let mut rig = Rig::new();
        for (index, value) in writes {
            rig.set(index, value);
        }
        rig.pass(Duration::from_nanos(passed));
        rig.flags();
        if let Some(time) = rig.state.until_interrupt(rig.now) {
            prop_assert!(time <= Duration::from_secs(86_400));
            if let Some(before) = time.checked_sub(Duration::from_nanos(1)) {
                rig.pass(before);
                prop_assert!(!rig.state.wants_interrupt());
            }
            rig.pass(Duration::from_nanos(1));
            prop_assert!(rig.state.wants_interrupt());
        }
        let saved = serde_json::to_string(&rig.state).unwrap();
        prop_assert_eq!(serde_json::from_str::<CmosState>(&saved).unwrap(), rig.state);
    }
}
