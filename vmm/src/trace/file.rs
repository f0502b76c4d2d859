// SPDX-License-Identifier: Apache-2.0
//! The file that a trace is written to, as JSON lines or for people.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::line::Line;
use super::text::{Kinds, text};
use crate::output::Output;

/// Bytes that are gathered for one write.
const GATHERED: usize = 1 << 16;
/// How long a line waits for a reader that is too slow, and in which steps.
const PATIENCE: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(5);
/// How often the last lines are tried again, for [`PATIENCE`] each.
const LAST_TRIES: u32 = 10;
/// Longer than a line that tells of a gap.
const GAP: usize = 256;

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

    /// Creates the file, which moves aside at `limit` bytes (0: never); one that is there is overwritten.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&self, limit: u64) -> io::Result<TraceFile> {
        let output = match &self.file {
            Some(path) => Output::create(path, limit)?,
            None => Output::other("standard output", Box::new(io::stdout())),
        };
        Ok(TraceFile::new(output, self.format))
    }
}

/// A trace that is written. What cannot be written is lost, and a line says how much once it can.
pub struct TraceFile {
    output: Output,
    format: TraceFormat,
    kinds: Kinds,
    /// Whole lines, but for a first one that was written in part.
    gathered: Vec<u8>,
    /// The lines that a file begins with: its start, and the devices, each with its id.
    head: Vec<(Option<String>, Vec<u8>)>,
    lost: u64,
    failing: bool,
    /// Standard output has no reader any more.
    is_over: bool,
}

impl TraceFile {
    /// Writes to `output`.
    pub fn new(output: Output, format: TraceFormat) -> Self {
        let (gathered, head) = (Vec::with_capacity(GATHERED), Vec::new());
        Self { output, format, kinds: Kinds::default(), gathered, head, lost: 0, failing: false, is_over: false }
    }

    /// Takes a line. `false`: nobody will ever read it.
    pub(super) fn write(&mut self, line: &Line) -> bool {
        let Ok(bytes) = self.encoded(line) else { return true };
        self.remember(line, &bytes);
        if self.lost != 0 && self.has_room(bytes.len() + GAP) {
            let gap = Line::Lost { t: line.time(), count: std::mem::take(&mut self.lost) };
            let gap = self.encoded(&gap).unwrap_or_default();
            self.gathered.extend(gap);
        }
        if self.lost == 0 && self.has_room(bytes.len()) {
            self.gathered.extend_from_slice(&bytes);
            return true;
        }
        self.lost = self.lost.saturating_add(1);
        !self.is_over
    }

    /// Writes what was gathered. `false`: nobody will ever read it.
    pub(super) fn flush(&mut self) -> bool {
        let _ = self.has_room(GATHERED);
        !self.is_over
    }

    /// Writes what was gathered, and is more patient about it.
    pub(super) fn finish(&mut self) {
        for _ in 0..LAST_TRIES {
            if !self.flush() || self.gathered.is_empty() {
                return;
            }
            self.failing = false;
        }
    }

    fn encoded(&mut self, line: &Line) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.format {
            TraceFormat::Json => serde_json::to_writer(&mut bytes, line)?,
            TraceFormat::Text => {
                self.kinds.learn(line);
                bytes.extend(text(line, self.kinds.of(line)).into_bytes());
            }
        }
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// A trace that begins again must read like one from the start.
    fn remember(&mut self, line: &Line, bytes: &[u8]) {
        let id = match line {
            Line::Start { .. } => None,
            Line::Device { device, .. } => Some(device.clone()),
            _ => return,
        };
        self.head.retain(|(other, _)| *other != id);
        self.head.push((id, bytes.to_vec()));
    }

    /// Makes room for `wanted` bytes, and says whether there is. A writer that fails is not waited for twice.
    fn has_room(&mut self, wanted: usize) -> bool {
        if self.gathered.len() + wanted <= GATHERED {
            return true;
        }
        let mut waited = if self.failing { PATIENCE } else { Duration::ZERO };
        let mut result = self.write_out();
        while waited < PATIENCE && result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            thread::sleep(STEP);
            waited += STEP;
            result = self.write_out();
        }
        match &result {
            Ok(()) => self.failing = false,
            // One with a name may get another reader.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !self.output.has_name() => self.is_over = true,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!("the trace of legacy accesses cannot be written, and is not complete: {error}");
            }
            Err(_) => {}
        }
        self.gathered.len() + wanted <= GATHERED || self.gathered.is_empty()
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.output.make_room(self.gathered.len())? {
            let head: Vec<u8> = self.head.iter().flat_map(|(_, line)| line.iter().copied()).collect();
            self.gathered.splice(..0, head);
        }
        while !self.gathered.is_empty() {
            match self.output.write(&self.gathered) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.gathered.drain(..count.min(self.gathered.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.flush()
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
