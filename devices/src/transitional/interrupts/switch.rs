// SPDX-License-Identifier: Apache-2.0
//! Hidden vectors in the device's registers, and the switch between them and the guest's MSI-X
//! (hazards H1 and H3). Called with the function's lock held.

use super::{InterruptState, Interrupts, Selection, Setup, VfMsix};
use crate::bus::Width;
use crate::contract::Area;
use crate::pci::{Msix, MsixChange};
use crate::spec::virtio::NO_VECTOR;
use crate::transitional::below::back_end::Denied;
use crate::transitional::guest_config::space::ISR_QUEUE;
use crate::transitional::layout::decode::Register;
use crate::transitional::layout::queue_set::QueueSet;
use crate::transitional::telemetry::stats::DeviceCounter;

const UNWATCHED: &str = "its interrupts cannot be watched; a guest that uses MSI-X does not need that";

impl Interrupts {
    /// While the guest has INTx: gives `queue`, which is selected, a hidden vector, which the device has before
    /// it has the queue's address. The first device that signals "used" finds the vector in place.
    pub(crate) fn arm_queue(&self, state: &mut InterruptState, queue: u16) {
        if !self.use_hidden_vectors(state) {
            return;
        }
        match self.program(Register::QueueVector, self.vectors.candidates(queue)) {
            Some(_) => state.armed.insert(queue),
            None => state.armed.remove(queue),
        }
    }

    /// While the guest has INTx: gives configuration changes a hidden vector. There are none before
    /// DRIVER_OK, so that is early enough.
    pub(crate) fn arm_config(&self, state: &mut InterruptState) {
        if state.config_armed || !self.use_hidden_vectors(state) {
            return;
        }
        if let Some(vector) = self.program(Register::ConfigVector, self.vectors.config_candidates()) {
            self.vectors.set_config(vector);
            state.config_armed = true;
            state.config_given = true;
        }
    }

    /// Queue address 0 may have reset the device: configuration changes may have no vector any more.
    pub(crate) fn config_vector_in_doubt(&self, state: &mut InterruptState) {
        state.config_armed = false;
    }

    /// The guest wrote message control, perhaps with the value it had.
    pub(crate) fn control_written(&self, state: &mut InterruptState, setup: &Setup) -> Selection {
        let Some(guest) = &self.msix else { return Selection::Kept };
        let control = self.guest_config.read(guest.control, Width::B2) as u16;
        let trace = self.back_end.trace();
        let mut selection = Selection::Kept;
        match guest.msix.set_control(control) {
            MsixChange::None => {}
            MsixChange::Enabled => trace.msix(true, || selection = self.guest_msix_on(state, &guest.msix, setup)),
            MsixChange::Disabled => trace.msix(false, || selection = self.guest_msix_off(state, setup)),
        }
        selection
    }

    /// Whether the guest gets INTx made from hidden vectors now; if so, the VF has them enabled. The
    /// vector registers are only there while the VF's MSI-X is on.
    fn use_hidden_vectors(&self, state: &mut InterruptState) -> bool {
        if !self.intx || state.guest_msix {
            return false;
        }
        if self.vectors.is_unwatched() {
            // The guest would wait for interrupts that nobody hears.
            self.back_end.faults().fault(UNWATCHED.to_owned());
            return false;
        }
        if state.vf_msix != VfMsix::Hidden {
            match self.vf.set_msix(&self.vectors.events()) {
                Ok(()) => state.vf_msix = VfMsix::Hidden,
                Err(error) => self.back_end.faults().function(&error),
            }
        }
        state.vf_msix == VfMsix::Hidden
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
        self.back_end.faults().function(&format_args!("the device accepts no interrupt vector for {register:?}"));
        None
    }

    /// The guest switched MSI-X on: the line goes low, the guest finds the vector registers as after
    /// a reset, and the VF signals the guest's vectors.
    fn guest_msix_on(&self, state: &mut InterruptState, msix: &Msix, setup: &Setup) -> Selection {
        self.guest_config.set_intx_active(false);
        let selection = self.disarm(state, setup.queue_select);
        state.guest_msix = true;
        self.give_vectors_to_guest(state, msix);
        self.vectors.drain();
        selection
    }

    /// Points the VF's MSI-X at the guest's vectors.
    pub(super) fn give_vectors_to_guest(&self, state: &mut InterruptState, msix: &Msix) {
        let events: Vec<_> = (0..msix.vectors()).map(|vector| msix.event(vector)).collect();
        match self.vf.set_msix(&events) {
            Ok(()) => state.vf_msix = VfMsix::Guest,
            Err(error) => self.back_end.faults().function(&error),
        }
    }

    /// Takes back all hidden vectors. The guest's queue selection is as before afterwards (hazard
    /// F19: nothing may come between it and the access it is for).
    fn disarm(&self, state: &mut InterruptState, queue_select: u16) -> Selection {
        if state.config_given {
            self.back_end.write(Register::ConfigVector, NO_VECTOR.into());
            state.config_given = false;
            state.config_armed = false;
        }
        let armed = state.armed.clone();
        self.for_queues(queue_select, &armed, |queue| {
            self.back_end.write(Register::QueueVector, NO_VECTOR.into());
            state.armed.remove(queue);
        })
    }

    /// The guest switched MSI-X off. Queues that are set up get their hidden vectors, and one
    /// interrupt is raised in case a signal was lost in the switch. A driver that finds nothing to do
    /// ignores it.
    fn guest_msix_off(&self, state: &mut InterruptState, setup: &Setup) -> Selection {
        state.guest_msix = false;
        self.guest_config.set_intx_active(true);
        let runs = setup.configured.iter().next().is_some();
        if !(self.intx && runs && self.use_hidden_vectors(state)) {
            self.silence_vf(state);
            return Selection::Kept;
        }
        let selection = self.for_queues(setup.queue_select, &setup.configured, |queue| self.arm_queue(state, queue));
        if setup.driver_ok {
            self.arm_config(state);
        }
        if self.guest_config.raise_if(ISR_QUEUE, || true).is_some() {
            self.back_end.stats().add(DeviceCounter::SpuriousInterrupts);
            self.back_end.trace().interrupt(ISR_QUEUE, true);
        }
        selection
    }

    fn silence_vf(&self, state: &mut InterruptState) {
        match self.vf.disable_msix() {
            Ok(()) => state.vf_msix = VfMsix::Off,
            Err(error) => self.back_end.faults().function(&error),
        }
    }

    /// Runs `act` with each of `queues` selected, and selects the guest's queue again.
    fn for_queues(&self, guests: u16, queues: &QueueSet, mut act: impl FnMut(u16)) -> Selection {
        let mut selection = Selection::Kept;
        let mut moved = false;
        for queue in queues.iter() {
            moved = true;
            if self.back_end.write(Register::QueueSelect, queue.into()) {
                act(queue);
            } else {
                selection = Selection::Lost;
            }
        }
        if moved && !self.back_end.write(Register::QueueSelect, guests.into()) {
            selection = Selection::Lost;
        }
        selection
    }
}
