// SPDX-License-Identifier: Apache-2.0
//! The way down to the legacy registers: deadlines, counting, and the rule that a function out of
//! service is left alone. Callers hold the function's lock, so there is one access at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::fault::Faults;
use crate::contract::{Area, LegacyRegisters, RegisterError, Wait, Width};
use crate::transitional::layout::decode::{Direction, Register};
use crate::transitional::telemetry::stats::Stats;
use crate::transitional::telemetry::trace::{DeviceTrace, SentCommand};

/// Legacy registers with a deadline.
pub struct BackEnd {
    pub(in crate::transitional) registers: Arc<dyn LegacyRegisters>,
    pub(in crate::transitional) deadline: Duration,
    pub(in crate::transitional) cancelled: Arc<AtomicBool>,
    pub(in crate::transitional) faults: Arc<Faults>,
    pub(in crate::transitional) stats: Arc<Stats>,
    pub(in crate::transitional) trace: Arc<DeviceTrace>,
}

impl BackEnd {
    /// Reads a whole header register; `None` if that failed, which is counted.
    pub fn read(&self, register: Register) -> Option<u32> {
        self.read_area(Area::Common, register.offset(), register.width()).ok()
    }

    /// Writes a whole header register; `false` if that failed, which is counted.
    pub fn write(&self, register: Register, value: u32) -> bool {
        self.write_area(Area::Common, register.offset(), register.width(), value).is_ok()
    }

    /// Reads a part of one field.
    pub fn read_area(&self, area: Area, offset: u8, width: Width) -> Result<u32, Denied> {
        if self.faults.is_faulted() {
            return Err(Denied::OutOfService);
        }
        self.counted(
            |wait| {
                self.sends(Direction::Read, area, offset, width);
                self.registers.read(area, offset, width, wait)
            },
            self.deadline,
        )
    }

    /// Writes a part of one field.
    pub fn write_area(&self, area: Area, offset: u8, width: Width, value: u32) -> Result<(), Denied> {
        if self.faults.is_faulted() {
            return Err(Denied::OutOfService);
        }
        self.counted(
            |wait| {
                self.sends(Direction::Write, area, offset, width);
                self.registers.write(area, offset, width, value, wait)
            },
            self.deadline,
        )
    }

    /// Counts an access to the registers below; to be called before each.
    pub fn sends(&self, direction: Direction, area: Area, offset: u8, width: Width) {
        self.stats.commands.add();
        self.trace.command(SentCommand { direction, area, offset, width });
    }

    /// Runs accesses that call [`Self::sends`] within `limit`, also while out of service: a reset has to try.
    pub fn counted<T>(
        &self,
        access: impl FnOnce(&Wait<'_>) -> Result<T, RegisterError>,
        limit: Duration,
    ) -> Result<T, Denied> {
        let now = Instant::now();
        let wait = Wait { deadline: now.checked_add(limit).unwrap_or(now), cancelled: &self.cancelled };
        access(&wait).map_err(|error| {
            self.trace.command_failed(error.kind());
            self.faults.register(&error);
            match error {
                RegisterError::Refused(_) | RegisterError::Gone(_) => Denied::Refused,
                _ => Denied::Failed,
            }
        })
    }
}

/// Why an access has no result; the details are counted and logged already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The function is out of service; nothing was sent.
    OutOfService,
    /// The device refused this access; it changed nothing, and another may work.
    Refused,
    /// Anything else.
    Failed,
}
