// SPDX-License-Identifier: Apache-2.0
//! Hidden vectors in the device's registers, and the switch between them and the guest's MSI-X
//! (hazards H1 and H3). Called with the function's lock held.

use crate::contract::Area;
use crate::pci::Msix;
use crate::transitional::below::back_end::Denied;
use crate::transitional::device::{Core, TransitionalDevice, VfMsix};
use crate::transitional::guest_config::space::ISR_QUEUE;
use crate::transitional::layout::decode::Register;
use crate::transitional::registers::cache::{NO_VECTOR, STATUS_DRIVER_OK};
use crate::transitional::registers::events::Event;

impl TransitionalDevice {
    /// While the guest has INTx: gives `queue`, which is selected, a hidden vector, which the device has before
    /// it has the queue's address. The first device that signals "used" finds the vector in place.
    pub(in crate::transitional) fn arm_queue(&self, core: &mut Core, queue: u16) {
        if !self.use_hidden_vectors(core) {
            return;
        }
        match self.program(Register::QueueVector, self.vectors.candidates(queue)) {
            Some(_) => core.armed.insert(queue),
            None => core.armed.remove(queue),
        }
    }

    /// While the guest has INTx: gives configuration changes a hidden vector. There are none before
    /// DRIVER_OK, so that is early enough.
    pub(in crate::transitional) fn arm_config(&self, core: &mut Core) {
        if core.config_armed || !self.use_hidden_vectors(core) {
            return;
        }
        if let Some(vector) = self.program(Register::ConfigVector, self.vectors.config_candidates()) {
            self.vectors.set_config(vector);
            core.config_armed = true;
            core.config_given = true;
        }
    }

    /// Whether the guest gets INTx made from hidden vectors now; if so, the VF has them enabled. The
    /// vector registers are only there while the VF's MSI-X is on.
    fn use_hidden_vectors(&self, core: &mut Core) -> bool {
        if !self.intx || core.guest_msix {
            return false;
        }
        if core.vf_msix != VfMsix::Hidden {
            match self.vf.set_msix(&self.vectors.events()) {
                Ok(()) => core.vf_msix = VfMsix::Hidden,
                Err(error) => self.faults.function(&error),
            }
        }
        core.vf_msix == VfMsix::Hidden
    }

    /// Writes vectors until the device keeps one: it answers 0xffff where it has no room. Several
    /// queues can share one.
    fn program(&self, register: Register, candidates: impl Iterator<Item = u16>) -> Option<u16> {
        for vector in candidates {
            let (offset, width) = (register.offset(), register.width());
            match self.back_end.write_area(Area::Common, offset, width, vector.into()) {
                Ok(()) => {}
                Err(Denied::Refused) => continue,
                // Each of the others would wait for its deadline, too.
                Err(Denied::OutOfService | Denied::Failed) => break,
            }
            if self.back_end.read(register) == Some(vector.into()) {
                return Some(vector);
            }
        }
        self.faults.function(&format_args!("the device accepts no interrupt vector for {register:?}"));
        None
    }

    /// The guest switched MSI-X on: the line goes low, the guest finds the vector registers as after
    /// a reset, and the VF signals the guest's vectors.
    pub(in crate::transitional) fn guest_msix_on(&self, core: &mut Core, msix: &Msix) {
        self.front.set_intx_active(false);
        self.disarm(core);
        core.guest_msix = true;
        self.give_vectors_to_guest(core, msix);
        self.vectors.drain();
    }

    /// Points the VF's MSI-X at the guest's vectors.
    pub(in crate::transitional) fn give_vectors_to_guest(&self, core: &mut Core, msix: &Msix) {
        let events: Vec<_> = (0..msix.vectors()).map(|vector| msix.event(vector)).collect();
        match self.vf.set_msix(&events) {
            Ok(()) => core.vf_msix = VfMsix::Guest,
            Err(error) => self.faults.function(&error),
        }
    }

    /// Takes back all hidden vectors. The guest's queue selection is as before afterwards (hazard
    /// F19: nothing may come between it and the access it is for).
    fn disarm(&self, core: &mut Core) {
        if core.config_given {
            self.back_end.write(Register::ConfigVector, NO_VECTOR.into());
            core.config_given = false;
            core.config_armed = false;
        }
        let armed = core.armed.iter().collect();
        self.for_queues(core, armed, |device, core, queue| {
            device.back_end.write(Register::QueueVector, NO_VECTOR.into());
            core.armed.remove(queue);
        });
    }

    /// The guest switched MSI-X off. Queues that are set up get their hidden vectors, and one
    /// interrupt is raised that perhaps nothing is behind: a signal may have got lost in the switch,
    /// and a driver that finds nothing to do is none the worse.
    pub(in crate::transitional) fn guest_msix_off(&self, core: &mut Core) {
        core.guest_msix = false;
        self.front.set_intx_active(true);
        let configured: Vec<u16> = core.cache.configured().collect();
        if !(self.intx && !configured.is_empty() && self.use_hidden_vectors(core)) {
            return self.silence_vf(core);
        }
        self.for_queues(core, configured, Self::arm_queue);
        if core.cache.status() & STATUS_DRIVER_OK != 0 || core.started_early {
            self.arm_config(core);
        }
        if self.front.raise_if(ISR_QUEUE, || true) {
            self.stats.spurious_interrupts.add();
            self.trace.interrupt(ISR_QUEUE, true);
        }
    }

    fn silence_vf(&self, core: &mut Core) {
        match self.vf.disable_msix() {
            Ok(()) => core.vf_msix = VfMsix::Off,
            Err(error) => self.faults.function(&error),
        }
    }

    /// Runs `act` with each of `queues` selected, and selects the guest's queue again.
    fn for_queues(&self, core: &mut Core, queues: Vec<u16>, act: impl Fn(&Self, &mut Core, u16)) {
        for queue in &queues {
            if self.back_end.write(Register::QueueSelect, (*queue).into()) {
                act(self, core, *queue);
            } else {
                core.cache.apply(Event::AccessFailed);
            }
        }
        let guests = core.cache.queue_select();
        if !queues.is_empty() && !self.back_end.write(Register::QueueSelect, guests.into()) {
            core.cache.apply(Event::AccessFailed);
        }
    }
}
