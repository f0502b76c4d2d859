// SPDX-License-Identifier: Apache-2.0
//! The command line: words in, values out. It opens nothing but the file that `--config` names, and starts
//! nothing.

mod ctl;
mod generate;
mod key_value;
mod observe;
mod pf;
mod probe;
mod run;
mod sandbox;
mod serve;
mod soft_pf;
mod trace;

use clap::{Parser, Subcommand};

pub(crate) use ctl::{CtlArgs, RouteVerb, Verb, new_device};
pub(crate) use generate::{CompletionsArgs, ManArgs};
pub(crate) use observe::ObserveArgs;
pub(crate) use pf::{PfArgs, PfCommand};
pub(crate) use probe::ProbeArgs;
pub(crate) use run::RunArgs;
pub(crate) use sandbox::{Allowed, SandboxArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use soft_pf::{HiddenVf, SoftPfArgs, SoftQuirk};
pub(crate) use trace::{TraceArgs, TraceCommand};

/// Exit codes, in the help text because scripts depend on them.
const EXIT_CODES: &str = "\
Exit codes:
  0    the guest powered itself off
  1    an error inside heirloom
  2    bad usage: an option or a value is wrong, nothing was started
  3    set-up failed: a file, KVM or a device could not be used
  4    the guest crashed (the register dump is on standard error)
  5    the virtual machine was ended from the console (Ctrl-A X)
  6    the guest reset itself, with --no-reboot
  128+N  ended by signal N";

const EXAMPLES: &str = "\
Examples:
  heirloom run --kernel vmlinuz --legacy-virtio soft=blk,file=disk.img
  heirloom run --config vm.toml --api-socket /run/heirloom/vm.sock
  heirloom probe --all
  heirloom pf prepare 0000:41:00.0 --vfs 4
  heirloom serve --api-socket /run/heirloom/vm.sock
  heirloom ctl --api-socket /run/heirloom/vm.sock info
'heirloom COMMAND --help' has more, exit codes among it.";

/// Heirloom: runs guests whose virtio drivers are legacy ones on modern-only virtual functions.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one virtual machine until it powers off
    Run(Box<RunArgs>),
    /// Offer a software PF with an admin queue, and its virtual functions, over vfio-user
    SoftPf(SoftPfArgs),
    /// Prepare a physical function of this host and its VFs for guests, or give them back
    Pf(PfArgs),
    /// Say what a VF, a PF or this host lacks for guests, and what to do about it
    Probe(ProbeArgs),
    /// Wait for requests on a socket; the virtual machine comes and goes with them
    Serve(ServeArgs),
    /// Ask a running heirloom, over its socket
    Ctl(CtlArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Write man pages into a folder
    Man(ManArgs),
    /// Look at traces of legacy accesses
    Trace(TraceArgs),
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
