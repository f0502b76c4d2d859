// SPDX-License-Identifier: Apache-2.0
//! The `heirloom` command: exit codes and messages.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use vmm::cli::{Cli, Command};
use vmm::config::ConfigError;
use vmm::run::{self, Ended, RunError};
use vmm::terminal;

// The codes are promised by `--help`.
const INTERNAL: u8 = 1;
const USAGE: u8 = 2;
const SET_UP: u8 = 3;
const CRASHED: u8 = 4;
const LEFT: u8 = 5;
const RESET: u8 = 6;
const SIGNAL: u8 = 128;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Run(args) = cli.command;
    start_log(args.verbosity());
    terminal::restore_on_panic();
    match run::run(&args) {
        Ok(ended) => ended_code(&ended),
        Err(error) => {
            eprintln!("heirloom: {}", with_causes(&error));
            failed_code(&error).into()
        }
    }
}

fn ended_code(ended: &Ended) -> ExitCode {
    match ended {
        Ended::PoweredOff => ExitCode::SUCCESS,
        Ended::Reset => RESET.into(),
        Ended::Left => LEFT.into(),
        Ended::Signal(signal) => SIGNAL.wrapping_add(*signal as u8).into(),
        Ended::Crashed(report) => {
            eprintln!("heirloom: the guest crashed\n{report}");
            CRASHED.into()
        }
    }
}

fn failed_code(error: &RunError) -> u8 {
    match error {
        RunError::Config(ConfigError::Usage(_)) => USAGE,
        RunError::Setup(vmm::machine::SetupError::Internal(_) | vmm::machine::SetupError::MainLoop(_)) => INTERNAL,
        RunError::Config(_) | RunError::Setup(_) | RunError::Report { .. } => SET_UP,
    }
}

/// The error and its causes on one line, each cause once.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Messages go to standard error: warnings, more with -v, or what HEIRLOOM_LOG says.
fn start_log(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let filter =
        EnvFilter::builder().with_default_directive(level.into()).with_env_var("HEIRLOOM_LOG").from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
