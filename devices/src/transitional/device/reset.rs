// SPDX-License-Identifier: Apache-2.0
//! Resets: of the device by its guest, of the function when that does not end, of the machine, and
//! the last one at the end (hazards H6 to H10).
//!
//! A reset is complete before the guest's port write is: drivers that do not read the status back
//! free the memory of their rings at once. Called with the function's lock held.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::contract::{Area, Effect, RegisterError, Wait, Width};
use crate::transitional::device::{Core, TransitionalDevice};
use crate::transitional::layout::decode::{Direction, Register};
use crate::transitional::registers::events::Event;
use crate::transitional::telemetry::trace::ResetKind;

/// First and longest pause between two looks at the status.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

const STATUS: u8 = Register::Status.offset();

impl TransitionalDevice {
    /// The guest wrote status 0. Kicks and DMA end first, so that nothing of the guest's old rings is
    /// touched once this returns, whatever becomes of the device.
    pub(in crate::transitional) fn reset_device(&self, core: &mut Core) {
        self.stats.resets.add();
        self.trace.reset(ResetKind::Device);
        self.notifier.reset();
        self.set_vf_bus_master(core, false);
        // A function out of service may have been reset below, or replaced: nothing that it was given,
        // interrupts and bus mastering included, is sure to be there. Only a function-level reset is.
        let ended = !self.faults.is_faulted() && self.device_became_reset();
        if !ended && !self.is_stopping() && !self.is_gone() {
            self.reset_function(core);
        }
        self.forget(core, if ended { Event::ResetEnded } else { Event::ResetUnconfirmed });
        core.bus_master.device_reset();
        self.apply_bus_master(core);
    }

    /// Writes 0 and waits until the device reads 0.
    fn device_became_reset(&self) -> bool {
        let registers = &self.back_end.registers;
        let limit = self.config.reset_deadline;
        self.back_end
            .counted(
                |wait| {
                    self.back_end.sends(Direction::Write, Area::Common, STATUS, Width::B1);
                    registers.write(Area::Common, STATUS, Width::B1, 0, wait)?;
                    self.back_end.sends(Direction::Read, Area::Common, STATUS, Width::B1);
                    let mut pause = FIRST_PAUSE;
                    while registers.read(Area::Common, STATUS, Width::B1, wait)? & 0xff != 0 {
                        sleep(pause, wait)?;
                        self.back_end.sends(Direction::Read, Area::Common, STATUS, Width::B1);
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    Ok(())
                },
                limit,
            )
            .is_ok()
    }

    /// A function-level reset, the one way back into service: the device is, if it answers and its
    /// status is 0.
    fn reset_function(&self, core: &mut Core) {
        self.stats.function_resets.add();
        self.trace.reset(ResetKind::Function);
        if let Err(error) = self.vf.reset() {
            self.faults.function(&error);
            // Bus mastering is off already: it may hang, but it does not write to guest memory.
            self.faults.fault(format!("the function cannot be reset: {error}"));
            return;
        }
        self.vf_was_reset(core);
        if let (true, Some(msix)) = (core.guest_msix, &self.msix) {
            self.give_vectors_to_guest(core, msix);
        }
        let registers = &self.back_end.registers;
        let look = |wait: &Wait<'_>| {
            self.back_end.sends(Direction::Read, Area::Common, STATUS, Width::B1);
            registers.read(Area::Common, STATUS, Width::B1, wait)
        };
        let status = self.back_end.counted(look, self.config.deadline);
        match status.map(|status| status & 0xff) {
            Ok(0) => self.faults.recover(),
            Ok(status) => self.faults.fault(format!("status is {status:#x} after a function-level reset")),
            // Counted, and out of service if it was a fatal one.
            Err(_) => {}
        }
    }

    /// The device read 0 after its reset, and now it reads `status` though nobody wrote that: it may
    /// not have been reset at all and go on with rings that the guest has freed (H6). No DMA, out of
    /// service; the guest's next reset is a function-level one. The guest gets to see 0.
    pub(in crate::transitional) fn reset_did_not_hold(&self, core: &mut Core, status: u32) {
        self.notifier.reset();
        self.set_vf_bus_master(core, false);
        let reason = format!("status is {status:#x} after a reset that had ended");
        self.faults.function(&reason);
        self.faults.fault(reason);
    }

    /// Forgets what the device forgot: registers, vectors, pending interrupts. Hidden vectors are given
    /// again when the guest sets queues up again.
    fn forget(&self, core: &mut Core, reset: Event) {
        core.cache.apply(reset);
        core.armed.clear();
        core.config_armed = false;
        core.config_given = false;
        core.started_early = false;
        self.front.clear_isr(|| self.vectors.drain());
    }

    fn is_stopping(&self) -> bool {
        self.back_end.cancelled.load(Ordering::Relaxed)
    }

    /// The machine resets while vCPUs stand still: the function is as after power-on, MSI-X and bus
    /// mastering included, but BARs keep their places. COMMAND is 0, so they are not decoded.
    pub fn machine_reset(&self) -> Effect {
        self.trace.reset(ResetKind::Machine);
        let mut core = self.lock();
        self.power_on_state(&mut core);
        Effect::Remap
    }

    /// The VM ends, or lets the function go: no kick, no interrupt and no DMA after this.
    pub fn shutdown(&self) {
        let mut core = self.lock();
        self.power_on_state(&mut core);
        self.notifier.set_base(None);
        drop(core);
        self.trace.reset(ResetKind::Machine);
        self.trace.totals(|| self.report());
    }

    fn power_on_state(&self, core: &mut Core) {
        self.notifier.reset();
        self.set_vf_bus_master(core, false);
        if let Err(error) = self.vf.disable_msix() {
            self.faults.function(&error);
        }
        match self.vf.reset() {
            // At the end nobody has asked the function whether it is back, and nobody will.
            Ok(()) if self.is_stopping() => {}
            Ok(()) => self.faults.recover(),
            Err(error) => {
                self.faults.function(&error);
                self.faults.fault(format!("the function cannot be reset: {error}"));
            }
        }
        if let Some(msix) = &self.msix {
            msix.reset();
        }
        core.guest_msix = false;
        core.bus_master = crate::transitional::service::bus_master::BusMaster::default();
        self.forget(core, Event::ResetUnconfirmed);
        self.front.reset();
        self.vf_was_reset(core);
        self.publish(core);
    }
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
