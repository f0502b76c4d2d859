// SPDX-License-Identifier: Apache-2.0
//! `heirloom probe`: its words. It opens nothing.

use clap::Args;
use devices::function::vfio::{Bdf, VfToken};

use crate::probe::{ProbeRequest, Target};

/// `heirloom probe`
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct ProbeArgs {
    /// A virtual function of this host, and its PF
    #[arg(long, value_name = "ADDRESS", group = "target")]
    vf: Option<Bdf>,
    /// A physical function of this host, and all its VFs
    #[arg(long, value_name = "ADDRESS", group = "target")]
    pf: Option<Bdf>,
    /// All virtio PFs of this host, and their VFs
    #[arg(long, group = "target")]
    all: bool,
    /// The software PF of heirloom run, or one that heirloom soft-pf serves
    #[arg(long, value_name = "builtin|DIR", group = "target")]
    soft_pf: Option<String>,
    /// Open PFs, which resets them, and ask their administration queue
    #[arg(long)]
    deep: bool,
    /// Size of guest to reckon with
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = api::parse_size)]
    memory: u64,
    /// VF token to open PFs with, or a file or a variable of the environment that has it
    #[arg(long, value_name = "UUID|@FILE|env:NAME", value_parser = vmm::config::read_token)]
    token: Option<VfToken>,
    /// Say it in JSON
    #[arg(long)]
    json: bool,
}

const LONG_HELP: &str = "\
One line for each precondition: pass, warn (works, less well), FAIL, or unknown, and what to do.
Nothing is changed and no device is opened, unless --deep says so.

Examples:
  heirloom probe                             KVM and the host
  heirloom probe --all                       and every virtio PF with its VFs
  heirloom probe --vf 0000:41:00.3 --memory 4G
  heirloom probe --pf 0000:41:00.0 --deep    and what the PF itself says
  heirloom probe --soft-pf builtin --json

Exit codes: 0 usable (nothing failed), 1 not usable, 2 bad usage";

impl ProbeArgs {
    /// What is asked for.
    pub(crate) fn request(&self) -> ProbeRequest {
        let target = match (self.vf, self.pf, &self.soft_pf) {
            (Some(vf), ..) => Target::Vf(vf),
            (_, Some(pf), _) => Target::Pf(pf),
            (.., Some(word)) if word == "builtin" => Target::SoftBuiltin,
            (.., Some(folder)) => Target::SoftSockets(folder.into()),
            _ if self.all => Target::All,
            _ => Target::Host,
        };
        ProbeRequest { deep: self.deep, memory: self.memory, token: self.token, ..ProbeRequest::new(target) }
    }

    /// Whether the answer is for a program.
    pub(crate) fn json(&self) -> bool {
        self.json
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
