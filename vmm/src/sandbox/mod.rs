// SPDX-License-Identifier: Apache-2.0
//! The sandbox: what this process and each of its threads may still ask of the kernel, from before anything untrusted is
//! read until the end. A guest, a peer or a client that takes a thread over reaches no more than that.
//!
//! | module | what it is |
//! | --- | --- |
//! | `calls`, `arguments` | the tables: system calls by kind of thread, and why |
//! | `filters` | the tables as the kernel's filters (seccomp) |
//! | `files` | the paths that can be opened, TCP, signals and abstract sockets (Landlock) |
//! | `plan` | the paths that a configuration names |
//! | `rights` | capabilities, core dumps |
//! | `allocator` | keeps the C library from reading files |
#![deny(unsafe_code)]

mod allocator;
mod arguments;
mod calls;
mod files;
mod filters;
mod plan;
mod rights;

use std::io;
use std::sync::OnceLock;

use api::types::{SandboxInfo, SandboxMode};
use devices::contract::threads::{self, ThreadKind};
use devices::function::eventfds;
use thiserror::Error;

pub use files::{Access, Paths};

/// Why there is no sandbox.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The kernel does not filter system calls.
    #[error(
        "cannot confine this process: {0}; a kernel with CONFIG_SECCOMP_FILTER does, and --sandbox=off goes without"
    )]
    Filter(String),
    /// The kernel does not take rights away.
    #[error("cannot give up rights; --sandbox=off goes without")]
    Rights(#[source] io::Error),
}

impl SandboxError {
    fn filter(error: impl std::fmt::Display) -> Self {
        Self::Filter(error.to_string())
    }
}

/// What holds, and what this kernel lacks, on one line.
pub fn summary(held: &SandboxInfo) -> String {
    let have = |held: bool, what: &'static str, lack: &'static str| if held { what } else { lack };
    match held.mode {
        SandboxMode::Off => "off: this process keeps all rights of its user".to_owned(),
        mode => [
            have(mode == SandboxMode::On, "system calls by kind of thread", "system calls logged alone"),
            have(held.files_bound, "named files alone", "all files of this user"),
            have(held.tcp_denied, "no TCP", "TCP, which Landlock 4 (Linux 6.7) would deny"),
            have(held.scoped, "no signals to others", "signals to others, which Landlock 6 (Linux 6.12) would deny"),
        ]
        .join(", "),
    }
}

static HELD: OnceLock<SandboxInfo> = OnceLock::new();

/// What holds for this process.
pub fn held() -> SandboxInfo {
    HELD.get().cloned().unwrap_or_default()
}

/// Confines this process, which must have one thread still, for good. Without `paths` it may open what its user may.
///
/// # Errors
/// When the kernel cannot do it; the process may be confined in part then, and ends. Landlock alone may be missing, which
/// [`SandboxInfo`] tells.
pub fn start(mode: SandboxMode, paths: Option<&Paths>) -> Result<SandboxInfo, SandboxError> {
    let mut held = SandboxInfo { mode, ..SandboxInfo::default() };
    if mode != SandboxMode::Off {
        allocator::limit_arenas();
        eventfds::prepare();
        rights::give_up().map_err(SandboxError::Rights)?;
        files::restrict(paths, &mut held)?;
        filters::start(mode)?;
        threads::on_start(enter);
    }
    let _ = HELD.set(held.clone());
    Ok(held)
}

/// What a new thread does first.
fn enter(kind: ThreadKind) -> io::Result<()> {
    rights::keep(rights::kept(kind))?;
    filters::enter(kind)
}

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
