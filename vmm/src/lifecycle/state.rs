// SPDX-License-Identifier: Apache-2.0
//! The state of the one virtual machine, for any thread. Which operation is possible in which state says
//! [`api::operations`]. The model is Cloud Hypervisor's: create, boot, shut down, boot again, delete.

use std::sync::atomic::{AtomicU8, Ordering};

use api::VmState;

/// A state that anybody may read and that only the engine writes: its place in [`VmState::ALL`].
#[derive(Debug)]
pub(super) struct StateCell(AtomicU8);

impl StateCell {
    /// [`VmState::NotCreated`].
    pub(super) const fn new() -> Self {
        Self(AtomicU8::new(VmState::NotCreated as u8))
    }

    /// The state now.
    pub(super) fn get(&self) -> VmState {
        let value = self.0.load(Ordering::Acquire);
        VmState::ALL.into_iter().find(|state| *state as u8 == value).unwrap_or(VmState::NotCreated)
    }

    pub(super) fn set(&self, state: VmState) {
        self.0.store(state as u8, Ordering::Release);
    }
}

impl Default for StateCell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
