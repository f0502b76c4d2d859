// SPDX-License-Identifier: Apache-2.0
//! How an engine behaves, whatever machine it gets.

use std::path::PathBuf;

/// How an engine behaves.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// What ends it.
    pub ends: Ends,
    /// Files that this process writes, with the options that name them: no machine may read them.
    pub outputs: Vec<(&'static str, PathBuf)>,
    /// What tells this machine from others that have no disk and no UUID: the path of the API's socket.
    pub name: Option<PathBuf>,
    /// Bytes at which the serial port's file moves aside; 0 is never.
    pub output_limit: u64,
    /// Takes over SIGINT, SIGTERM, SIGHUP and SIGQUIT, for the life of the process; and ends in order when a thread
    /// panics, if [`crate::panics::watch`] was called.
    pub takes_signals: bool,
}

/// What ends an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// The engine ends when its guest does, as `heirloom run` wants it. Else the virtual machine is shut down
    /// then, and may boot again.
    pub with_guest: bool,
    /// A reset by the guest ends it, instead of starting it again.
    pub at_reset: bool,
}
