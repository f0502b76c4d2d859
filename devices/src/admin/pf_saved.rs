// SPDX-License-Identifier: Apache-2.0
//! What a PF's driver negotiated, as one plain value. The admin virtqueue is not in it: the driver that goes on has one of
//! its own, with rings and buffers in its own memory, and how many slots it has shows in nothing but time.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::opcode;
use super::pf::{PfDriver, choose};
use super::queue::QueueCounter;
use crate::contract::{Saved, StateError};

/// What the users of the VFs rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PfDriverState {
    /// Opcodes 0 to 63 in use for the SR-IOV group.
    commands: u64,
    /// VFs that the driver enabled; 0 if they are the host's matter.
    enabled_vfs: u16,
    /// Commands that were given up and that the device may carry out yet.
    quarantined: u64,
}

/// The driver that goes on has started its PF and has its VFs. From then on it uses the commands that were in use before,
/// and no other one, whenever it chooses a list again.
impl Saved for PfDriver {
    type State = PfDriverState;

    fn state(&self) -> PfDriverState {
        PfDriverState {
            commands: self.in_use(),
            enabled_vfs: self.enabled_vfs.load(Ordering::Relaxed),
            quarantined: self.channel().counts().get(QueueCounter::Quarantined),
        }
    }

    fn set_state(&self, state: PfDriverState) -> Result<(), StateError> {
        let PfDriverState { commands, enabled_vfs, quarantined } = state;
        if quarantined != 0 {
            return Err(StateError("a command was under way at the PF, so the registers of its VF were not known"));
        }
        if choose(commands) != commands {
            return Err(StateError("no PF driver uses these admin commands"));
        }
        if commands & !self.used.load(Ordering::Acquire) != 0 {
            return Err(StateError("this PF has not all admin commands that were in use"));
        }
        if enabled_vfs > self.enabled_vfs.load(Ordering::Relaxed) {
            return Err(StateError("this PF has fewer VFs enabled"));
        }
        self.wanted.store(commands | opcode::MASK_LIST, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
#[path = "pf_saved_tests.rs"]
mod tests;
