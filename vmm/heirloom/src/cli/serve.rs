// SPDX-License-Identifier: Apache-2.0
//! `heirloom serve`.

use std::path::PathBuf;

use clap::Args;

use super::{Allowed, ObserveArgs, SandboxArgs};

const HELP: &str = "\
Example:
  heirloom serve --api-socket /run/heirloom/vm.sock &
  heirloom ctl --api-socket /run/heirloom/vm.sock create vm.toml
  heirloom ctl --api-socket /run/heirloom/vm.sock boot
  heirloom serve --api-socket /run/heirloom/vm.sock --allow /boot --allow /srv/images:rw

Exit codes: 0 ended by vmm.shutdown, 1 internal error, 2 bad usage, 3 the socket cannot be made,
128+N ended by signal N";

/// `heirloom serve`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ServeArgs {
    /// The socket: made with mode 0600, removed at the end
    #[arg(long, value_name = "PATH", help_heading = "API")]
    pub api_socket: PathBuf,
    /// Let machines be made of this file or folder (with :rw to write it), and of none that is not named; may be
    /// repeated [default: of all files that this user may open]
    #[arg(long, value_name = "PATH[:rw]", help_heading = "Sandbox")]
    pub(crate) allow: Vec<Allowed>,
    /// What this process may still do.
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    /// Messages and events.
    #[command(flatten)]
    pub observe: ObserveArgs,
}
