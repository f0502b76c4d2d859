// SPDX-License-Identifier: Apache-2.0
//! Counts and latencies of one device's admin commands. Recording allocates nothing.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{AdminError, opcode};

/// Opcodes that are told apart: the four legacy access commands.
const OPCODES: [u16; 4] = [
    opcode::LEGACY_COMMON_CFG_WRITE,
    opcode::LEGACY_COMMON_CFG_READ,
    opcode::LEGACY_DEV_CFG_WRITE,
    opcode::LEGACY_DEV_CFG_READ,
];
/// Latencies are kept from 100 ns to one minute, with two significant digits.
const SHORTEST: u64 = 100;
const LONGEST: u64 = 60_000_000_000;
const DIGITS: u8 = 2;

/// Latency of successful commands, in nanoseconds, correct to two digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half of the commands took at most this.
    pub p50: u64,
    /// 90 of 100 took at most this.
    pub p90: u64,
    /// 99 of 100 took at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// Commands that had no result, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorCounts {
    /// The device answered with an error status.
    pub refused: u64,
    /// No answer within the deadline.
    pub timeout: u64,
    /// Given up because the VM stops.
    pub cancelled: u64,
    /// The answer was too short.
    pub short: u64,
    /// There was no free slot until the deadline.
    pub full: u64,
    /// The channel is dead.
    pub dead: u64,
    /// The command did not fit the channel.
    pub too_long: u64,
}

/// One opcode's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpcodeStats {
    /// Name of the command in the standard.
    pub command: &'static str,
    /// Commands that succeeded.
    pub count: u64,
    /// How long these took.
    pub latency_ns: Latency,
    /// Commands that did not.
    pub errors: ErrorCounts,
}

/// What one device asked of its PF so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AdminStats {
    /// Member id of the device.
    pub member: u16,
    /// One entry for each legacy access command.
    pub commands: Vec<OpcodeStats>,
}

struct Record {
    latency: Histogram<u64>,
    errors: ErrorCounts,
}

/// Collects for one device. The device runs one command at a time, so the lock is free.
pub(super) struct Recorder {
    records: Mutex<[Option<Record>; OPCODES.len()]>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// All memory that recording will ever need.
    pub(super) fn new() -> Self {
        let records = OPCODES.map(|_| {
            // Bounds and digits are constants that the histogram accepts; see the test.
            let latency = Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS).ok()?;
            Some(Record { latency, errors: ErrorCounts::default() })
        });
        Self { records: Mutex::new(records) }
    }

    /// Notes the end of a command.
    pub(super) fn record<T>(&self, opcode: u16, took: Duration, outcome: &Result<T, AdminError>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let at = OPCODES.iter().position(|known| *known == opcode);
        let Some(Some(record)) = at.and_then(|at| records.get_mut(at)) else { return };
        let errors = &mut record.errors;
        let count = match outcome {
            Ok(_) => {
                let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                record.latency.saturating_record(took);
                return;
            }
            Err(AdminError::Refused { .. }) => &mut errors.refused,
            Err(AdminError::Timeout) => &mut errors.timeout,
            Err(AdminError::Cancelled) => &mut errors.cancelled,
            Err(AdminError::Short { .. }) => &mut errors.short,
            Err(AdminError::Full) => &mut errors.full,
            Err(AdminError::Dead(_)) => &mut errors.dead,
            Err(AdminError::TooLong { .. }) => &mut errors.too_long,
        };
        *count += 1;
    }

    /// A copy of everything.
    pub(super) fn snapshot(&self, member: u16) -> AdminStats {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = OPCODES.iter().zip(records.iter()).filter_map(|(opcode, record)| {
            let Record { latency, errors } = record.as_ref()?;
            let quantile = |at| latency.value_at_quantile(at);
            let latency_ns =
                Latency { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), max: latency.max() };
            Some(OpcodeStats { command: opcode::name(*opcode), count: latency.len(), latency_ns, errors: *errors })
        });
        AdminStats { member, commands: commands.collect() }
    }
}
