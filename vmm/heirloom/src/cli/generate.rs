// SPDX-License-Identifier: Apache-2.0
//! `heirloom completions` and `heirloom man`: made of the definitions of the command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// `heirloom completions`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heirloom completions bash > /etc/bash_completion.d/heirloom")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Writes the script.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "heirloom", &mut script);
        out.write_all(&script)
    }
}

/// `heirloom man`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  heirloom man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder that exists
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl ManArgs {
    /// Writes a page for each command: heirloom.1, heirloom-run.1, ...
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn write(&self) -> io::Result<()> {
        clap_mangen::generate_to(Cli::command(), &self.folder)
    }

    /// Where to.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
