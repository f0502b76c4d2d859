// SPDX-License-Identifier: Apache-2.0
//! What is noted of a legacy access while it happens: fixed in size, made without allocation. Text is made of
//! it later, by whoever drains the ring. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bus::{Access, Width};
use crate::contract::{Area, CounterKind, FailureKind};
use crate::transitional::layout::decode::{Direction, Target};
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::telemetry::reports::DeviceReport;

/// Who answered an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Admin commands.
    Admin,
    /// The shadow: nothing was sent.
    Shadow,
    /// The interrupt status in software: nothing was sent.
    Isr,
    /// A store to the notify address.
    Doorbell,
    /// Nobody: a kick of a queue that is not set up.
    Dropped,
    /// Nobody: a hole, or a write of what cannot be written.
    Ignored,
    /// Nobody: the function is out of service.
    OutOfService,
}

/// Commands of one access that are noted one by one; most accesses need one, a queue on the interrupt line three.
const NOTED: usize = 6;

/// Who a record is about.
#[derive(Debug, PartialEq, Eq)]
pub struct DeviceTag {
    /// The id from the configuration.
    pub id: String,
    /// Its type, which decides the names of features and configuration fields.
    pub device: DeviceType,
}

/// One access of the legacy registers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentCommand {
    /// Read or write.
    pub direction: Direction,
    /// Which part of the register space.
    pub area: Area,
    /// Offset in that part.
    pub offset: u8,
    /// Width.
    pub width: Width,
}

/// What one access, or one event, asked of the registers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commands {
    count: u16,
    noted: [SentCommand; NOTED],
    error: Option<FailureKind>,
}

impl Commands {
    /// Nothing was asked.
    pub const NONE: Self = Self {
        count: 0,
        noted: [SentCommand { direction: Direction::Read, area: Area::Common, offset: 0, width: Width::B1 }; NOTED],
        error: None,
    };

    /// One more.
    pub(in crate::transitional) fn push(&mut self, command: SentCommand) {
        if let Some(slot) = self.noted.get_mut(usize::from(self.count)) {
            *slot = command;
        }
        self.count = self.count.saturating_add(1);
    }

    /// One of them failed; the failure that comes first counts.
    pub(in crate::transitional) fn failed(&mut self, kind: FailureKind) {
        self.error.get_or_insert(kind);
    }

    /// How many there were.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The earliest of them, at most six.
    pub fn noted(&self) -> &[SentCommand] {
        self.noted.get(..usize::from(self.count).min(NOTED)).unwrap_or(&[])
    }

    /// Why one failed, if one did.
    pub fn error(&self) -> Option<&'static str> {
        self.error.map(CounterKind::name)
    }
}

/// What an access reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Read or write.
    pub direction: Direction,
    /// Which register.
    pub target: Target,
    /// Its value, or what is written to it.
    pub value: u64,
}

/// One access of the guest to BAR0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRecord {
    /// Which vCPU, where in BAR0, and how wide.
    pub access: Access,
    /// What it read or wrote.
    pub transfer: Transfer,
    /// Who answered.
    pub answer: Sent,
    /// What was asked below.
    pub commands: Commands,
    /// From the exit's arrival at the device to its answer, in nanoseconds.
    pub latency_ns: u64,
}

/// What a reset reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// The device, because the guest wrote status 0.
    Device,
    /// The function, because a reset of the device did not end or it was out of service.
    Function,
    /// The whole machine, or its end.
    Machine,
}

impl ResetKind {
    /// Its name in traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Function => "function",
            Self::Machine => "machine",
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A legacy access.
    Access(AccessRecord),
    /// An interrupt on the line, made from a hidden vector. Those that go by the guest's own vectors are not seen.
    Interrupt {
        /// Bits that it set in the interrupt status.
        isr: u8,
        /// Raised without a cause, in case one was lost while MSI-X was switched off.
        spurious: bool,
    },
    /// A reset, noted when it begins.
    Reset(ResetKind),
    /// The guest switched MSI-X on or off.
    Msix {
        /// On.
        enabled: bool,
        /// What was asked below to move the vectors.
        commands: Commands,
    },
    /// The function went out of service.
    Faulted(Box<str>),
    /// It is back.
    Recovered,
    /// The machine ends: counts of the function's whole life, kicks without an exit among them.
    Totals(Box<DeviceReport>),
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Nanoseconds since the tracer was made. Of an access: when it began.
    pub at_ns: u64,
    /// Who.
    pub device: Arc<DeviceTag>,
    /// What.
    pub what: What,
}
