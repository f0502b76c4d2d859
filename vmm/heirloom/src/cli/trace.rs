// SPDX-License-Identifier: Apache-2.0
//! `heirloom trace`: words into the names of files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXAMPLE: &str = "\
Example:
  heirloom run --kernel vmlinuz --legacy-virtio soft=net,loopback --trace-legacy trace.jsonl
  heirloom trace summarize trace.jsonl --svg timeline.svg

Exit codes: 0 summarized, 1 the file cannot be read or is not a trace, 2 bad usage";

/// `heirloom trace`
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: TraceCommand,
}

/// What to do with a trace.
#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Tell what each driver did: its probe, features, queues, interrupts, traffic and failures
    Summarize(SummarizeArgs),
}

/// `heirloom trace summarize`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct SummarizeArgs {
    /// A trace that '--trace-legacy FILE.jsonl' wrote ('-': standard input)
    pub file: PathBuf,
    /// Draw a timeline of each device
    #[arg(long, value_name = "OUT")]
    pub svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
