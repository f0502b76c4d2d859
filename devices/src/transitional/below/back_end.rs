// SPDX-License-Identifier: Apache-2.0
//! The way down to the legacy registers: deadlines, counting, and the rule that a function out of
//! service is left alone. Callers hold the function's lock, so there is one access at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fault::Faults;
use crate::contract::{Area, LegacyRegisters, NotifyAddress, RegisterError, Wait, Width};
use crate::transitional::layout::decode::{Direction, Register};
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::telemetry::stats::{DeviceCounter, Stats};
use crate::transitional::telemetry::trace::{DeviceTrace, SentCommand};

/// Legacy registers with a deadline.
pub(crate) struct BackEnd {
    registers: Arc<dyn LegacyRegisters>,
    deadline: Duration,
    cancelled: Arc<AtomicBool>,
    faults: Arc<Faults>,
    stats: Arc<Stats>,
    trace: Arc<DeviceTrace>,
}

impl BackEnd {
    /// The `registers` of the function `id`, a `device`, in service. Each access ends at `deadline`, and all when
    /// `cancelled` is set.
    pub(crate) fn new(
        id: &str,
        device: DeviceType,
        registers: Arc<dyn LegacyRegisters>,
        deadline: Duration,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        let faults = Arc::new(Faults::new(id));
        let trace = DeviceTrace::new(id, device);
        faults.trace(&trace);
        Self { registers, deadline, cancelled, faults, stats: Arc::new(Stats::default()), trace }
    }

    /// The function's failures, and whether it is in service.
    pub(crate) fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// What is counted of the function.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The function's end of a tracer.
    pub(crate) fn trace(&self) -> &Arc<DeviceTrace> {
        &self.trace
    }

    /// Where to kick, in the device's order of preference.
    pub(crate) fn notify_addresses(&self) -> &[NotifyAddress] {
        self.registers.notify_addresses()
    }

    /// How many bytes of device configuration can be reached; `None` if all.
    pub(crate) fn config_reach(&self) -> Option<u8> {
        self.registers.config_reach()
    }

    /// Whether the VM stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Reads a register of Common within `wait`, as a part of [`Self::counted`].
    pub(crate) fn read_within(&self, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError> {
        self.sends(Direction::Read, Area::Common, offset, width);
        self.registers.read(Area::Common, offset, width, wait)
    }

    /// Writes a register of Common within `wait`, as a part of [`Self::counted`].
    pub(crate) fn write_within(
        &self,
        offset: u8,
        width: Width,
        value: u32,
        wait: &Wait<'_>,
    ) -> Result<(), RegisterError> {
        self.sends(Direction::Write, Area::Common, offset, width);
        self.registers.write(Area::Common, offset, width, value, wait)
    }

    /// The deadline of one access.
    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Reads a whole header register; `None` if that failed, which is counted.
    pub(crate) fn read(&self, register: Register) -> Option<u32> {
        self.read_area(Area::Common, register.offset(), register.width()).ok()
    }

    /// Writes a whole header register; `false` if that failed, which is counted.
    pub(crate) fn write(&self, register: Register, value: u32) -> bool {
        self.write_area(Area::Common, register.offset(), register.width(), value).is_ok()
    }

    /// Reads a part of one field.
    pub(crate) fn read_area(&self, area: Area, offset: u8, width: Width) -> Result<u32, Denied> {
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
    pub(crate) fn write_area(&self, area: Area, offset: u8, width: Width, value: u32) -> Result<(), Denied> {
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

    /// Counts an access to the registers below.
    fn sends(&self, direction: Direction, area: Area, offset: u8, width: Width) {
        self.stats.add(DeviceCounter::Commands);
        self.trace.command(SentCommand { direction, area, offset, width });
    }

    /// Runs accesses within `limit`, also while out of service: a reset has to try.
    pub(crate) fn counted<T>(
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
pub(crate) enum Denied {
    /// The function is out of service; nothing was sent.
    OutOfService,
    /// The device refused this access; it changed nothing, and another may work.
    Refused,
    /// Anything else.
    Failed,
}
