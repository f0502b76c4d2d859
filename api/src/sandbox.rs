// SPDX-License-Identifier: Apache-2.0
//! What is told of the sandbox. Types only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of the sandbox is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// All of it: a system call that a thread of its kind does not make ends the process.
    On,
    /// All, but such a system call goes through, and the kernel's log has it.
    Log,
    /// None.
    #[default]
    Off,
}

/// What this process may still do, as far as its kernel binds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SandboxInfo {
    /// As it was asked for.
    pub mode: SandboxMode,
    /// Version of Landlock that is in force; 0 where the kernel has none.
    pub landlock: u8,
    /// Whether no file can be opened but those that were named at the start.
    pub files_bound: bool,
    /// Whether there is no TCP.
    pub tcp_denied: bool,
    /// Whether no other process can be sent a signal, or reached by an abstract socket.
    pub scoped: bool,
}
