// SPDX-License-Identifier: Apache-2.0
//! Messages of this program: how many, in which form, and where they go. Set up once in a process.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

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
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// How messages are written.
#[derive(Clone, Debug, Default)]
pub struct LogOptions<'a> {
    /// How often `-v` was given: warnings, information, debugging.
    pub verbosity: u8,
    /// Form.
    pub format: LogFormat,
    /// A file that they are appended to, in place of standard error.
    pub file: Option<&'a Path>,
}

/// Starts the log: warnings, more with -v, or what `HEIRLOOM_LOG` says, such as
/// `info,transitional=debug,admin=off`.
///
/// # Errors
/// When the file cannot be written.
pub fn start(options: &LogOptions<'_>) -> io::Result<()> {
    let file = options.file.map(|path| File::options().append(true).create(true).open(path)).transpose()?;
    let is_terminal = file.is_none() && io::stderr().is_terminal();
    let writer = match file {
        Some(file) => BoxMakeWriter::new(Arc::new(file)),
        None => BoxMakeWriter::new(io::stderr),
    };
    let (filter, unknown) = filter(options.verbosity, std::env::var("HEIRLOOM_LOG").ok().as_deref());
    let common = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would report them with `eprintln!`, whose panic would end a vCPU for a full disk under a log.
        .log_internal_errors(false)
        .with_ansi(is_terminal);
    let started = match options.format {
        LogFormat::Text => common.with_target(false).try_init(),
        LogFormat::Json => common.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    // One that is there already stays: this is a library, and its user may have a log.
    if started.is_ok() {
        for directive in unknown {
            tracing::warn!(
                "HEIRLOOM_LOG: '{directive}' is not understood; write level or part=level, such as admin=debug"
            );
        }
    }
    Ok(())
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
