// SPDX-License-Identifier: Apache-2.0
//! What this process keeps of a function that is passed through, as one plain value. What the function itself holds is
//! not in it: only the function could tell.

use serde::{Deserialize, Serialize};

use super::PassthroughDevice;
use crate::contract::{Saved, StateError};
use crate::pci::{ConfigSpaceState, MsixState};

/// The guest's side of the function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughState {
    space: ConfigSpaceState,
    msix: Option<MsixState>,
    /// Its last reset failed.
    unreset: bool,
    /// Why the guest has the function no more, if so.
    faulted: Option<String>,
}

/// [`Saved::set_state`] makes the function use the interrupts of the state. The caller remaps.
impl Saved for PassthroughDevice {
    type State = PassthroughState;

    fn state(&self) -> PassthroughState {
        let state = self.lock();
        PassthroughState {
            space: state.space.state(),
            msix: self.msix.as_ref().map(Saved::state),
            unreset: state.unreset,
            faulted: self.faults.reason(),
        }
    }

    fn set_state(&self, saved: PassthroughState) -> Result<(), StateError> {
        let mut state = self.lock();
        match (&self.msix, saved.msix) {
            (Some(own), Some(msix)) => own.set_state(msix)?,
            (None, None) => {}
            _ => return Err(StateError("one of the two functions has no MSI-X")),
        }
        state.space.set_state(&saved.space);
        state.unreset = saved.unreset;
        self.apply(&mut state);
        drop(state);
        if let Some(reason) = saved.faulted {
            self.taken_away(&reason);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "saved_tests.rs"]
mod tests;
