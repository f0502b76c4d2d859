// SPDX-License-Identifier: Apache-2.0
//! The `heirloom` command: exit codes and messages.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use vmm::cli::{Cli, Command, ObserveArgs, RunArgs, TraceCommand};
use vmm::config::ConfigError;
use vmm::lifecycle::Ended;
use vmm::log;
use vmm::machine::SetupError;
use vmm::run::{self, Finished, RunError};
use vmm::terminal;
use vmm::trace::summary;
use vmm::vcpu::VcpuError;

// The codes are promised by `--help`; those of a guest's end are with `Ended`.
const INTERNAL: u8 = 1;
const USAGE: u8 = 2;
const SET_UP: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => run_machine(&args),
        Command::Trace(args) => trace(&args.command),
    }
}

fn trace(command: &TraceCommand) -> ExitCode {
    let TraceCommand::Summarize(args) = command;
    match summary::run(&args.file, args.svg.as_deref(), args.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(with_causes(&error));
            INTERNAL.into()
        }
    }
}

fn run_machine(args: &RunArgs) -> ExitCode {
    if let Err(code) = start_log(&args.observe) {
        return code.into();
    }
    terminal::restore_on_panic();
    match run::run(args) {
        Ok(finished) => finished_code(&finished).into(),
        Err(error) => {
            say(with_causes(&error));
            failed_code(&error).into()
        }
    }
}

/// What the guest did counts; that there is no report does where the guest has nothing to complain about.
fn finished_code(finished: &Finished) -> u8 {
    if let Ended::Crashed(report) = &finished.ended {
        say(format_args!("the guest crashed\n{report}"));
    }
    match (finished.ended.code(), &finished.report) {
        (code, Ok(())) => code,
        (code, Err(error)) => {
            say(with_causes(error));
            if code == 0 { failed_code(error) } else { code }
        }
    }
}

/// A message on standard error, if that takes any: `eprintln!` would panic, and with it change the exit code.
fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "heirloom: {message}");
}

fn failed_code(error: &RunError) -> u8 {
    match error {
        RunError::Config(ConfigError::Usage(_) | ConfigError::Value { .. } | ConfigError::DuplicateId { .. }) => USAGE,
        RunError::Setup(
            SetupError::Internal(_) | SetupError::MainLoop(_) | SetupError::Vcpu(VcpuError::Timeout { .. }),
        ) => INTERNAL,
        RunError::Operation(_) => INTERNAL,
        RunError::Config(_)
        | RunError::Setup(_)
        | RunError::Report { .. }
        | RunError::Trace { .. }
        | RunError::Monitor(_) => SET_UP,
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

fn start_log(observe: &ObserveArgs) -> Result<(), u8> {
    let options = observe.log();
    log::start(&options).map_err(|error| {
        let path = options.file.map_or_else(Default::default, |path| path.display().to_string());
        say(format_args!("cannot write the log to {path}: {error}"));
        SET_UP
    })
}
