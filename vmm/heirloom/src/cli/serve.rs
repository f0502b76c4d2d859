// SPDX-License-Identifier: Apache-2.0
//! `heirloom serve`.

use std::path::PathBuf;

use clap::Args;

use super::ObserveArgs;

const HELP: &str = "\
Example:
  heirloom serve --api-socket /run/heirloom/vm.sock &
  heirloom ctl --api-socket /run/heirloom/vm.sock create vm.toml
  heirloom ctl --api-socket /run/heirloom/vm.sock boot

Exit codes: 0 ended by vmm.shutdown, 1 internal error, 2 bad usage, 3 the socket cannot be made,
128+N ended by signal N";

/// `heirloom serve`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ServeArgs {
    /// The socket: made with mode 0600, removed at the end
    #[arg(long, value_name = "PATH", help_heading = "API")]
    pub api_socket: PathBuf,
    /// Messages and events.
    #[command(flatten)]
    pub observe: ObserveArgs,
}
