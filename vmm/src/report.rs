// SPDX-License-Identifier: Apache-2.0
//! What each device did, for each time the guest booted. The command decides how it is written.
#![forbid(unsafe_code)]

use api::types::SandboxInfo;
use serde::Serialize;

use crate::machine::{DeviceSection, Machine, PassthroughSection, PfSection};
use crate::sandbox;
use crate::vcpu::{ExitCounts, ExitKind};

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
    /// What this process could do meanwhile.
    pub sandbox: SandboxInfo,
}

/// From power-on to reset or power-off.
#[derive(Debug, Serialize)]
pub struct Boot {
    /// Why it ended.
    pub ended_by: String,
    /// What the first processor started in: `firmware`, or the kernel's `64-bit`, `32-bit` or `PVH` entry.
    pub entry: String,
    /// Exits of each vCPU.
    pub vcpus: Vec<Exits>,
    /// The PFs of the legacy virtio devices, in the order in which these name them.
    pub pfs: Vec<PfSection>,
    /// Devices in slot order.
    pub devices: Vec<DeviceSection>,
    /// Functions passed through, in slot order.
    pub passthrough: Vec<PassthroughSection>,
    /// What was on the text screen at the end, line by line; nothing where there is no screen.
    pub screen: Vec<String>,
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
        let [hlt, interrupted, other] = [ExitKind::Hlt, ExitKind::Interrupted, ExitKind::Other].map(|k| counts.get(k));
        Self {
            port_in: counts.get(ExitKind::PortIn),
            port_out: counts.get(ExitKind::PortOut),
            mmio_read: counts.get(ExitKind::MmioRead),
            mmio_write: counts.get(ExitKind::MmioWrite),
            other: hlt + interrupted + other,
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ended_by: String::new(),
            boot_count: 0,
            boots: Vec::new(),
            sandbox: sandbox::held(),
        }
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
            entry: machine.entry().map_or_else(|| "firmware".to_owned(), |protocol| protocol.to_string()),
            vcpus: machine.exits().into_iter().map(Exits::from).collect(),
            pfs: machine.pfs(),
            devices: machine.devices(),
            passthrough: machine.passthrough(),
            screen: machine.screen().map_or_else(Vec::new, |screen| screen.screen().text()),
        });
    }
}
