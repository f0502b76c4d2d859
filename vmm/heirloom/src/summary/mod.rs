// SPDX-License-Identifier: Apache-2.0
//! `heirloom trace summarize`: reads a trace line by line and tells what each driver did. Memory does not grow with
//! the trace: what is kept one by one has limits, and the rest is counted as left out.
//!
//! | module | what it is |
//! | --- | --- |
//! | `device` | one device over the whole trace |
//! | `life` | one probe of a driver, and what follows until the reset |
//! | `driver` | which driver's probe it looks like |
//! | `latency` | percentiles |
//! | `timeline`, `svg`, `axis` | the picture |
//! | `print` | the text |

mod axis;
mod device;
mod driver;
mod latency;
mod life;
mod print;
mod svg;
mod timeline;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use vmm::trace::TEXT_HEAD;
use vmm::trace::line::{FORMAT, Line};

use self::device::Device;

/// Longest line; those of this program have less than 1 KiB, but for reasons of failures.
const LONGEST_LINE: u64 = 64 << 10;
/// More devices than a PCI bus has slots for are none.
const MOST_DEVICES: usize = 64;

/// Why there is no summary.
#[derive(Debug, Error)]
pub(crate) enum SummaryError {
    /// A file cannot be opened, read or written.
    #[error("cannot {what} {path}")]
    File {
        /// Read or write.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a line of a trace.
    #[error("line {line} is not a line of a trace: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The form for people.
    #[error(
        "this is a trace in the form for people, which cannot be read back; record it with --trace-format json, or \
         into a file whose name ends in .jsonl"
    )]
    ForPeople,
    /// There is nothing in it.
    #[error("the file is empty: no trace was recorded")]
    Empty,
    /// The result cannot be written.
    #[error("cannot write the summary")]
    Output(#[from] io::Error),
}

/// A whole trace.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// When the trace's clock was 0.
    pub started: String,
    /// Lines read.
    pub lines: u64,
    /// Time of the earliest line that has one, in nanoseconds.
    pub first_ns: u64,
    /// Time of the latest.
    pub last_ns: u64,
    /// Records that were lost while it was recorded. If there are any, counts are too small and steps may be
    /// missing.
    pub lost: u64,
    /// Whether the last line has no end: the recorder was killed.
    pub cut_off: bool,
    /// One entry for each device, in order of appearance.
    pub devices: Vec<Device>,
}

/// Summarizes the trace in `path` (`-`: standard input) on standard output, and draws it into `svg`.
///
/// # Errors
/// When a file cannot be used, or the trace is none.
pub(crate) fn run(path: &Path, svg: Option<&Path>, json: bool) -> Result<(), SummaryError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| SummaryError::File { what, path, source }
    };
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed("read", path))?)
    };
    let summary = read(BufReader::with_capacity(1 << 16, input))?;
    if let Some(path) = svg {
        vmm::output::replace(path, svg::draw(&summary).as_bytes()).map_err(failed("write", path))?;
    }
    let mut output = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut output, &summary).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        output.write_all(print::text(&summary).as_bytes())?;
    }
    Ok(output.flush()?)
}

/// Reads a trace.
///
/// # Errors
/// When it cannot be read, or is none.
pub(crate) fn read(mut input: impl BufRead) -> Result<Summary, SummaryError> {
    let mut summary = Summary {
        started: String::new(),
        lines: 0,
        first_ns: u64::MAX,
        last_ns: 0,
        lost: 0,
        cut_off: false,
        devices: Vec::new(),
    };
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let count = (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        if count == 0 {
            break;
        }
        let ended = bytes.last() == Some(&b'\n');
        summary.lines += 1;
        match summary.parse(bytes.trim_ascii(), ended) {
            Ok(line) => summary.add(&line)?,
            // The recorder was killed in the middle of a line. That is no reason to say nothing.
            Err(_) if !ended && summary.lines > 1 && (count as u64) < LONGEST_LINE => {
                summary.cut_off = true;
                summary.lines -= 1;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if summary.lines == 0 {
        return Err(SummaryError::Empty);
    }
    summary.first_ns = summary.first_ns.min(summary.last_ns);
    let last = summary.last_ns;
    summary.devices.iter_mut().for_each(|device| device.finish(last));
    Ok(summary)
}

impl Summary {
    fn parse(&self, bytes: &[u8], ended: bool) -> Result<Line, SummaryError> {
        let failed = |reason: String| SummaryError::Line { line: self.lines, reason };
        if self.lines == 1 && bytes.starts_with(TEXT_HEAD.as_bytes()) {
            return Err(SummaryError::ForPeople);
        }
        if !ended && bytes.len() as u64 >= LONGEST_LINE - 1 {
            return Err(failed(format!("it is longer than {LONGEST_LINE} bytes")));
        }
        let line: Line = serde_json::from_slice(bytes).map_err(|error| failed(error.to_string()))?;
        match (&line, self.lines) {
            (Line::Start { format, .. }, _) if *format != FORMAT => {
                Err(failed(format!("the trace has format {format}, and this heirloom reads format {FORMAT}")))
            }
            (Line::Start { .. }, 1) => Ok(line),
            (Line::Start { .. }, _) => Err(failed("a second trace begins here; summarize them one by one".to_owned())),
            (_, 1) => Err(failed("a trace begins with a line whose event is \"start\"".to_owned())),
            _ => Ok(line),
        }
    }

    fn add(&mut self, line: &Line) -> Result<(), SummaryError> {
        if let Line::Start { started, .. } = line {
            started.clone_into(&mut self.started);
            return Ok(());
        }
        self.first_ns = self.first_ns.min(line.time());
        self.last_ns = self.last_ns.max(line.time());
        if let Line::Lost { count, .. } = line {
            self.lost = self.lost.saturating_add(*count);
            self.devices.iter_mut().for_each(|device| device.lost(line.time()));
            return Ok(());
        }
        let Some(id) = line.device_id() else { return Ok(()) };
        let at = match self.devices.iter().position(|device| device.id == id) {
            Some(at) => at,
            None if self.devices.len() == MOST_DEVICES => {
                let reason = format!("device '{id}' is one more than {MOST_DEVICES}");
                return Err(SummaryError::Line { line: self.lines, reason });
            }
            None => {
                self.devices.push(Device::new(id, line.time()));
                self.devices.len() - 1
            }
        };
        if let Some(device) = self.devices.get_mut(at) {
            device.add(line);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
