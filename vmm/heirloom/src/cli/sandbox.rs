// SPDX-License-Identifier: Apache-2.0
//! Options about what this process may still do.

use std::path::PathBuf;
use std::str::FromStr;

use api::types::SandboxMode;
use clap::{Args, ValueEnum};
use vmm::sandbox::Access;

/// How much of the sandbox is wanted.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct SandboxArgs {
    /// Whether this process gives up rights that it does not need (capabilities, files, TCP, system calls by kind of
    /// thread): on; log: a system call that is not expected is in the kernel's log and goes through; off
    /// [default: what HEIRLOOM_SANDBOX says, else off]
    #[arg(long, value_enum, value_name = "on|log|off", help_heading = "Sandbox")]
    sandbox: Option<Sandbox>,
}

/// Value of `--sandbox`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sandbox {
    On,
    Log,
    Off,
}

impl SandboxArgs {
    /// How much of it.
    pub(crate) fn mode(self) -> SandboxMode {
        // A word that is none asks for something: for the sandbox.
        let by_environment =
            || std::env::var("HEIRLOOM_SANDBOX").ok().map(|word| Sandbox::from_str(&word, true).unwrap_or(Sandbox::On));
        match self.sandbox.or_else(by_environment) {
            Some(Sandbox::On) => SandboxMode::On,
            Some(Sandbox::Log) => SandboxMode::Log,
            Some(Sandbox::Off) | None => SandboxMode::Off,
        }
    }
}

/// Value of `--allow`: `PATH` is read, `PATH:rw` is written as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// A file or a folder with all that is in it.
    pub(crate) path: PathBuf,
    /// What is done with it.
    pub(crate) access: Access,
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, access) = match text.strip_suffix(":rw") {
            Some(path) => (path, Access::ReadWrite),
            None => (text, Access::Read),
        };
        // One that is missing when the sandbox begins would stay closed for ever.
        match std::fs::metadata(path) {
            Ok(_) => Ok(Self { path: path.into(), access }),
            Err(error) => Err(format!("{error}: name a file or folder that is there, and :rw behind it to write")),
        }
    }
}
