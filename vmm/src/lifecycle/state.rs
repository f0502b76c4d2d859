// SPDX-License-Identifier: Apache-2.0
//! The states of the one virtual machine, and which operation is possible in which. Pure.
//!
//! The model is Cloud Hypervisor's: create, boot, shut down, boot again, delete.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

/// What the virtual machine is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[repr(u8)]
pub enum VmState {
    /// There is none.
    NotCreated = 0,
    /// Its configuration is known and was checked; it has not run yet.
    Created = 1,
    /// Guest code runs.
    Running = 2,
    /// Guest code stands still.
    Paused = 3,
    /// It ran and was switched off. Its configuration is kept.
    Shutdown = 4,
}

impl VmState {
    /// Every state, for tables and tests.
    pub const ALL: [Self; 5] = [Self::NotCreated, Self::Created, Self::Running, Self::Paused, Self::Shutdown];

    /// Whether there is a machine: memory, processors, devices.
    pub const fn has_machine(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCreated => "not created",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Shutdown => "shut down",
        })
    }
}

/// A state that anybody may read and that only the engine writes.
#[derive(Debug)]
pub struct StateCell(AtomicU8);

impl StateCell {
    /// [`VmState::NotCreated`].
    pub const fn new() -> Self {
        Self(AtomicU8::new(VmState::NotCreated as u8))
    }

    /// The state now.
    pub fn get(&self) -> VmState {
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

/// What one can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Take a configuration.
    Create,
    /// Build the machine and let it run.
    Boot,
    /// Switch it off, without asking the guest.
    Shutdown,
    /// Replace the machine by a new one, as a reset by the guest does.
    Reboot,
    /// Press the power button.
    PowerButton,
    /// Stop guest code.
    Pause,
    /// Let it go on.
    Resume,
    /// Forget the virtual machine; switches it off where it is on.
    Delete,
    /// Configuration, state and device tree.
    Info,
    /// Counters of processors and devices.
    Counters,
    /// The legacy functions in detail.
    Legacy,
    /// Add a device to the configuration.
    AddDevice,
    /// Take one out of it.
    RemoveDevice,
}

impl Operation {
    /// Every operation, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Boot,
        Self::Shutdown,
        Self::Reboot,
        Self::PowerButton,
        Self::Pause,
        Self::Resume,
        Self::Delete,
        Self::Info,
        Self::Counters,
        Self::Legacy,
        Self::AddDevice,
        Self::RemoveDevice,
    ];

    /// The state after this operation succeeded in `state`.
    ///
    /// # Errors
    /// [`Refusal`] where it is not possible.
    pub const fn after(self, state: VmState) -> Result<VmState, Refusal> {
        use VmState::{Created, NotCreated, Paused, Running, Shutdown};
        match (self, state) {
            (Self::Create, NotCreated) => Ok(Created),
            (Self::Create, _) => Err(Refusal::AlreadyCreated),
            // Nothing to delete is as good as deleted: clients clean up without knowing how far they got.
            (Self::Delete, _) => Ok(NotCreated),
            (_, NotCreated) => Err(Refusal::NotCreated),
            (Self::Boot, Created | Shutdown) | (Self::Reboot, Running) | (Self::Resume, Paused) => Ok(Running),
            (Self::Shutdown, Running | Paused) => Ok(Shutdown),
            (Self::Pause, Running) => Ok(Paused),
            (Self::PowerButton, Running) => Ok(Running),
            (Self::Counters | Self::Legacy, Running | Paused) => Ok(state),
            (Self::AddDevice | Self::RemoveDevice, Created | Shutdown) => Ok(state),
            (Self::Info, _) => Ok(state),
            _ => Err(Refusal::WrongState(state)),
        }
    }

    /// States in which it is possible.
    pub fn states(self) -> impl Iterator<Item = VmState> {
        VmState::ALL.into_iter().filter(move |state| self.after(*state).is_ok())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Boot => "boot",
            Self::Shutdown => "shut down",
            Self::Reboot => "reboot",
            Self::PowerButton => "press the power button",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Delete => "delete",
            Self::Info => "describe",
            Self::Counters => "read the counters of",
            Self::Legacy => "look into the legacy functions of",
            Self::AddDevice => "add a device to",
            Self::RemoveDevice => "remove a device from",
        })
    }
}

/// Why an operation is not possible in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no virtual machine.
    NotCreated,
    /// There is one already.
    AlreadyCreated,
    /// It is in this state, in which this does not go.
    WrongState(VmState),
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
