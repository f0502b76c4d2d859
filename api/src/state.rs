// SPDX-License-Identifier: Apache-2.0
//! The states of a virtual machine, as the API names them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VmState {
    /// There is none. No reply has this: `vm.info` is a 404 then.
    NotCreated,
    /// There is a configuration, and nothing has run yet.
    Created,
    /// The guest runs.
    Running,
    /// The guest's processors are stopped and can go on.
    Paused,
    /// The guest has ended or was ended. The configuration is kept and can be booted again.
    Shutdown,
}

impl VmState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NotCreated, Self::Created, Self::Running, Self::Paused, Self::Shutdown];

    /// Whether there is a machine: memory, processors, devices.
    pub const fn has_machine(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The states in which a route works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSet(&'static [VmState]);

impl StateSet {
    /// Exactly these.
    pub const fn of(states: &'static [VmState]) -> Self {
        Self(states)
    }

    /// Every state.
    pub const ANY: Self = Self(&VmState::ALL);
    /// There is a machine.
    pub const EXISTS: Self = Self(&[VmState::Created, VmState::Running, VmState::Paused, VmState::Shutdown]);
    /// There is a machine, and it does not run.
    pub const OFF: Self = Self(&[VmState::Created, VmState::Shutdown]);
    /// The machine has been booted and has not ended.
    pub const ON: Self = Self(&[VmState::Running, VmState::Paused]);

    /// Whether `state` is one of them.
    pub fn contains(self, state: VmState) -> bool {
        self.0.contains(&state)
    }

    /// Whether every state is one of them.
    pub fn is_any(self) -> bool {
        self == Self::ANY
    }
}

impl fmt::Display for StateSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("any");
        }
        for (index, state) in self.0.iter().enumerate() {
            let between = match index {
                0 => "",
                n if n + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{between}{state}")?;
        }
        Ok(())
    }
}
