// SPDX-License-Identifier: Apache-2.0
//! The file that a trace is written to, as JSON lines or for people.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::line::Line;
use super::text::{Kinds, text};

/// Form of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// Lines for people
    Text,
    /// JSON lines, for programs and 'heirloom trace summarize'
    Json,
}

/// Where a trace goes, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceTarget {
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// Form.
    pub format: TraceFormat,
}

impl TraceTarget {
    /// `-` is standard output; without a form, a name that ends in `.jsonl` or `.json` says JSON.
    pub fn new(path: &Path, format: Option<TraceFormat>) -> Self {
        let is_json = |end: &std::ffi::OsStr| end.eq_ignore_ascii_case("jsonl") || end.eq_ignore_ascii_case("json");
        let by_name = if path.extension().is_some_and(is_json) { TraceFormat::Json } else { TraceFormat::Text };
        let file = (path.as_os_str() != "-").then(|| path.to_owned());
        Self { file, format: format.unwrap_or(by_name) }
    }

    /// Its name for messages.
    pub fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }

    /// Creates the file; one that is there is overwritten.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&self) -> io::Result<TraceFile> {
        let output: Box<dyn Write + Send> = match &self.file {
            Some(path) => Box::new(File::create(path)?),
            None => Box::new(io::stdout()),
        };
        Ok(TraceFile::new(output, self.format))
    }
}

/// A trace that is written.
pub struct TraceFile {
    output: BufWriter<Box<dyn Write + Send>>,
    format: TraceFormat,
    kinds: Kinds,
}

impl TraceFile {
    /// Writes to `output`.
    pub fn new(output: Box<dyn Write + Send>, format: TraceFormat) -> Self {
        Self { output: BufWriter::with_capacity(1 << 16, output), format, kinds: Kinds::default() }
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        match self.format {
            TraceFormat::Json => {
                serde_json::to_writer(&mut self.output, line)?;
                self.output.write_all(b"\n")
            }
            TraceFormat::Text => {
                self.kinds.learn(line);
                writeln!(self.output, "{}", text(line, self.kinds.of(line)))
            }
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
