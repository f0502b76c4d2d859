// SPDX-License-Identifier: Apache-2.0
//! Ports 0x70 and 0x71: an MC146818 real-time clock and 128 bytes of battery-backed memory, with what
//! a PC's firmware keeps in them. The clock shows the host's time, plus what the guest has set.
//!
//! The chip outlives the machine that it is in: [`Cmos::power_on`] puts it into a new one. So what a guest set, time and
//! memory, is there again after a reboot.
//!
//! | module | has |
//! | --- | --- |
//! | [`state`] | registers at a given time |
//! | `interrupts` | which interrupts have come about, and when the next one does |
//! | `contents` | what firmware writes |
//! | `register` | numbers and bits |
//!
//! A thread waits for the next interrupt that is enabled, and for nothing while there is none.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

mod contents;
mod interrupts;
mod register;
pub mod state;

use super::{Clock, bytewise};
use crate::bus::{Access, Effect, IoDevice};
use crate::contract::platform::IrqLine;
use crate::contract::threads::{self, ThreadKind};
use crate::contract::{Saved, StateError};
use state::CmosState;

/// Number of ports.
pub const PORTS: u64 = 2;

/// The device.
pub struct Cmos {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    clock: Clock,
    chip: Mutex<Chip>,
    /// The time of the next interrupt is another one.
    changed: Condvar,
}

struct Chip {
    state: CmosState,
    /// IRQ 8 of the machine that it is in, if one is on.
    line: Option<Arc<dyn IrqLine>>,
    is_closed: bool,
}

impl Cmos {
    /// A clock that shows the host's UTC time plus `offset` seconds.
    ///
    /// # Errors
    /// When its thread cannot be had.
    pub fn new(offset: i64) -> io::Result<Self> {
        Self::with_clock(offset, Box::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// Like [`Self::new`], with time since 1970 from `clock`.
    ///
    /// # Errors
    /// As there.
    pub fn with_clock(offset: i64, clock: Clock) -> io::Result<Self> {
        let state = CmosState::new(offset, clock());
        let chip = Mutex::new(Chip { state, line: None, is_closed: false });
        let shared = Arc::new(Shared { clock, chip, changed: Condvar::new() });
        let thread = {
            let shared = Arc::clone(&shared);
            threads::spawn(ThreadKind::Helper, "rtc", move || shared.raise_interrupts())?
        };
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Puts the chip into a machine that is switched on, with `below_4g` bytes of RAM from address 0 (the hole at
    /// 640 KiB included) and `above_4g` bytes from 4 GiB. `line` is IRQ 8, which is edge-triggered.
    pub fn power_on(&self, line: Arc<dyn IrqLine>, below_4g: u64, above_4g: u64) {
        let mut chip = self.shared.lock();
        chip.state.power_on(below_4g, above_4g, (self.shared.clock)());
        chip.line = Some(line);
        self.shared.settle(&mut chip);
    }

    /// The machine is off: its line is let go of. The clock goes on.
    pub fn power_off(&self) {
        self.shared.lock().line = None;
    }
}

/// Clock and memory.
impl Saved for Cmos {
    type State = CmosState;

    fn state(&self) -> CmosState {
        self.shared.lock().state.clone()
    }

    fn set_state(&self, state: CmosState) -> Result<(), StateError> {
        if !state.fits() {
            return Err(StateError("the clock shows a year that its registers cannot hold"));
        }
        let mut chip = self.shared.lock();
        chip.state = state;
        self.shared.settle(&mut chip);
        Ok(())
    }
}

impl Drop for Cmos {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was told by its hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Chip> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives the line, under the lock so that levels reach it in the order they came about, and has the thread think
    /// again.
    fn settle(&self, chip: &mut Chip) {
        chip.drive();
        if chip.state.enabled() != 0 {
            self.changed.notify_all();
        }
    }

    /// The thread.
    fn raise_interrupts(&self) {
        let mut chip = self.lock();
        while !chip.is_closed {
            let now = (self.clock)();
            chip.state.look(now);
            chip.drive();
            chip = match chip.state.until_interrupt(now) {
                Some(time) => self.changed.wait_timeout(chip, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(chip).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Chip {
    fn drive(&self) {
        if let Some(line) = &self.line {
            line.set(self.state.wants_interrupt());
        }
    }
}

impl IoDevice for Cmos {
    fn name(&self) -> &str {
        "cmos"
    }

    fn read(&self, access: Access) -> u64 {
        let mut chip = self.shared.lock();
        bytewise::read(access, |port| match port {
            1 => {
                let index = chip.state.index;
                let value = chip.state.read(index, (self.shared.clock)());
                self.shared.settle(&mut chip);
                value
            }
            // The index register is write-only.
            _ => 0xff,
        })
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut chip = self.shared.lock();
        bytewise::write(access, value, |port, value| {
            match port {
                // Bit 7 masks NMIs, of which there are none. No interrupt comes or goes by it.
                0 => chip.state.index = value & 0x7f,
                1 => {
                    let index = chip.state.index;
                    chip.state.write(index, value, (self.shared.clock)());
                    self.shared.settle(&mut chip);
                }
                _ => {}
            }
            Effect::None
        })
    }
}

#[cfg(test)]
#[path = "cmos_tests.rs"]
mod tests;
