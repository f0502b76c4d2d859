// SPDX-License-Identifier: Apache-2.0
//! The guest's interrupts: by its own MSI-X, or on its interrupt line, made from hidden vectors (hazards H1 to
//! H5). What changes under the function's lock is an [`InterruptState`] that the caller keeps.
//!
//! It touches the vector registers below, the VF's MSI-X and the guest's interrupt line, and nothing else.
//!
//! | module | what it is |
//! | --- | --- |
//! | `vectors` | hidden vectors, and the event loop's part |
//! | `throttle` | when the event loop looks away |
//! | `switch` | which vectors the device has, and the switch between hidden and the guest's |

mod switch;
mod throttle;
pub(super) mod vectors;

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::below::back_end::BackEnd;
use super::guest_config::space::GuestConfig;
use super::layout::queue_set::QueueSet;
use crate::bus::Width;
use crate::contract::{Saved, StateError};
use crate::function::PciFunction;
use crate::pci::{MSIX_CONTROL_OFFSET, Msix, MsixState};
use crate::transitional::telemetry::stats::DeviceCounter;
use vectors::{HiddenVectors, InterruptPump};

/// What the VF's MSI-X is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum VfMsix {
    #[default]
    Off,
    /// For the VMM, to make INTx of it.
    Hidden,
    /// For the guest.
    Guest,
}

/// Which vectors the guest, the device and the VF have. One access at a time changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InterruptState {
    /// MSI-X enable as the guest sees it: decides the layout of BAR0.
    guest_msix: bool,
    vf_msix: VfMsix,
    /// Whether the device surely has a hidden vector for configuration changes.
    config_armed: bool,
    /// Whether it was given one since the last reset, and may still have it.
    config_given: bool,
    /// Queues that have a hidden vector.
    armed: QueueSet,
}

impl InterruptState {
    /// MSI-X enable as the guest sees it.
    pub(super) fn guest_msix(&self) -> bool {
        self.guest_msix
    }
}

/// All that there is to save.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedInterrupts {
    switch: InterruptState,
    /// The hidden vector that configuration changes use.
    config_vector: u16,
    /// The guest's vector table.
    msix: Option<MsixState>,
}

/// What of the registers a switch has to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    /// The queue that the guest selected.
    pub queue_select: u16,
    /// Queues that have an address.
    pub configured: QueueSet,
    /// Whether the device has DRIVER_OK.
    pub driver_ok: bool,
}

/// Whether the device has the guest's queue selected, after others were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Selection {
    /// As before.
    Kept,
    /// An access failed: nobody knows.
    Lost,
}

/// The guest's MSI-X, and where its control word is in configuration space.
pub(super) struct GuestMsix {
    msix: Msix,
    /// Offset of message control.
    control: u16,
}

impl GuestMsix {
    /// `msix` with its capability at this offset.
    pub(super) fn new(msix: Msix, capability: u16) -> Self {
        Self { msix, control: capability + MSIX_CONTROL_OFFSET }
    }
}

/// The interrupts of one function.
pub(super) struct Interrupts {
    /// Whether INTx is offered.
    intx: bool,
    vf: Arc<dyn PciFunction>,
    vectors: Arc<HiddenVectors>,
    msix: Option<GuestMsix>,
    guest_config: Arc<GuestConfig>,
    back_end: Arc<BackEnd>,
}

impl Interrupts {
    /// Everything off. With `intx`, hidden vectors are made for `queues` queues.
    pub(super) fn new(
        vf: &Arc<dyn PciFunction>,
        queues: u16,
        intx: bool,
        msix: Option<GuestMsix>,
        guest_config: &Arc<GuestConfig>,
        back_end: &Arc<BackEnd>,
    ) -> io::Result<Self> {
        let available = if intx { vf.msix_vectors() } else { 0 };
        Ok(Self {
            intx,
            vf: Arc::clone(vf),
            vectors: Arc::new(HiddenVectors::new(queues, available)?),
            msix,
            guest_config: Arc::clone(guest_config),
            back_end: Arc::clone(back_end),
        })
    }

    /// Whether INTx is offered.
    pub(super) fn offers_intx(&self) -> bool {
        self.intx
    }

    /// What turns the VF's signals into INTx; `None` if the guest has no INTx.
    pub(super) fn pump(&self) -> Option<InterruptPump> {
        self.intx.then(|| InterruptPump::new(&self.vectors, &self.guest_config, &self.back_end))
    }

    /// The guest reads the interrupt status.
    pub(super) fn take_isr(&self) -> u8 {
        self.back_end.stats().add(DeviceCounter::IsrReads);
        self.guest_config.take_isr()
    }

    /// A read of the vector table or the pending bits; `None` if it is neither.
    pub(super) fn bar_read(&self, bar: u8, offset: u64, width: Width) -> Option<u64> {
        self.msix.as_ref()?.msix.bar_read(bar, offset, width)
    }

    /// A write to the vector table or the pending bits; `None` if it is neither.
    pub(super) fn bar_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Option<()> {
        self.msix.as_ref()?.msix.bar_write(bar, offset, width, value)
    }

    /// The device was reset: it has no vector, and nothing is pending. Hidden vectors are given again when the
    /// guest sets queues up again.
    pub(super) fn device_was_reset(&self, state: &mut InterruptState) {
        state.armed.clear();
        state.config_armed = false;
        state.config_given = false;
        self.drop_pending();
    }

    /// The function was reset: its MSI-X is off. The guest's own vectors go back to it.
    pub(super) fn function_was_reset(&self, state: &mut InterruptState) {
        state.vf_msix = VfMsix::Off;
        if let (true, Some(guest)) = (state.guest_msix, &self.msix) {
            self.give_vectors_to_guest(state, &guest.msix);
        }
    }

    /// As after power-on: the guest has MSI-X off, and no vector has a message.
    pub(super) fn machine_was_reset(&self, state: &mut InterruptState) {
        if let Some(guest) = &self.msix {
            guest.msix.reset();
        }
        self.device_was_reset(state);
        *state = InterruptState::default();
    }

    /// Drops what is pending, on the line and in events that nobody took.
    pub(super) fn drop_pending(&self) {
        self.guest_config.clear_isr(|| self.vectors.drain());
    }

    /// Switches the VF's MSI-X off for good or before a reset of the function.
    pub(super) fn disable_vf(&self) {
        if let Err(error) = self.vf.disable_msix() {
            self.back_end.faults().function(&error);
        }
    }

    /// All that there is to save of `state` and what belongs to it.
    pub(super) fn save(&self, state: &InterruptState) -> SavedInterrupts {
        let msix = self.msix.as_ref().map(|guest| guest.msix.state());
        SavedInterrupts { switch: state.clone(), config_vector: self.vectors.config(), msix }
    }

    /// Goes on from what was saved, or changes nothing. The VF is not touched: the caller has brought it there.
    pub(super) fn set(&self, state: &mut InterruptState, saved: SavedInterrupts) -> Result<(), StateError> {
        match (&self.msix, saved.msix) {
            (Some(guest), Some(msix)) => guest.msix.set_state(msix)?,
            (None, None) => {}
            _ => return Err(StateError("one of the two functions has no MSI-X")),
        }
        *state = saved.switch;
        self.vectors.set_config(saved.config_vector);
        Ok(())
    }
}

#[cfg(test)]
#[path = "interrupts_tests.rs"]
mod tests;
