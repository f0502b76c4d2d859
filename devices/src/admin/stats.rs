// SPDX-License-Identifier: Apache-2.0
//! Counts and latencies of one device's admin commands. Recording allocates nothing.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{AdminError, opcode};
use crate::contract::{Area, CommandFailures, REGISTER_NAMES, register_index};

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
/// Upper bounds of the latency buckets, in nanoseconds: 250 ns to 10 s.
pub const LATENCY_BOUNDS: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

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

/// One opcode's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpcodeStats {
    /// Name of the command in the standard.
    pub command: &'static str,
    /// Commands that succeeded.
    pub count: u64,
    /// How long these took.
    pub latency_ns: Latency,
    /// How many of them took at most as long as each of [`LATENCY_BOUNDS`] and longer than the one before; the
    /// last entry is for the rest. Not in reports.
    #[serde(skip)]
    pub latency_buckets: [u64; LATENCY_BOUNDS.len() + 1],
    /// All of these together. Not in reports.
    #[serde(skip)]
    pub latency_sum_ns: u64,
    /// Commands that did not.
    pub errors: CommandFailures,
}

/// One register's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegisterStats {
    /// Name of the register in the standard; `device_config` for all of device configuration.
    pub register: &'static str,
    /// Commands for it, successful or not.
    pub count: u64,
    /// Those among them that read it. Not in reports.
    #[serde(skip)]
    pub reads: u64,
}

/// What one device asked of its PF so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AdminStats {
    /// Member id of the device.
    pub member: u16,
    /// One entry for each legacy access command.
    pub commands: Vec<OpcodeStats>,
    /// The same commands by register, one entry for each, those that no command was for included.
    pub registers: Vec<RegisterStats>,
}

struct Record {
    latency: Histogram<u64>,
    buckets: [u64; LATENCY_BOUNDS.len() + 1],
    sum_ns: u64,
    errors: CommandFailures,
}

/// Collects for one device. The device runs one command at a time, so the lock is free.
pub(super) struct Recorder {
    records: Mutex<Records>,
}

struct Records {
    opcodes: [Option<Record>; OPCODES.len()],
    /// Commands for each, and reads among them.
    registers: [(u64, u64); REGISTER_NAMES.len()],
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// All memory that recording will ever need.
    pub(super) fn new() -> Self {
        let opcodes = OPCODES.map(|_| {
            // Bounds and digits are constants that the histogram accepts; see the test.
            let latency = Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS).ok()?;
            let buckets = [0; LATENCY_BOUNDS.len() + 1];
            Some(Record { latency, buckets, sum_ns: 0, errors: CommandFailures::default() })
        });
        Self { records: Mutex::new(Records { opcodes, registers: [(0, 0); REGISTER_NAMES.len()] }) }
    }

    /// Notes the end of a command for the register at `offset` of `area`.
    pub(super) fn record<T>(
        &self,
        opcode: u16,
        area: Area,
        offset: u8,
        took: Duration,
        outcome: &Result<T, AdminError>,
    ) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, reads)) = records.registers.get_mut(register_index(area, offset)) {
            *count += 1;
            *reads += u64::from(matches!(opcode, opcode::LEGACY_COMMON_CFG_READ | opcode::LEGACY_DEV_CFG_READ));
        }
        let at = OPCODES.iter().position(|known| *known == opcode);
        let Some(Some(record)) = at.and_then(|at| records.opcodes.get_mut(at)) else { return };
        match outcome {
            Ok(_) => {
                let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                record.latency.saturating_record(took);
                record.sum_ns = record.sum_ns.saturating_add(took);
                let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < took);
                if let Some(count) = record.buckets.get_mut(bucket) {
                    *count += 1;
                }
            }
            Err(error) => record.errors.add(error.kind()),
        }
    }

    /// A copy of everything.
    pub(super) fn snapshot(&self, member: u16) -> AdminStats {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = OPCODES.iter().zip(&records.opcodes).filter_map(|(opcode, record)| {
            let Record { latency, buckets, sum_ns, errors } = record.as_ref()?;
            let quantile = |at| latency.value_at_quantile(at);
            let latency_ns =
                Latency { p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99), max: latency.max() };
            Some(OpcodeStats {
                command: opcode::name(*opcode),
                count: latency.len(),
                latency_ns,
                latency_buckets: *buckets,
                latency_sum_ns: *sum_ns,
                errors: *errors,
            })
        });
        let registers = REGISTER_NAMES.iter().zip(records.registers).map(|(register, (count, reads))| RegisterStats {
            register,
            count,
            reads,
        });
        AdminStats { member, commands: commands.collect(), registers: registers.collect() }
    }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
