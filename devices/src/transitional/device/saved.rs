// SPDX-License-Identifier: Apache-2.0
//! The state of a function as one plain value, to be saved and set again.

use serde::{Deserialize, Serialize};

use super::TransitionalDevice;
use crate::contract::{Saved, StateError};
use crate::transitional::guest_config::space::SavedConfig;
use crate::transitional::interrupts::SavedInterrupts;
use crate::transitional::kicks::KickState;
use crate::transitional::registers::cache::RegisterState;
use crate::transitional::service::DmaState;

/// What the guest's function is, each owner's part by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionalState {
    registers: RegisterState,
    interrupts: SavedInterrupts,
    kicks: KickState,
    dma: DmaState,
    config: SavedConfig,
    /// Whether the guest used the modern interface.
    direct: bool,
    /// Why the function is out of service, if it is.
    faulted: Option<String>,
}

/// [`Saved::set_state`] sends nothing to the VF: the caller has brought the device, its MSI-X and its COMMAND there.
/// The caller remaps.
impl Saved for TransitionalDevice {
    type State = TransitionalState;

    fn state(&self) -> TransitionalState {
        let core = self.lock();
        TransitionalState {
            registers: core.registers.state(),
            interrupts: self.interrupts.save(&core.interrupts),
            kicks: self.kicks.state(),
            dma: core.dma.clone(),
            config: self.guest_config.state(),
            direct: self.modern.is_direct(),
            faulted: self.back_end.faults().reason(),
        }
    }

    fn set_state(&self, state: TransitionalState) -> Result<(), StateError> {
        let mut core = self.lock();
        // Alone in what it refuses, so it is first.
        self.interrupts.set(&mut core.interrupts, state.interrupts)?;
        core.registers.set_state(state.registers);
        self.guest_config.set_state(&state.config);
        core.dma = state.dma;
        self.modern.set_direct(state.direct);
        self.kicks.set_state(&state.kicks);
        if let Some(reason) = state.faulted {
            self.service.fail(reason);
        }
        self.publish(&core);
        Ok(())
    }
}

#[cfg(test)]
#[path = "saved_tests.rs"]
mod tests;
