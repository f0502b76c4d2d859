// SPDX-License-Identifier: Apache-2.0
//! What resets, failures, and the loss and return of the PF or the VF mean for each owner (hazards H6 to H10 and
//! H27).
//!
//! A reset is complete before the guest's port write is: drivers that do not read the status back free the memory
//! of their rings at once. Loss and return take no register access, and not the function's lock: a vCPU may hold
//! that while it waits for the lost PF.

use super::{Core, TransitionalDevice};
use crate::admin::PfClient;
use crate::bus::Effect;
use crate::contract::NotifyAddress;
use crate::transitional::registers::events::Event;
use crate::transitional::telemetry::stats::DeviceCounter;
use crate::transitional::telemetry::trace::ResetKind;

impl TransitionalDevice {
    /// The guest wrote status 0. Kicks and DMA end first, so that nothing of the guest's old rings is
    /// touched once this returns, whatever becomes of the device.
    pub(super) fn reset_device(&self, core: &mut Core) {
        self.back_end.stats().add(DeviceCounter::Resets);
        self.back_end.trace().reset(ResetKind::Device);
        self.kicks.reset();
        self.service.begin_reset(&mut core.dma);
        let ended = self.service.reset_device();
        let was_reset = ended || self.service.may_reset_function() && self.reset_function(core);
        core.registers.apply(if ended { Event::ResetEnded } else { Event::ResetUnconfirmed });
        self.interrupts.device_was_reset(&mut core.interrupts);
        if was_reset {
            self.service.device_was_reset(&mut core.dma);
        }
    }

    /// Says whether the function was reset, which does not say that it serves again.
    fn reset_function(&self, core: &mut Core) -> bool {
        let Some(begun) = self.service.reset_function(&mut core.dma) else { return false };
        core.registers.apply(Event::FunctionReset);
        self.interrupts.function_was_reset(&mut core.interrupts);
        self.service.look_for_service(begun);
        true
    }

    /// The device's status is `status` after a reset that had ended.
    pub(super) fn reset_did_not_hold(&self, core: &mut Core, status: u32) {
        self.kicks.reset();
        self.service.reset_did_not_hold(&mut core.dma, status);
    }

    /// The machine resets while vCPUs stand still: the function is as after power-on, MSI-X and bus
    /// mastering included, but BARs keep their places. COMMAND is 0, so they are not decoded.
    pub fn machine_reset(&self) -> Effect {
        self.back_end.trace().reset(ResetKind::Machine);
        self.power_on_state(&mut self.lock());
        Effect::Remap
    }

    /// The VM ends, or lets the function go: no kick, no interrupt and no DMA after this.
    pub fn shutdown(&self) {
        let mut core = self.lock();
        self.power_on_state(&mut core);
        self.kicks.set_base(None);
        drop(core);
        self.back_end.trace().reset(ResetKind::Machine);
        self.back_end.trace().totals(|| self.report());
    }

    fn power_on_state(&self, core: &mut Core) {
        self.kicks.reset();
        self.service.stop_dma(&mut core.dma);
        self.interrupts.disable_vf();
        self.service.machine_reset(&mut core.dma);
        core.registers.apply(Event::ResetUnconfirmed);
        self.interrupts.machine_was_reset(&mut core.interrupts);
        self.guest_config.reset();
        core.registers.apply(Event::FunctionReset);
        self.publish(core);
    }

    /// The VF reports an error that it does not recover from by itself: out of service until the guest
    /// resets it, which resets the function.
    pub fn failed(&self, reason: &str) {
        self.service.fail(reason.to_owned());
        self.kicks.reset();
    }

    /// The system takes the VF away, perhaps because it is unplugged: out of service for good, with nothing
    /// of it in use. The caller remaps, and lets go of the VF then.
    ///
    /// The guest may hold the function's lock for as long as a register access takes; a VF that is about to be reset
    /// by the system need not be told more than that its DMA and interrupts end.
    pub fn taken_away(&self, reason: &str) {
        self.service.take_away(reason);
        self.kicks.reset();
        self.kicks.move_to(&[]);
        self.interrupts.drop_pending();
        self.service.cut_dma();
        self.interrupts.disable_vf();
    }
}

impl PfClient for TransitionalDevice {
    /// Out of service: no kick reaches the VF, reads give what a dead device gives, and a guest that
    /// goes on is stuck, but safe.
    fn pf_lost(&self, reason: &str) {
        self.service.fail(format!("the PF was lost: {reason}"));
        self.kicks.reset();
    }

    /// The guest's next reset will bring the function back: until then it is out of service, as the
    /// VF knows nothing of what the guest set up.
    fn pf_returned(&self, notify: &[NotifyAddress]) {
        self.kicks.move_to(notify);
        tracing::info!(device = self.config.id, doorbell = self.kicks.describe(), "PF is back; waiting for a reset");
    }
}
