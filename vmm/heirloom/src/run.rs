// SPDX-License-Identifier: Apache-2.0
//! `heirloom run`: the engine for one guest, from its boot to its end, and the report. Also the engine without a
//! guest, for clients that create one by the API.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::server::StartError;
use api::{ConsoleMode, Fault, ScreenMode, VmConfig};
use thiserror::Error;
use vmm::config::ConfigError;
use vmm::lifecycle::{Control, Ended, Engine, EngineOptions, EventBus, EventMonitor, Failure, MonitorTarget};
use vmm::machine::SetupError;
use vmm::report::Report;

use crate::cli::{ObserveArgs, RunArgs, ServeArgs};
use crate::report::{self, ReportTarget};
use crate::rest;

/// A run that came to an end.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How.
    pub ended: Ended,
    /// Whether the report could be written. What the guest did is known without it.
    pub report: Result<(), RunError>,
}

/// Why a run did not come to such an end.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    /// The configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine cannot be put together, or its main loop failed.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The report has nowhere to go.
    #[error("cannot write the report to {path}")]
    Report {
        /// Path, or "standard output".
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The trace has nowhere to go.
    #[error("cannot write the trace of legacy accesses to {name}")]
    Trace {
        /// Path, or "standard output".
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Events have nowhere to go.
    #[error("cannot write events")]
    Monitor(#[source] io::Error),
    /// Requests have no way in.
    #[error(transparent)]
    Api(#[from] StartError),
    /// An operation failed for another reason.
    #[error(transparent)]
    Operation(#[from] Fault),
}

/// Runs a guest to its end and writes the report.
///
/// # Errors
/// When there is no machine, or no report. Nothing has been created on the first kind.
pub(crate) fn run(args: &RunArgs, config: VmConfig) -> Result<Finished, RunError> {
    let targets = args.reports();
    let mut outputs = outputs(&args.observe);
    outputs.extend(targets.iter().filter_map(|target| Some(("--report", target.file.clone()?))));
    let options = EngineOptions {
        ends: vmm::lifecycle::Ends { with_guest: true, at_reset: args.no_reboot() },
        outputs,
        name: args.api_socket().map(Path::to_owned),
        output_limit: args.observe.output_limit(),
        takes_signals: true,
    };
    let events = EventBus::new();
    let mut engine = Engine::new(options, Arc::clone(&events))?;
    let has_terminal = config.serial.mode == ConsoleMode::Tty || config.screen.mode == ScreenMode::Tty;
    if let Err(error) = engine.prepare(config) {
        return match engine.asked_to_end() {
            Some(ended) => Ok(given_up(ended, &error)),
            None => Err(error.into()),
        };
    }
    for target in &targets {
        target.check().map_err(|(path, source)| RunError::Report { path: path.display().to_string(), source })?;
    }
    let monitor = monitor(&args.observe, &events)?;
    start_trace(&args.observe, has_terminal, &engine.control())?;
    let server = args.api_socket().map(|path| rest::start(path, engine.control())).transpose()?;
    let ended = run_to_its_end(&mut engine);
    engine.control().traces().close();
    drop(server);
    if let Some(monitor) = monitor {
        monitor.finish();
    }
    // What is known is reported also when the main loop failed. Without a guest there is nothing to say.
    let report = engine.report();
    let targets = if report.boot_count > 0 { targets } else { Vec::new() };
    let written = targets.iter().map(|target| write(report, target)).fold(Ok(()), Result::and);
    Ok(Finished { ended: ended?, report: written })
}

/// The operator did not want to wait any longer.
fn given_up(ended: Ended, error: &ConfigError) -> Finished {
    tracing::warn!("{error}");
    Finished { ended, report: Ok(()) }
}

fn run_to_its_end(engine: &mut Engine) -> Result<Ended, RunError> {
    engine.created();
    engine.boot().map_err(|failure| match failure {
        Failure::Config(error) => RunError::Config(error),
        Failure::Setup(error) => RunError::Setup(error),
        Failure::Other(error) => RunError::Operation(error),
    })?;
    Ok(engine.run()?)
}

/// Runs an engine without a guest until a request or a signal ends it.
///
/// A signal is a power cut for the guest, as with [`run`]: who wants it to shut itself down first presses the
/// power button.
///
/// # Errors
/// When the engine or its socket cannot be had, or its main loop fails.
pub(crate) fn serve(args: &ServeArgs) -> Result<Ended, RunError> {
    let observe = &args.observe;
    let options = EngineOptions {
        outputs: outputs(observe),
        name: Some(args.api_socket.clone()),
        output_limit: observe.output_limit(),
        takes_signals: true,
        ..EngineOptions::default()
    };
    let events = EventBus::new();
    let mut engine = Engine::new(options, Arc::clone(&events))?;
    let monitor = monitor(observe, &events)?;
    // Machines that come with requests may have the terminal.
    start_trace(observe, true, &engine.control())?;
    let server = rest::start(&args.api_socket, engine.control())?;
    let ended = engine.run();
    engine.control().traces().close();
    drop(server);
    if let Some(monitor) = monitor {
        monitor.finish();
    }
    Ok(ended?)
}

fn outputs(observe: &ObserveArgs) -> Vec<(&'static str, PathBuf)> {
    observe.outputs().into_iter().map(|(option, path)| (option, path.to_owned())).collect()
}

fn start_trace(observe: &ObserveArgs, has_terminal: bool, control: &Control) -> Result<(), RunError> {
    let Some(target) = observe.trace() else { return Ok(()) };
    if target.file.is_none() && has_terminal {
        let text = "--trace-legacy - would write between what the guest's serial port writes: name a file, or send \
                    the serial port elsewhere with --serial FILE";
        return Err(ConfigError::Usage(text.to_owned()).into());
    }
    let started = target.open(observe.output_limit()).and_then(|file| control.traces().write_to(file));
    started.map_err(|source| RunError::Trace { name: target.name(), source })
}

fn monitor(observe: &ObserveArgs, events: &Arc<EventBus>) -> Result<Option<EventMonitor>, RunError> {
    let start = |target: &MonitorTarget| EventMonitor::start(events, target.open(observe.output_limit())?);
    observe.event_monitor().map(start).transpose().map_err(RunError::Monitor)
}

fn write(report: &Report, target: &ReportTarget) -> Result<(), RunError> {
    report::write(report, target).map_err(|source| RunError::Report {
        path: target.file.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string()),
        source,
    })
}
