// SPDX-License-Identifier: Apache-2.0
//! Options about seeing inside: messages, events and register accesses.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use api::{format_size, parse_size};
use clap::{Args, ValueEnum};

use crate::log::{LogFormat, LogOptions};
use vmm::lifecycle::MonitorTarget;
use vmm::output::DEFAULT_LIMIT;
use vmm::trace::{TraceFormat, TraceTarget};

/// The limit where none is given.
fn default_limit() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format_size(DEFAULT_LIMIT));
    &TEXT
}

/// Options that all commands with a virtual machine have.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ObserveArgs {
    /// Say more on standard error (-vv: even more); HEIRLOOM_LOG=part=level says it by part
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Reports")]
    verbose: u8,
    /// Form of messages
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Reports", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Append messages to this file, instead of standard error
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    log_file: Option<PathBuf>,
    /// Size at which a file of messages, events, trace or serial output moves aside to FILE.1, in place of the one
    /// before, and begins anew (0: never)
    #[arg(long, value_name = "SIZE", help_heading = "Reports", default_value = default_limit(), value_parser = parse_size)]
    output_limit: u64,
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
    pub(crate) fn log(&self) -> LogOptions<'_> {
        LogOptions {
            verbosity: self.verbose,
            format: self.log_format,
            file: self.log_file.as_deref(),
            limit: self.output_limit,
        }
    }

    /// Bytes at which a file that is written moves aside; 0 is never.
    pub(crate) fn output_limit(&self) -> u64 {
        self.output_limit
    }

    /// Where events go.
    pub(crate) fn event_monitor(&self) -> Option<&MonitorTarget> {
        self.event_monitor.as_ref()
    }

    /// Where legacy accesses are written.
    pub(crate) fn trace(&self) -> Option<TraceTarget> {
        self.trace_legacy.as_deref().map(|path| TraceTarget::new(path, self.trace_format.map(Into::into)))
    }

    /// Files that are written, with the options that name them.
    pub(crate) fn outputs(&self) -> Vec<(&'static str, &Path)> {
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
