// SPDX-License-Identifier: Apache-2.0
//! Messages of this program: how many, in which form, and where they go. Set up once in a process.
//!
//! | module | what it is |
//! | --- | --- |
//! | `queue` | messages on their way out; nobody who logs waits |
//! | `rate` | how often one source says something |
//! | `note` | what the log says of itself |
#![forbid(unsafe_code)]

mod note;
mod queue;
mod rate;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use vmm::last_words::last_words;
use vmm::output::Output;

use self::note::Note;
use self::queue::Queue;
use self::rate::RateLimit;

/// How long the last messages may take to be written.
const LAST_LIMIT: Duration = Duration::from_secs(1);

/// The log of this process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Short names of parts of the program for `HEIRLOOM_LOG`, and the modules they stand for.
const PARTS: [(&str, &str); 18] = [
    ("transitional", "devices::transitional"),
    ("admin", "devices::admin"),
    ("soft_pf", "devices::soft_pf"),
    ("pci", "devices::pci"),
    ("chipset", "devices::chipset"),
    ("serial", "devices::chipset::serial"),
    ("function", "devices::function"),
    ("bus", "devices::bus"),
    ("lifecycle", "vmm::lifecycle"),
    ("machine", "vmm::machine"),
    ("vcpu", "vmm::vcpu"),
    ("kvm", "vmm::kvm"),
    ("config", "vmm::config"),
    ("console", "vmm::console"),
    ("boot", "arch::boot"),
    ("firmware", "vmm::machine::firmware"),
    ("acpi", "arch::acpi"),
    ("devices", "devices"),
];

/// Form of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// How messages are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogOptions<'a> {
    /// How often `-v` was given: warnings, information, debugging.
    pub verbosity: u8,
    /// Form.
    pub format: LogFormat,
    /// A file that they are appended to, in place of standard error.
    pub file: Option<&'a Path>,
    /// Bytes at which it moves aside; 0 is never.
    pub limit: u64,
}

/// Starts the log: warnings, more with -v, or what `HEIRLOOM_LOG` says, such as
/// `info,transitional=debug,admin=off`.
///
/// # Errors
/// When the file cannot be written, or no thread can be started.
pub(crate) fn start(options: &LogOptions<'_>) -> io::Result<()> {
    let is_terminal = options.file.is_none() && io::stderr().is_terminal();
    let output: Box<dyn Write + Send> = match options.file {
        Some(path) => Box::new(Output::append(path, options.limit)?),
        None => Box::new(io::stderr()),
    };
    let queue = Queue::start(output, Note(options.format))?;
    let writer = queue.clone();
    let (filter, unknown) = filter(options.verbosity, std::env::var("HEIRLOOM_LOG").ok().as_deref());
    let common = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        // It would report them with `eprintln!`, whose panic would end a vCPU for a full disk under a log.
        .log_internal_errors(false)
        .with_ansi(is_terminal);
    let limit = RateLimit::new(queue.clone());
    let started = match options.format {
        LogFormat::Text => common.with_target(false).finish().with(limit).try_init(),
        LogFormat::Json => common
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(limit)
            .try_init(),
    };
    // One that is there already stays: this is a library, and its user may have a log.
    if started.is_ok() {
        let _ = QUEUE.set(queue);
        for directive in unknown {
            tracing::warn!(
                "HEIRLOOM_LOG: '{directive}' is not understood; write level or part=level, such as admin=debug"
            );
        }
    }
    Ok(())
}

/// Waits a moment for the last messages.
pub(crate) fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LIMIT);
    }
}

/// A message on standard error, after all that was logged and if that takes any: nobody may read it, and then the
/// process ends all the same.
pub(crate) fn say(message: impl Display) {
    finish();
    last_words(message.to_string());
}

/// The filter that `text` describes, and what in it means nothing.
fn filter(verbosity: u8, text: Option<&str>) -> (EnvFilter, Vec<String>) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let mut filter = EnvFilter::default().add_directive(level.into());
    if let (None, Ok(progress)) = (text, "heirloom::progress=info".parse()) {
        // What takes long is told without -v: an operator who sees nothing takes it for stuck.
        filter = filter.add_directive(progress);
    }
    let mut unknown = Vec::new();
    for directive in text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match expanded(directive).parse() {
            Ok(directive) => filter = filter.add_directive(directive),
            Err(_) => unknown.push(directive.to_owned()),
        }
    }
    (filter, unknown)
}

/// `admin=debug` as `devices::admin=debug`; everything else as it is.
fn expanded(directive: &str) -> String {
    let (name, rest) = match directive.split_once('=') {
        Some((name, level)) => (name, format!("={level}")),
        None => (directive, String::new()),
    };
    let module = PARTS.iter().find(|(part, _)| *part == name).map_or(name, |(_, module)| *module);
    format!("{module}{rest}")
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
