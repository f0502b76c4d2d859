// SPDX-License-Identifier: Apache-2.0
//! ACPI fixed hardware at ports 0x600 to 0x60b: PM1 event and control blocks and the PM timer.
//! Source: ACPI 6.5, 4.8.
//!
//! What the tables have to say: PM1a_EVT_BLK 0x600 (4 bytes), PM1a_CNT_BLK 0x604 (2), PM_TMR_BLK
//! 0x608 (4), no GPE blocks, TMR_VAL_EXT set (the timer has 32 bits), no SMI_CMD (the machine is in
//! ACPI mode for good), `\_S5` with [`SLEEP_TYPE_S5`]; the power button is fixed hardware.
//! For a reset register there is port 0xcf9, value 6.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Clock, bytewise};
use crate::bus::{Access, Effect, IoDevice};
use crate::contract::platform::IrqLine;
use crate::contract::{Saved, StateError};

/// Number of ports.
pub const PORTS: u64 = offset::END;
/// SLP_TYP that switches the machine off.
pub const SLEEP_TYPE_S5: u8 = 5;
/// Ticks of the PM timer in a second.
pub const TIMER_HZ: u64 = 3_579_545;

/// Offsets of the registers.
mod offset {
    pub(super) const STATUS: u64 = 0;
    pub(super) const ENABLE: u64 = 2;
    pub(super) const CONTROL: u64 = 4;
    pub(super) const CONTROL_END: u64 = 6;
    pub(super) const TIMER: u64 = 8;
    pub(super) const END: u64 = 12;
}

/// PM1 status and enable: the power button. All other events are absent: the timer's, because 32 bits
/// need no carry, the global lock's and the RTC alarm's.
const POWER_BUTTON: u16 = 1 << 8;
/// Events that can be enabled; the ones that never happen are kept, for drivers read them back.
const ENABLE_BITS: u16 = 1 << 0 | 1 << 5 | POWER_BUTTON | 1 << 9 | 1 << 10;
/// PM1 control: ACPI mode, always.
const SCI_ENABLED: u16 = 1 << 0;
/// PM1 control: bus master reload and sleep type are kept.
const CONTROL_BITS: u16 = 1 << 1 | SLEEP_TYPE;
const SLEEP_TYPE: u16 = 7 << 10;
const SLEEP_TYPE_SHIFT: u16 = 10;
/// PM1 control: go to sleep; write-only.
const SLEEP_ENABLE: u16 = 1 << 13;

/// The registers, and how long the timer has run, as one plain value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcpiPmState {
    status: u16,
    enable: u16,
    control: u16,
    timer: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Its timer is what it was at `since`.
    registers: AcpiPmState,
    /// What the clock showed when the timer was started; `None` while it stands still.
    since: Option<Duration>,
    asserted: bool,
}

/// The device.
pub struct AcpiPm {
    clock: Clock,
    sci: Arc<dyn IrqLine>,
    state: Mutex<State>,
}

impl AcpiPm {
    /// Nothing enabled; the timer starts at 0. `sci` is a share of the level-triggered SCI.
    pub fn new(sci: Arc<dyn IrqLine>) -> Self {
        let start = Instant::now();
        Self::with_clock(sci, Box::new(move || start.elapsed()))
    }

    /// Like [`Self::new`], with the timer running by `clock`.
    pub fn with_clock(sci: Arc<dyn IrqLine>, clock: Clock) -> Self {
        let since = Some(clock());
        Self { clock, sci, state: Mutex::new(State { since, ..State::default() }) }
    }

    /// Someone pressed the power button: the guest is asked to shut down. Returns whether it listens;
    /// if it does not yet, it will find the event when it starts to.
    pub fn power_button(&self) -> bool {
        let mut state = self.lock();
        state.registers.status |= POWER_BUTTON;
        self.update_sci(&mut state);
        state.asserted
    }

    /// The timer stands still, until [`Self::start_timer`].
    pub fn stop_timer(&self) {
        let mut state = self.lock();
        state.registers.timer = self.timer_of(&state);
        state.since = None;
    }

    /// The timer goes on from where it was stopped.
    pub fn start_timer(&self) {
        let mut state = self.lock();
        if state.since.is_none() {
            state.since = Some((self.clock)());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The line is set under the lock, so that levels reach it in the order they came about.
    fn update_sci(&self, state: &mut State) {
        let assert = state.registers.status & state.registers.enable != 0;
        if assert != state.asserted {
            state.asserted = assert;
            self.sci.set(assert);
        }
    }

    /// How long the timer has run.
    fn timer_of(&self, state: &State) -> Duration {
        let running = state.since.map_or(Duration::ZERO, |since| (self.clock)().saturating_sub(since));
        state.registers.timer.saturating_add(running)
    }

    /// The PM timer now; it wraps after 20 minutes.
    fn timer(&self, state: &State) -> u32 {
        let nanos = self.timer_of(state).as_nanos();
        (nanos * u128::from(TIMER_HZ) / Duration::from_secs(1).as_nanos()) as u32
    }
}

/// The registers and the timer.
impl Saved for AcpiPm {
    type State = AcpiPmState;

    fn state(&self) -> AcpiPmState {
        let state = self.lock();
        AcpiPmState { timer: self.timer_of(&state), ..state.registers.clone() }
    }

    fn set_state(&self, registers: AcpiPmState) -> Result<(), StateError> {
        let AcpiPmState { status, enable, control, timer } = registers;
        let mut state = self.lock();
        state.registers = AcpiPmState {
            status: status & POWER_BUTTON,
            enable: enable & ENABLE_BITS,
            control: control & CONTROL_BITS,
            timer,
        };
        state.since = state.since.map(|_| (self.clock)());
        self.update_sci(&mut state);
        Ok(())
    }
}

impl IoDevice for AcpiPm {
    fn name(&self) -> &str {
        "acpi-pm"
    }

    fn read(&self, access: Access) -> u64 {
        // One look at the clock for all bytes of an access.
        let state = self.lock();
        let timer = self.timer(&state);
        let state = &state.registers;
        bytewise::read(access, |port| {
            let (value, shift) = match port {
                offset::STATUS..offset::ENABLE => (u32::from(state.status), port),
                offset::ENABLE..offset::CONTROL => (state.enable.into(), port - offset::ENABLE),
                offset::CONTROL..offset::CONTROL_END => ((state.control | SCI_ENABLED).into(), port - offset::CONTROL),
                offset::TIMER..offset::END => (timer, port - offset::TIMER),
                _ => (0, 0),
            };
            (value >> (8 * shift)) as u8
        })
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut guard = self.lock();
        let state = &mut guard.registers;
        let mut sleep = false;
        let _ = bytewise::write(access, value, |port, value| {
            let shift = 8 * (port % 2);
            let (written, mask) = (u16::from(value) << shift, 0xff_u16 << shift);
            match port {
                // Ones clear; the bytes that are not written clear nothing.
                offset::STATUS..offset::ENABLE => state.status &= !written,
                offset::ENABLE..offset::CONTROL => state.enable = state.enable & !mask | written & ENABLE_BITS,
                offset::CONTROL..offset::CONTROL_END => {
                    state.control = state.control & !mask | written & CONTROL_BITS;
                    sleep |= written & SLEEP_ENABLE != 0;
                }
                _ => {}
            }
            Effect::None
        });
        let sleep_type = (state.control & SLEEP_TYPE) >> SLEEP_TYPE_SHIFT;
        self.update_sci(&mut guard);
        if sleep && sleep_type == u16::from(SLEEP_TYPE_S5) { Effect::PowerOff } else { Effect::None }
    }
}

#[cfg(test)]
#[path = "acpi_pm_tests.rs"]
mod tests;
