// SPDX-License-Identifier: Apache-2.0
//! The report of one function, for `vm.info`. Pure.

use serde::Serialize;

use super::interrupt_log::{InterruptReport, InterruptUse};
use super::stats::{self, DeviceCounter, DeviceCounts};
use crate::contract::RegisterFailures;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::settings::EarlyKicks;

/// The state of one function, for `vm.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// The id from the configuration.
    pub id: String,
    /// Device type.
    pub device: DeviceType,
    /// Name of the function below.
    pub function: String,
    /// How the guest gets interrupts.
    pub interrupts: InterruptReport,
    /// The status byte the guest wrote last.
    pub status: u8,
    /// Queues that are set up through the legacy interface.
    pub queues: Vec<u16>,
    /// Where kicks are stored, such as `member BAR 2 + 0x1000`; `register` if by register writes.
    pub notify: String,
    /// What is done about kicks before DRIVER_OK, as configured.
    pub early: EarlyKicks,
    /// What it counted: `kicks`, `intx`, `accesses`, `resets`, `function_resets`.
    #[serde(flatten, serialize_with = "stats::serialize")]
    pub counts: DeviceCounts,
    /// Which interrupts its drivers used, one after the other: the first ones.
    pub interrupts_used: Vec<InterruptUse>,
    /// How many more there were.
    pub interrupts_used_left_out: u64,
    /// Failures by kind.
    pub errors: RegisterFailures,
    /// Why the function answers no more, if so.
    pub faulted: Option<String>,
}

impl DeviceReport {
    /// One of its counters.
    pub fn count(&self, kind: DeviceCounter) -> u64 {
        self.counts.get(kind)
    }
}
