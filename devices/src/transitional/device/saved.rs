// SPDX-License-Identifier: Apache-2.0
//! The state of a function as one plain value, to be saved and set again.

use serde::{Deserialize, Serialize};

use super::TransitionalDevice;
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

impl TransitionalDevice {
    /// The function's state, while vCPUs stand still.
    pub fn state(&self) -> TransitionalState {
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

    /// Goes on from `state` while vCPUs stand still. Sends nothing to the VF: the caller has brought the device, its
    /// MSI-X and its COMMAND there. The caller remaps.
    pub fn set_state(&self, state: TransitionalState) {
        let mut core = self.lock();
        core.registers.set_state(state.registers);
        self.guest_config.set_state(&state.config);
        self.interrupts.set(&mut core.interrupts, state.interrupts);
        core.dma = state.dma;
        self.modern.set_direct(state.direct);
        self.kicks.set_state(&state.kicks);
        if let Some(reason) = state.faulted {
            self.service.fail(reason);
        }
        self.publish(&core);
    }
}

#[cfg(test)]
#[path = "saved_tests.rs"]
mod tests;
