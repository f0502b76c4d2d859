// SPDX-License-Identifier: Apache-2.0
//! The guest's configuration space, and the software interrupt status with the INTx pin that it
//! drives (hazards H1 to H5). A VF has no INTx, and reading its own ISR register would cost a
//! command each time: both are made here.
//!
//! The event loop and all vCPUs call it at once. It has a lock of its own, held for a few
//! instructions and at most one change of the line, so that neither an interrupt nor a scan of the
//! bus waits for a register access.
//!
//! # No interrupt is lost
//!
//! An event sets its bits and *then* raises the line; a read lowers the line and *then* takes the
//! bits. Each of the two is one step under the lock, so there are two orders. Event before read: the
//! read takes the bit, and the guest looks at its rings after that read: it sees what the event was
//! about. Read before event: the line is high after both, and the guest comes back. In both, "some
//! bit is set" and "the interrupt is pending" agree after every step, so a read that gives 0 never
//! leaves a raised line, and drivers that share the line are not told that the interrupt was theirs.
//!
//! The order inside a step is for the guest, whose other vCPUs see the line before the lock is free:
//! one that takes the interrupt at once must find the bit when its read gets the lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::bus::Width;
use crate::contract::platform::IrqLine;
use crate::pci::{BarWindow, Changed, Command, ConfigSpace, ConfigSpaceState, IntxPin};
use crate::spec::{pci as spec, virtio::isr};

/// ISR bit: some queue has used buffers.
pub(crate) const ISR_QUEUE: u8 = isr::QUEUE;
/// ISR bits of a configuration change. The device that old drivers were tested with sets both.
pub(crate) const ISR_CONFIG: u8 = isr::QUEUE | isr::CONFIG;

struct State {
    space: ConfigSpace,
    pin: Option<IntxPin>,
    isr: u8,
    /// Whether the guest has MSI-X off: only then is there anything to raise.
    active: bool,
}

impl State {
    fn set_pin(&mut self, wanted: bool) {
        if let Some(pin) = &mut self.pin {
            pin.set(wanted, &mut self.space);
        }
    }

    fn drop_pending(&mut self) {
        self.set_pin(false);
        self.isr = 0;
    }
}

/// What a configuration write did, as far as others have to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConfigWrite {
    /// What changed in the configuration space.
    pub changed: Changed,
    /// COMMAND after the write.
    pub command: Command,
    /// Whether other windows are decoded now.
    pub windows_moved: bool,
}

/// All that there is to save.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedConfig {
    space: ConfigSpaceState,
    isr: u8,
    active: bool,
}

/// Configuration space, interrupt status and pin of one function.
pub(crate) struct GuestConfig {
    state: Mutex<State>,
}

impl GuestConfig {
    /// Nothing pending, MSI-X off. Without a `line` there is no pin to raise.
    pub(crate) fn new(space: ConfigSpace, line: Option<Arc<dyn IrqLine>>) -> Self {
        let pin = line.map(IntxPin::new);
        Self { state: Mutex::new(State { space, pin, isr: 0, active: true }) }
    }

    /// Sets `bits` and raises the line if `signalled`, which is asked under the lock, says that there
    /// was an event. While the guest has MSI-X on, the event is taken and nothing is raised. The bits that were set
    /// before, if the line was raised.
    pub(crate) fn raise_if(&self, bits: u8, signalled: impl FnOnce() -> bool) -> Option<u8> {
        let mut state = self.lock();
        if !(signalled() && state.active) {
            return None;
        }
        let before = state.isr;
        state.isr |= bits;
        state.set_pin(true);
        Some(before)
    }

    /// The guest reads the interrupt status: the line goes low and the bits are taken.
    pub(crate) fn take_isr(&self) -> u8 {
        let mut state = self.lock();
        state.set_pin(false);
        std::mem::take(&mut state.isr)
    }

    /// Drops what is pending after `forget`, which runs under the lock, dropped its causes.
    pub(crate) fn clear_isr(&self, forget: impl FnOnce()) {
        let mut state = self.lock();
        forget();
        state.drop_pending();
    }

    /// The guest switched MSI-X off (`true`) or on. Switching it on drops what is pending.
    pub(crate) fn set_intx_active(&self, active: bool) {
        let mut state = self.lock();
        state.active = active;
        if !active {
            state.drop_pending();
        }
    }

    /// Reads configuration space.
    pub(crate) fn read(&self, offset: u16, width: Width) -> u32 {
        self.lock().space.read(offset, width)
    }

    /// Writes configuration space; the pin follows COMMAND bit 10 at once.
    pub(crate) fn write(&self, offset: u16, width: Width, value: u32) -> ConfigWrite {
        let mut guard = self.lock();
        let state = &mut *guard;
        let decodes = |space: &ConfigSpace| space.command() & (Command::IO | Command::MEMORY);
        let (before, bars) = (decodes(&state.space), (offset >= spec::BAR0).then(|| state.space.windows()));
        let changed = state.space.write(offset, width, value);
        if let Some(pin) = &mut state.pin {
            pin.refresh(&mut state.space);
        }
        let bars_moved = || bars.is_some_and(|before| before != state.space.windows());
        let windows_moved = decodes(&state.space) != before || changed.contains(Changed::BARS) && bars_moved();
        ConfigWrite { changed, command: state.space.command(), windows_moved }
    }

    /// Back to power-on, but BARs keep their bases; nothing pending, MSI-X off.
    pub(crate) fn reset(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.active = true;
        state.drop_pending();
        state.space.reset_but_bars();
        if let Some(pin) = &mut state.pin {
            pin.refresh(&mut state.space);
        }
    }

    /// All that there is to save.
    pub(crate) fn state(&self) -> SavedConfig {
        let state = self.lock();
        SavedConfig { space: state.space.state(), isr: state.isr, active: state.active }
    }

    /// Goes on from `saved`: what is read-only stays, and the line is as the interrupt status says.
    pub(crate) fn set_state(&self, saved: &SavedConfig) {
        let mut state = self.lock();
        state.space.set_state(&saved.space);
        state.isr = saved.isr;
        state.active = saved.active;
        state.set_pin(saved.isr != 0 && saved.active);
    }

    /// BARs that are decoded.
    pub(crate) fn windows(&self) -> Vec<BarWindow> {
        self.lock().space.windows()
    }

    /// BARs, decoded or not.
    pub(crate) fn bars(&self) -> Vec<BarWindow> {
        self.lock().space.bars()
    }

    /// Sets a BAR's base.
    pub(crate) fn place_bar(&self, bar: u8, base: u64) {
        self.lock().space.place_bar(bar, base);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
