// SPDX-License-Identifier: Apache-2.0
//! `heirloom soft-pf`: its words. It opens nothing and starts nothing.

use std::path::{Path, PathBuf};

use api::SoftDevice;
use clap::{Args, ValueEnum};

use super::{SandboxArgs, key_value};
use crate::log::{LogFormat, LogOptions};
use crate::report::{ReportFormat, ReportTarget};

/// `heirloom soft-pf`
#[derive(Clone, Debug, Args)]
#[command(after_long_help = long_help())]
pub(crate) struct SoftPfArgs {
    /// Folder for the sockets: pf.sock, vf0.sock, vf1.sock, ...
    #[arg(long, value_name = "DIR")]
    socket_dir: PathBuf,
    /// A virtual function; may be repeated. See --help for its keys
    #[arg(long, required = true, value_name = "KIND,KEY=VALUE,...", value_parser = key_value::soft_device)]
    vf: Vec<SoftDevice>,
    /// What the PF itself is (default: of the VFs' kind; an empty disk in memory, or a card with loopback)
    #[arg(long, value_name = "KIND,KEY=VALUE,...", value_parser = key_value::soft_device)]
    pf: Option<SoftDevice>,
    /// Take VFs of different kinds, or of another kind than the PF: no kernel can make use of that through SR-IOV
    #[arg(long)]
    mixed: bool,
    /// What a client finds in the configuration space of a VF while VF Enable is clear
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = HiddenVf::Readable)]
    hidden_vf: HiddenVf,
    /// Make the functions worse than the standard asks, to try clients with; may be repeated
    #[arg(long, value_enum, value_name = "WHAT")]
    quirk: Vec<SoftQuirk>,
    /// Write what the functions did to this file at exit ('-': standard output); may be repeated
    #[arg(long, value_name = "FILE|-", help_heading = "Reports")]
    report: Vec<PathBuf>,
    /// Form of the report; without it, a FILE ending in .json gets JSON and everything else text
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Reports")]
    report_format: Option<ReportFormat>,
    /// More messages on standard error; -vv for still more
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Reports")]
    verbose: u8,
    /// What this process may still do.
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
}

/// What `--help` says at its end.
fn long_help() -> String {
    format!(
        "Keys of --vf and --pf, behind the kind:\n{}The default of mac= is made of the host and the folder, the same at \
         each start.\n{}\n\n{LONG_HELP}",
        api::options::SOFT_DEVICE.help(),
        key_value::COMMAS
    )
}

const LONG_HELP: &str = "\
The server says 'listening on ...' when clients may connect, and runs until SIGINT or SIGTERM. It removes its
sockets then. Each socket serves one client at a time; PF and VFs may have clients of different processes.

Examples:
  heirloom soft-pf --socket-dir /run/softpf --vf net,loopback --vf net,tap=tap0 --report -
  heirloom soft-pf --socket-dir /run/softpf --vf blk,file=a.img --vf blk,file=b.img,readonly

Exit codes: 0 ended by a signal, 1 internal error, 2 bad usage, 3 set-up failed";

/// Value of `--hidden-vf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HiddenVf {
    /// What the VF will have: QEMU examines a function when it starts, and has to find one
    Readable,
    /// All ones, as on a bus
    Ones,
}

/// Value of `--quirk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SoftQuirk {
    /// VFs lose kicks of legacy drivers before DRIVER_OK, as hardware built for the modern interface may
    LosesEarlyKicks,
}

impl SoftPfArgs {
    /// Folder for the sockets.
    pub(crate) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The virtual functions, in order.
    pub(crate) fn vfs(&self) -> &[SoftDevice] {
        &self.vf
    }

    /// The PF, where one was described.
    pub(crate) fn pf(&self) -> Option<&SoftDevice> {
        self.pf.as_ref()
    }

    /// Whether functions may be of different kinds.
    pub(crate) fn mixed(&self) -> bool {
        self.mixed
    }

    /// What is in the configuration space of a VF that does not exist.
    pub(crate) fn hidden_vf(&self) -> HiddenVf {
        self.hidden_vf
    }

    /// What the functions do worse than they could.
    pub(crate) fn quirks(&self) -> &[SoftQuirk] {
        &self.quirk
    }

    /// Where reports go.
    pub(crate) fn reports(&self) -> Vec<ReportTarget> {
        self.report.iter().map(|path| ReportTarget::new(path, self.report_format)).collect()
    }

    /// How messages are written.
    pub(crate) fn log(&self) -> LogOptions<'_> {
        LogOptions { verbosity: self.verbose, format: LogFormat::Text, file: None, limit: 0 }
    }
}

#[cfg(test)]
#[path = "soft_pf_tests.rs"]
mod tests;
