// SPDX-License-Identifier: Apache-2.0
//! The `heirloom` command: its words, its tools, and the faces of a running machine, which is made by the library
//! [`vmm`]. This file has exit codes and messages.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cli`] | words into a configuration |
//! | [`run`] | `heirloom run` and `serve`: the engine for one guest, or without one |
//! | [`confine`] | the sandbox of each command |
//! | [`log`] | levels, targets, text or JSON |
//! | [`rest`], [`ctl`] | the engine as the API's service; the client |
//! | [`report`] | the report at exit |
//! | [`pf`] | `heirloom pf`: a PF and its VFs to VFIO and back |
//! | [`probe`] | `heirloom probe`: what is missing for a VF in a guest |
//! | [`soft_pf`] | `heirloom soft-pf`: a software PF and its VFs as a server |
//! | [`summary`] | `heirloom trace summarize`: what a driver did |
#![forbid(unsafe_code)]

mod cli;
mod confine;
mod ctl;
mod log;
mod pf;
mod probe;
mod report;
mod rest;
mod run;
mod soft_pf;
mod summary;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use api::VmConfig;
use api::client::ClientError;
use clap::Parser;
use serde::Serialize;
use vmm::config::ConfigError;
use vmm::lifecycle::Ended;
use vmm::machine::SetupError;
use vmm::panics;
use vmm::sandbox::SandboxError;
use vmm::vcpu::VcpuError;

use crate::cli::{Cli, Command, CtlArgs, PfCommand, ProbeArgs, RunArgs, ServeArgs, SoftPfArgs, TraceCommand};
use crate::ctl::CtlError;
use crate::log::LogOptions;
use crate::pf::Host;
use crate::run::{Finished, RunError};
use crate::soft_pf::ServeError;

// The codes are promised by `--help`; those of a guest's end are with `Ended`.
const INTERNAL: u8 = 1;
/// Of a probe.
const NOT_USABLE: u8 = 1;
const USAGE: u8 = 2;
const SET_UP: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = carry_out(cli.command);
    log::finish();
    code
}

fn carry_out(command: Command) -> ExitCode {
    match command {
        Command::Run(args) => run_machine(&args),
        Command::SoftPf(args) => serve_soft_pf(&args),
        Command::Pf(args) => manage_pf(&args.command),
        Command::Probe(args) => probe_host(&args),
        Command::Serve(args) => serve(&args),
        Command::Ctl(args) => control(&args),
        Command::Completions(args) => written(args.write(&mut io::stdout()), "standard output"),
        Command::Man(args) => written(args.write(), &args.folder().display().to_string()),
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
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return failed(&error.into()),
    };
    if args.dry_run() {
        return written(show(&config), "standard output");
    }
    if let Err(code) = confined(confine::run(args, &config), &args.observe.log()) {
        return code.into();
    }
    match run::run(args, config) {
        Ok(finished) => finished_code(&finished).into(),
        Err(error) => failed(&error),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    if let Err(code) = confined(confine::serve(args), &args.observe.log()) {
        return code.into();
    }
    match run::serve(args) {
        Ok(ended) => ended.code().into(),
        Err(error) => failed(&error),
    }
}

fn control(args: &CtlArgs) -> ExitCode {
    let Err(error) = ctl::run(args, &mut io::stdout()) else { return ExitCode::SUCCESS };
    match &error {
        CtlError::Client(ClientError::Fault(fault)) if args.json => {
            log::say(serde_json::to_string(fault).unwrap_or_default());
        }
        CtlError::Client(ClientError::Fault(fault)) => {
            let causes = fault.causes.iter().map(String::as_str);
            say(std::iter::once(fault.message.as_str()).chain(causes).collect::<Vec<_>>().join(": "));
        }
        _ => say(with_causes(&error)),
    }
    error.code().into()
}

fn show(config: &VmConfig) -> io::Result<()> {
    let text = serde_json::to_string_pretty(config).map_err(io::Error::other)?;
    writeln!(io::stdout(), "{text}")
}

fn written(result: io::Result<()>, what: &str) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("cannot write to {what}: {error}"));
            SET_UP.into()
        }
    }
}

fn serve_soft_pf(args: &SoftPfArgs) -> ExitCode {
    if let Err(code) = confined(confine::soft_pf(args), &args.log()) {
        return code.into();
    }
    match soft_pf::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_served(&error).into(),
    }
}

fn not_served(error: &ServeError) -> u8 {
    say(with_causes(error));
    match error {
        ServeError::Usage(_) => USAGE,
        ServeError::Internal | ServeError::Panicked(_) => INTERNAL,
        _ => SET_UP,
    }
}

fn manage_pf(command: &PfCommand) -> ExitCode {
    let host = Host::default();
    let (done, json) = match command {
        PfCommand::Prepare(args) => (pf::prepare(&host, &args.request()), args.json()),
        PfCommand::Release(args) => (pf::release(&host, &args.request()), args.json()),
    };
    match done {
        Ok(outcome) => print(&outcome, json).map_or_else(ExitCode::from, |()| ExitCode::SUCCESS),
        Err(error) => {
            say(with_causes(&error));
            SET_UP.into()
        }
    }
}

fn probe_host(args: &ProbeArgs) -> ExitCode {
    let report = probe::run(&args.request());
    match print(&report, args.json()) {
        Ok(()) if report.usable => ExitCode::SUCCESS,
        Ok(()) => NOT_USABLE.into(),
        Err(code) => code.into(),
    }
}

/// An answer on standard output, for people or for programs.
fn print(answer: &(impl Display + Serialize), json: bool) -> Result<(), u8> {
    let text = match json {
        true => serde_json::to_string_pretty(answer).map(|text| text + "\n").map_err(io::Error::from),
        false => Ok(answer.to_string()),
    };
    text.and_then(|text| io::stdout().write_all(text.as_bytes())).map_err(|error| {
        say(format_args!("cannot write to standard output: {error}"));
        SET_UP
    })
}

fn failed(error: &RunError) -> ExitCode {
    say(with_causes(error));
    failed_code(error).into()
}

/// What the guest did counts; that there is no report does where the guest has nothing to complain about.
fn finished_code(finished: &Finished) -> u8 {
    if let Ended::Crashed(report) = &finished.ended {
        say(format_args!("the guest crashed\n{report}"));
    }
    if let Ended::Panicked(_) = &finished.ended {
        say(&finished.ended);
    }
    match (finished.ended.code(), &finished.report) {
        (code, Ok(())) => code,
        (code, Err(error)) => {
            say(with_causes(error));
            if code == 0 { failed_code(error) } else { code }
        }
    }
}

/// A message of this program on standard error.
fn say(message: impl Display) {
    log::say(format_args!("heirloom: {message}"));
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
        | RunError::Monitor(_)
        | RunError::Api(_) => SET_UP,
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

/// Behind the sandbox the log starts, which has a thread, and panics are taken care of.
fn confined(done: Result<(), SandboxError>, log: &LogOptions<'_>) -> Result<(), u8> {
    done.map_err(|error| {
        say(with_causes(&error));
        SET_UP
    })?;
    start_log(log)?;
    panics::watch();
    confine::tell();
    Ok(())
}

fn start_log(options: &LogOptions<'_>) -> Result<(), u8> {
    log::start(options).map_err(|error| {
        let path = options.file.map_or_else(Default::default, |path| path.display().to_string());
        say(format_args!("cannot write the log to {path}: {error}"));
        SET_UP
    })
}
