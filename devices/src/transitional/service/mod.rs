// SPDX-License-Identifier: Apache-2.0
//! Whether the function serves its guest: DMA, resets, and whether it is there at all (hazards H6 to H11).
//! What changes under the function's lock is a [`DmaState`] that the caller keeps.
//!
//! It touches COMMAND of the VF, resets of the VF, and the status register below, and nothing else.
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | `bus_master` | when the function may do DMA | yes |
//! | `modern` | the VF's own BARs, for guests that use them | |

mod bus_master;
pub(super) mod modern;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::below::back_end::BackEnd;
use super::below::fault::FaultMark;
use super::layout::decode::Register;
use super::telemetry::trace::ResetKind;
use crate::contract::{RegisterError, Wait, Width};
use crate::function::{FunctionError, PciFunction};
use crate::pci::Command;
use crate::spec::pci::COMMAND;
use crate::transitional::telemetry::stats::DeviceCounter;
use bus_master::BusMaster;

const STATUS: u8 = Register::Status.offset();
/// First and longest pause between two looks at the status.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// Whether the function may do DMA. All that there is to save.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DmaState {
    bus_master: BusMaster,
    /// Bus master bit of the VF as last written.
    vf_bus_master: bool,
    /// A reset began and has not ended: the device may still use what the guest has freed since.
    unreset: bool,
}

impl DmaState {
    /// Whether the policy lets the function do DMA.
    pub(super) fn is_allowed(&self) -> bool {
        self.bus_master.is_enabled()
    }
}

/// The service of one function.
pub(super) struct Service {
    vf: Arc<dyn PciFunction>,
    back_end: Arc<BackEnd>,
    reset_deadline: Duration,
    /// Whether the VF was taken away for good.
    gone: AtomicBool,
}

impl Service {
    /// In service, without DMA. A reset of the device that does not end within `reset_deadline` has failed.
    pub(super) fn new(vf: &Arc<dyn PciFunction>, back_end: &Arc<BackEnd>, reset_deadline: Duration) -> Self {
        Self { vf: Arc::clone(vf), back_end: Arc::clone(back_end), reset_deadline, gone: AtomicBool::new(false) }
    }

    /// Out of service until the guest resets the function, which resets the VF.
    pub(super) fn fail(&self, reason: String) {
        self.back_end.faults().fault(reason);
    }

    /// Out of service for good: the VF was taken away.
    pub(super) fn take_away(&self, reason: &str) {
        self.gone.store(true, Ordering::Release);
        self.fail(reason.to_owned());
    }

    /// Whether the VF was taken away.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Switches bus mastering of the VF off, whoever holds the function's lock.
    pub(super) fn cut_dma(&self) {
        if let Err(error) = write_command(self.vf.as_ref(), false) {
            self.back_end.faults().function(&error);
        }
    }

    /// The guest wrote COMMAND.
    pub(super) fn guest_command(&self, state: &mut DmaState, command: Command) {
        state.bus_master.write(command.contains(Command::BUS_MASTER));
        self.apply(state);
    }

    /// The guest gave a queue an address or told of a driver: it expects DMA.
    pub(super) fn expect_dma(&self, state: &mut DmaState) {
        state.bus_master.expect_dma();
        self.apply(state);
    }

    /// A reset begins: no DMA, whatever the policy says and the guest writes, before [`Self::device_was_reset`].
    pub(super) fn begin_reset(&self, state: &mut DmaState) {
        state.unreset = true;
        self.stop_dma(state);
    }

    /// No DMA, whatever the policy says.
    pub(super) fn stop_dma(&self, state: &mut DmaState) {
        self.set_bus_master(state, false);
    }

    /// A reset of the device ended: DMA as the guest's bus master bit says, unless the function is out of service.
    pub(super) fn device_was_reset(&self, state: &mut DmaState) {
        state.bus_master.device_reset();
        state.unreset = false;
        self.apply(state);
    }

    fn apply(&self, state: &mut DmaState) {
        self.set_bus_master(state, state.bus_master.is_enabled());
    }

    fn set_bus_master(&self, state: &mut DmaState, enabled: bool) {
        let may_not = state.unreset || self.is_gone() || self.back_end.faults().is_faulted();
        if state.vf_bus_master == enabled || enabled && may_not {
            return;
        }
        match write_command(self.vf.as_ref(), enabled) {
            Ok(()) => state.vf_bus_master = enabled,
            Err(error) => self.back_end.faults().function(&error),
        }
    }

    /// Resets the device by its status register: writes 0 and waits until it reads 0. Says whether that ended.
    ///
    /// A function out of service may have been reset below, or replaced: nothing that it was given, interrupts and
    /// bus mastering included, is sure to be there. Then this is `false`, and only [`Self::reset_function`] helps.
    pub(super) fn reset_device(&self) -> bool {
        let reset = |wait: &Wait<'_>| {
            self.back_end.write_within(STATUS, Width::B1, 0, wait)?;
            let mut pause = FIRST_PAUSE;
            while self.back_end.read_within(STATUS, Width::B1, wait)? & 0xff != 0 {
                sleep(pause, wait)?;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Ok(())
        };
        !self.back_end.faults().is_faulted() && self.back_end.counted(reset, self.reset_deadline).is_ok()
    }

    /// Whether a reset of the function makes sense.
    pub(super) fn may_reset_function(&self) -> bool {
        !self.back_end.is_stopping() && !self.is_gone()
    }

    /// A function-level reset, the one way back into service; [`Self::look_for_service`] follows, and gets to know
    /// when it began. `None` if it was not done; if it was, bus mastering is off, and memory decoding on.
    pub(super) fn reset_function(&self, state: &mut DmaState) -> Option<FaultMark> {
        let begun = self.back_end.faults().mark();
        self.back_end.stats().add(DeviceCounter::FunctionResets);
        self.back_end.trace().reset(ResetKind::Function);
        if !self.reset_vf() {
            // Bus mastering is off already: it may hang, but it does not write to guest memory.
            return None;
        }
        self.vf_was_reset(state);
        Some(begun)
    }

    /// In service, if the device answers and its status is 0, and nothing failed since the reset began.
    pub(super) fn look_for_service(&self, begun: FaultMark) {
        let look = |wait: &Wait<'_>| self.back_end.read_within(STATUS, Width::B1, wait);
        match self.back_end.counted(look, self.back_end.deadline()).map(|status| status & 0xff) {
            Ok(0) => self.back_end.faults().recover(begun),
            Ok(status) => self.fail(format!("status is {status:#x} after a function-level reset")),
            // Counted, and out of service if it was a fatal one.
            Err(_) => {}
        }
    }

    /// The device read 0 after its reset, and now it reads `status` though nobody wrote that: it may
    /// not have been reset at all and go on with rings that the guest has freed (H6). No DMA, out of
    /// service; the guest's next reset is a function-level one.
    pub(super) fn reset_did_not_hold(&self, state: &mut DmaState, status: u32) {
        self.stop_dma(state);
        let reason = format!("status is {status:#x} after a reset that had ended");
        self.back_end.faults().function(&reason);
        self.fail(reason);
    }

    /// Resets the function with the machine, or at its end: back in service if that worked.
    pub(super) fn machine_reset(&self, state: &mut DmaState) {
        let begun = self.back_end.faults().mark();
        let was_reset = self.reset_vf();
        // At the end nobody has asked the function whether it is back, and nobody will.
        if was_reset && !self.back_end.is_stopping() {
            self.back_end.faults().recover(begun);
        }
        state.unreset = !was_reset;
        state.bus_master = BusMaster::default();
        self.vf_was_reset(state);
    }

    fn reset_vf(&self) -> bool {
        match self.vf.reset() {
            Ok(()) => true,
            Err(error) => {
                self.back_end.faults().function(&error);
                self.fail(format!("the function cannot be reset: {error}"));
                false
            }
        }
    }

    /// The bus master bit and memory decoding are as after power-on.
    fn vf_was_reset(&self, state: &mut DmaState) {
        state.vf_bus_master = false;
        self.cut_dma();
    }
}

/// COMMAND of a VF: memory decoding always, without which the VMM cannot ring doorbells; no INTx ever.
pub(super) fn write_command(vf: &dyn PciFunction, bus_master: bool) -> Result<(), FunctionError> {
    let always = Command::MEMORY | Command::INTX_DISABLE;
    let command = if bus_master { always | Command::BUS_MASTER } else { always };
    vf.config_write(COMMAND, Width::B2, command.bits().into())
}

/// Sleeps, but not past the deadline.
fn sleep(pause: Duration, wait: &Wait<'_>) -> Result<(), RegisterError> {
    match wait.over() {
        Some(over) => Err(over.into()),
        None => {
            let left = wait.deadline.saturating_duration_since(Instant::now());
            thread::sleep(pause.min(left));
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
