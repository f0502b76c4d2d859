// SPDX-License-Identifier: Apache-2.0
//! A trace's lines: what JSON has, and what a summary reads. Pure.
//!
//! A trace begins with [`Line::Start`]; a device's lines come after its [`Line::Device`]. Lines are in the order in
//! which accesses ended; times are when they began.

use serde::{Deserialize, Serialize};

use super::names::target_name;
use super::record::{AccessRecord, Commands, DeviceTag, Record, SentCommand, What};
use crate::contract::Area;
use crate::transitional::layout::decode::Direction;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::telemetry::reports::DeviceReport;
use crate::transitional::telemetry::stats::DeviceCounter;

pub use super::record::Sent;

/// Version of the lines; a reader refuses others.
pub const FORMAT: u32 = 1;

/// Read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dir {
    /// The guest reads.
    Read,
    /// The guest writes.
    Write,
}

/// One admin command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its name in the standard, in lower case: `legacy_common_cfg_write` and so on.
    pub op: String,
    /// Offset in its register space.
    pub offset: u8,
    /// Bytes.
    pub width: u8,
}

/// One access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// When it began: nanoseconds since the start of the trace's clock.
    pub t: u64,
    /// Index of the vCPU.
    pub vcpu: u16,
    /// Id of the device.
    pub device: String,
    /// Read or write.
    pub dir: Dir,
    /// Offset in BAR0.
    pub offset: u64,
    /// Bytes.
    pub width: u8,
    /// Name of the register.
    pub register: String,
    /// What was read or written.
    pub value: u64,
    /// Who answered.
    pub sent: Sent,
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// Commands that it took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub command_count: u16,
    /// The earliest of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    /// Kind of the failure, if one of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Counts of a function's whole life, told when its machine ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// When.
    pub t: u64,
    /// Id of the device.
    pub device: String,
    /// Guest reads of BAR0.
    pub reads: u64,
    /// Guest writes of BAR0 that exited.
    pub writes: u64,
    /// Accesses of the registers below.
    pub commands: u64,
    /// Kicks without an exit: these are not among the accesses.
    pub kicks_ioeventfd: u64,
    /// Kicks by a store.
    pub kicks_store: u64,
    /// Kicks by a command.
    pub kicks_admin: u64,
    /// Interrupts on the line.
    pub intx: u64,
    /// Resets by the guest.
    pub resets: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The beginning of a trace.
    Start {
        /// [`FORMAT`].
        format: u32,
        /// When its clock was 0, as RFC 3339 writes it.
        started: String,
    },
    /// A device that lines follow of.
    Device {
        /// When.
        t: u64,
        /// Its id.
        device: String,
        /// Its type: net, block, console, entropy, balloon, scsi or ninep.
        kind: String,
    },
    /// A legacy access.
    Access(Access),
    /// An interrupt on the line. What goes by the guest's own MSI-X vectors is not seen.
    Interrupt {
        /// When.
        t: u64,
        /// Id of the device.
        device: String,
        /// Bits that it set in the interrupt status.
        isr: u8,
        /// Raised without a cause, in case one was lost.
        spurious: bool,
    },
    /// A reset begins.
    Reset {
        /// When.
        t: u64,
        /// Id of the device.
        device: String,
        /// What is reset: device, function or machine.
        what: String,
    },
    /// The guest switched MSI-X.
    Msix {
        /// When.
        t: u64,
        /// Id of the device.
        device: String,
        /// On.
        enabled: bool,
        /// Commands that it took.
        command_count: u16,
    },
    /// The function went out of service.
    Faulted {
        /// When.
        t: u64,
        /// Id of the device.
        device: String,
        /// Why.
        reason: String,
    },
    /// It is back.
    Recovered {
        /// When.
        t: u64,
        /// Id of the device.
        device: String,
    },
    /// The machine ends.
    Totals(Totals),
    /// Records that found no room.
    Lost {
        /// About when.
        t: u64,
        /// How many.
        count: u64,
    },
}

fn is_zero(count: &u16) -> bool {
    *count == 0
}

/// Name of a device type, as the rest of Heirloom writes it.
pub fn kind_name(device: DeviceType) -> &'static str {
    match device {
        DeviceType::Net => "net",
        DeviceType::Block => "block",
        DeviceType::Console => "console",
        DeviceType::Entropy => "entropy",
        DeviceType::Balloon => "balloon",
        DeviceType::Scsi => "scsi",
        DeviceType::NineP => "ninep",
    }
}

/// The device type of that name.
pub fn kind(name: &str) -> Option<DeviceType> {
    DeviceType::ALL.into_iter().find(|device| kind_name(*device) == name)
}

impl Line {
    /// The beginning of a trace whose clock was 0 at `started`, which is in the form of RFC 3339.
    pub fn start(started: String) -> Self {
        Self::Start { format: FORMAT, started }
    }

    /// Introduces the device of a record.
    pub fn device(t: u64, tag: &DeviceTag) -> Self {
        Self::Device { t, device: tag.id.clone(), kind: kind_name(tag.device).to_owned() }
    }

    /// The device that it is about, if it is about one.
    pub fn device_id(&self) -> Option<&str> {
        match self {
            Self::Start { .. } | Self::Lost { .. } => None,
            Self::Access(Access { device, .. })
            | Self::Totals(Totals { device, .. })
            | Self::Device { device, .. }
            | Self::Interrupt { device, .. }
            | Self::Reset { device, .. }
            | Self::Msix { device, .. }
            | Self::Faulted { device, .. }
            | Self::Recovered { device, .. } => Some(device),
        }
    }

    /// Its time, in nanoseconds of the trace's clock.
    pub fn time(&self) -> u64 {
        match self {
            Self::Start { .. } => 0,
            Self::Access(Access { t, .. })
            | Self::Totals(Totals { t, .. })
            | Self::Device { t, .. }
            | Self::Interrupt { t, .. }
            | Self::Reset { t, .. }
            | Self::Msix { t, .. }
            | Self::Faulted { t, .. }
            | Self::Recovered { t, .. }
            | Self::Lost { t, .. } => *t,
        }
    }
}

impl From<&Record> for Line {
    fn from(record: &Record) -> Self {
        let (t, device) = (record.at_ns, record.device.id.clone());
        match &record.what {
            What::Access(access) => Self::Access(from_access(t, &record.device, access)),
            What::Interrupt { isr, spurious } => Self::Interrupt { t, device, isr: *isr, spurious: *spurious },
            What::Reset(kind) => Self::Reset { t, device, what: kind.name().to_owned() },
            What::Msix { enabled, commands } => {
                Self::Msix { t, device, enabled: *enabled, command_count: commands.count() }
            }
            What::Faulted(reason) => Self::Faulted { t, device, reason: reason.to_string() },
            What::Recovered => Self::Recovered { t, device },
            What::Totals(report) => Self::Totals(totals(t, report)),
        }
    }
}

fn from_access(t: u64, tag: &DeviceTag, access: &AccessRecord) -> Access {
    Access {
        t,
        vcpu: access.access.vcpu,
        device: tag.id.clone(),
        dir: match access.transfer.direction {
            Direction::Read => Dir::Read,
            Direction::Write => Dir::Write,
        },
        offset: access.access.offset,
        width: access.access.width as u8,
        register: target_name(tag.device, &access.transfer.target).into_owned(),
        value: access.transfer.value,
        sent: access.answer,
        latency_ns: access.latency_ns,
        command_count: access.commands.count(),
        commands: noted(&access.commands),
        error: access.commands.error().map(str::to_owned),
    }
}

fn noted(commands: &Commands) -> Vec<Command> {
    let one = |command: &SentCommand| Command {
        op: match (command.area, command.direction) {
            (Area::Common, Direction::Read) => "legacy_common_cfg_read",
            (Area::Common, Direction::Write) => "legacy_common_cfg_write",
            (Area::Device, Direction::Read) => "legacy_dev_cfg_read",
            (Area::Device, Direction::Write) => "legacy_dev_cfg_write",
        }
        .to_owned(),
        offset: command.offset,
        width: command.width as u8,
    };
    commands.noted().iter().map(one).collect()
}

fn totals(t: u64, report: &DeviceReport) -> Totals {
    Totals {
        t,
        device: report.id.clone(),
        reads: report.count(DeviceCounter::Reads),
        writes: report.count(DeviceCounter::Writes),
        commands: report.count(DeviceCounter::Commands),
        kicks_ioeventfd: report.count(DeviceCounter::KicksByIoeventfd),
        kicks_store: report.count(DeviceCounter::KicksStored),
        kicks_admin: report.count(DeviceCounter::KicksCommanded),
        intx: report.count(DeviceCounter::QueueInterrupts)
            + report.count(DeviceCounter::ConfigInterrupts)
            + report.count(DeviceCounter::SpuriousInterrupts),
        resets: report.count(DeviceCounter::Resets),
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
