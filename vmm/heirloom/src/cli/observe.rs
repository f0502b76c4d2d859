// SPDX-License-Identifier: Apache-2.0
//! Options about seeing inside: messages, events and register accesses.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::log::{LogFormat, LogOptions};
use vmm::lifecycle::MonitorTarget;
use vmm::trace::{TraceFormat, TraceTarget};

/// Options that all commands with a virtual machine have.
#[derive(Clone, Debug, Default, Args)]
pub struct ObserveArgs {
    /// Say more on standard error (-vv: even more); HEIRLOOM_LOG=part=level says it by part
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Reports")]
    verbose: u8,
    /// Form of messages
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Reports", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Append messages to this file, instead of standard error
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    log_file: Option<PathBuf>,
    /// Write events as JSON lines to a file, a FIFO or an open descriptor
    #[arg(long, value_name = "path=FILE|fd=N", help_heading = "Reports")]
    event_monitor: Option<MonitorTarget>,
    /// Write each legacy register access, decoded, to a file ('-': standard output, not with --serial stdio).
    /// 'heirloom trace summarize FILE' says what the driver did, if it is JSON
    #[arg(long, value_name = "FILE|-", help_heading = "Reports")]
    trace_legacy: Option<PathBuf>,
    /// Form of the trace; without it, a FILE ending in .jsonl gets JSON lines and everything else text
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Reports", requires = "trace_legacy")]
    trace_format: Option<TraceForm>,
}

/// Value of `--trace-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TraceForm {
    /// Lines for people
    Text,
    /// JSON lines, for programs and 'heirloom trace summarize'
    Json,
}

impl From<TraceForm> for TraceFormat {
    fn from(form: TraceForm) -> Self {
        match form {
            TraceForm::Text => Self::Text,
            TraceForm::Json => Self::Json,
        }
    }
}

impl ObserveArgs {
    /// How messages are written.
    pub fn log(&self) -> LogOptions<'_> {
        LogOptions { verbosity: self.verbose, format: self.log_format, file: self.log_file.as_deref() }
    }

    /// Where events go.
    pub fn event_monitor(&self) -> Option<&MonitorTarget> {
        self.event_monitor.as_ref()
    }

    /// Where legacy accesses are written.
    pub fn trace(&self) -> Option<TraceTarget> {
        self.trace_legacy.as_deref().map(|path| TraceTarget::new(path, self.trace_format.map(Into::into)))
    }

    /// Files that are written, with the options that name them.
    pub fn outputs(&self) -> Vec<(&'static str, &Path)> {
        let log = self.log_file.as_deref().map(|path| ("--log-file", path));
        let events = match &self.event_monitor {
            Some(MonitorTarget::Path(path)) => Some(("--event-monitor", path.as_path())),
            _ => None,
        };
        let trace = self.trace_legacy.as_deref().filter(|path| path.as_os_str() != "-");
        let trace = trace.map(|path| ("--trace-legacy", path));
        log.into_iter().chain(events).chain(trace).collect()
    }
}
