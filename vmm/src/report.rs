// SPDX-License-Identifier: Apache-2.0
//! The report at exit: what each device did, for each time the guest booted.
#![forbid(unsafe_code)]

mod text;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::Serialize;

use crate::cli::{ReportFormat, ReportTarget};
use crate::machine::{DeviceSection, Machine, PassthroughSection, PfSection};
use crate::vcpu::ExitCounts;

/// Boots that a report keeps; a guest that reboots for ever must not fill memory.
const MAX_BOOTS: usize = 16;

/// Everything that is reported.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this program.
    pub version: &'static str,
    /// Why the run ended.
    pub ended_by: String,
    /// How often the guest was started.
    pub boot_count: u64,
    /// The last of them, in order.
    pub boots: Vec<Boot>,
}

/// From power-on to reset or power-off.
#[derive(Debug, Serialize)]
pub struct Boot {
    /// Why it ended.
    pub ended_by: String,
    /// Exits of each vCPU.
    pub vcpus: Vec<Exits>,
    /// The PFs of the legacy virtio devices, in the order in which these name them.
    pub pfs: Vec<PfSection>,
    /// Devices in slot order.
    pub devices: Vec<DeviceSection>,
    /// Functions passed through, in slot order.
    pub passthrough: Vec<PassthroughSection>,
}

/// Exits of one vCPU by kind.
#[derive(Debug, Serialize)]
pub struct Exits {
    /// Port reads.
    pub port_in: u64,
    /// Port writes.
    pub port_out: u64,
    /// Memory reads.
    pub mmio_read: u64,
    /// Memory writes.
    pub mmio_write: u64,
    /// All others.
    pub other: u64,
}

impl From<ExitCounts> for Exits {
    fn from(counts: ExitCounts) -> Self {
        Self {
            port_in: counts.port_in,
            port_out: counts.port_out,
            mmio_read: counts.mmio_read,
            mmio_write: counts.mmio_write,
            other: counts.hlt + counts.interrupted + counts.other,
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), ended_by: String::new(), boot_count: 0, boots: Vec::new() }
    }
}

impl Report {
    /// Adds what a machine did that has just ended.
    pub fn add(&mut self, machine: &Machine, ended_by: &str) {
        self.boot_count += 1;
        self.ended_by = ended_by.to_owned();
        if self.boots.len() == MAX_BOOTS {
            self.boots.remove(0);
        }
        self.boots.push(Boot {
            ended_by: ended_by.to_owned(),
            vcpus: machine.exits().into_iter().map(Exits::from).collect(),
            pfs: machine.pfs(),
            devices: machine.devices(),
            passthrough: machine.passthrough(),
        });
    }

    /// Writes the report where it is wanted.
    ///
    /// # Errors
    /// When that place cannot be written.
    pub fn write(&self, target: &ReportTarget) -> io::Result<()> {
        let bytes = match target.format {
            ReportFormat::Json => {
                let mut bytes = serde_json::to_vec_pretty(self)?;
                bytes.push(b'\n');
                bytes
            }
            ReportFormat::Text => text::render(self).into_bytes(),
        };
        match &target.file {
            Some(path) => File::create(path)?.write_all(&bytes),
            None => io::stdout().lock().write_all(&bytes),
        }
    }
}

/// Looks early whether a report could be written, without creating it: a guest that ran for a day
/// must not end with a report that has nowhere to go.
///
/// # Errors
/// The path, and why not.
pub fn check_target(target: &ReportTarget) -> Result<(), (PathBuf, io::Error)> {
    let Some(path) = &target.file else { return Ok(()) };
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
