// SPDX-License-Identifier: Apache-2.0
//! Where a report goes, and in which form.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rustix::fs::Access;
use serde::Serialize;
use vmm::output::replace;

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Where and how to report at exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportTarget {
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// Form.
    pub format: ReportFormat,
}

impl ReportTarget {
    /// What `--report PATH` means: the form is `form` or, without one, what the name asks for.
    pub(crate) fn new(path: &Path, form: Option<ReportFormat>) -> Self {
        let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let by_name = if json { ReportFormat::Json } else { ReportFormat::Text };
        Self { file: (path.as_os_str() != "-").then(|| path.to_owned()), format: form.unwrap_or(by_name) }
    }

    /// Writes `report` there; `text` is its form for people.
    ///
    /// # Errors
    /// When that place cannot be written.
    pub(crate) fn write<R: Serialize>(&self, report: &R, text: impl FnOnce(&R) -> String) -> io::Result<()> {
        let text = match self.format {
            ReportFormat::Json => serde_json::to_string_pretty(report)? + "\n",
            ReportFormat::Text => text(report),
        };
        match &self.file {
            Some(path) => replace(path, text.as_bytes()),
            None => io::stdout().lock().write_all(text.as_bytes()),
        }
    }

    /// Looks early whether a report could be written, without creating it: a guest that ran for a day
    /// must not end with a report that has nowhere to go.
    ///
    /// # Errors
    /// The path, and why not.
    pub(crate) fn check(&self) -> Result<(), (PathBuf, io::Error)> {
        let Some(path) = &self.file else { return Ok(()) };
        let failed = |error| (path.clone(), error);
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if path.exists() {
            // Not opened: a FIFO would wait, and nothing is to be changed.
            return rustix::fs::access(path, Access::WRITE_OK).map_err(|error| failed(error.into()));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        match folder.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                rustix::fs::access(folder, Access::WRITE_OK).map_err(|error| failed(error.into()))
            }
            Ok(_) => Err(failed(io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(failed(error)),
        }
    }
}
