// SPDX-License-Identifier: Apache-2.0
//! `heirloom pf`: its words. It opens nothing and changes nothing.

use clap::{Args, Subcommand, ValueEnum};
use devices::function::vfio::Bdf;
use vmm::config::{TokenError, read_token};

use crate::pf::{Owner, PrepareRequest, ReleaseRequest};

/// `heirloom pf`
#[derive(Debug, Args)]
pub(crate) struct PfArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PfCommand,
}

/// What to do with a PF.
#[derive(Debug, Subcommand)]
pub(crate) enum PfCommand {
    /// Enable VFs of a PF and give them to VFIO
    Prepare(PrepareArgs),
    /// Disable the VFs of a PF and give it back to the driver that it had
    Release(ReleaseArgs),
}

/// `heirloom pf prepare`
#[derive(Debug, Args)]
#[command(after_long_help = PREPARE_HELP)]
pub(crate) struct PrepareArgs {
    /// The PF, such as 0000:41:00.0
    #[arg(value_name = "ADDRESS")]
    pf: Bdf,
    /// Number of VFs to enable
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    vfs: u16,
    /// A VF token to print with each VF, such as uuidgen makes; or a file or variable that has it, whose name is printed
    #[arg(long, value_name = "UUID|@FILE|env:NAME", value_parser = token)]
    token: Option<String>,
    /// Who runs the administration commands of the guests' VFs
    #[arg(long, value_enum, value_name = "WHO", default_value_t = Driver::Heirloom)]
    driver: Driver,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Say it in JSON
    #[arg(long)]
    json: bool,
}

const PREPARE_HELP: &str = "\
Nothing is touched that is in use, and when a step fails those before it are undone.
What the PF was before is kept in /run/heirloom/pf for 'heirloom pf release'.

Examples:
  heirloom pf prepare 0000:41:00.0 --vfs 4 --dry-run
  heirloom pf prepare 0000:41:00.0 --vfs 4
  heirloom pf prepare 0000:41:00.0 --vfs 4 --driver kernel
  heirloom probe --pf 0000:41:00.0

Exit codes: 0 done, or nothing to do; 2 bad usage; 3 refused or failed, nothing is changed";

/// `heirloom pf release`
#[derive(Debug, Args)]
#[command(after_long_help = RELEASE_HELP)]
pub(crate) struct ReleaseArgs {
    /// The PF, such as 0000:41:00.0
    #[arg(value_name = "ADDRESS")]
    pf: Bdf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Say it in JSON
    #[arg(long)]
    json: bool,
}

const RELEASE_HELP: &str = "\
Example:
  heirloom pf release 0000:41:00.0

Exit codes: 0 done, or nothing to do; 2 bad usage; 3 refused or failed, nothing is changed";

/// Value of `--driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Driver {
    /// heirloom run: PF and VFs go to vfio-pci
    Heirloom,
    /// The kernel (admin=kernel): the PF stays with virtio-pci, VFs go to virtio_vfio_pci
    Kernel,
}

/// The words of a token, as it will be given to 'heirloom run'.
fn token(text: &str) -> Result<String, TokenError> {
    read_token(text).map(|_| text.to_owned())
}

impl PrepareArgs {
    /// What is asked for.
    pub(crate) fn request(&self) -> PrepareRequest {
        let owner = match self.driver {
            Driver::Heirloom => Owner::Heirloom,
            Driver::Kernel => Owner::Kernel,
        };
        PrepareRequest { pf: self.pf, vfs: self.vfs, token: self.token.clone(), owner, dry_run: self.dry_run }
    }

    /// Whether the answer is for a program.
    pub(crate) fn json(&self) -> bool {
        self.json
    }
}

impl ReleaseArgs {
    /// What is asked for.
    pub(crate) fn request(&self) -> ReleaseRequest {
        ReleaseRequest { pf: self.pf, dry_run: self.dry_run }
    }

    /// Whether the answer is for a program.
    pub(crate) fn json(&self) -> bool {
        self.json
    }
}

#[cfg(test)]
#[path = "pf_tests.rs"]
mod tests;
