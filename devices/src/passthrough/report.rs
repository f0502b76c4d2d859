// SPDX-License-Identifier: Apache-2.0
//! The report of one function. Pure.

use serde::Serialize;

use crate::contract::{Counts, Family};

static ACCESSES: Family = Family {
    name: "heirloom_passthrough_accesses_total",
    help: "Accesses of the guest to BARs of a function passed through that left it.",
    label: Some("direction"),
};
static RESETS: Family =
    Family { name: "heirloom_passthrough_resets_total", help: "Function-level resets by the guest.", label: None };
static ERRORS: Family =
    Family { name: "heirloom_passthrough_errors_total", help: "Operations on the function that failed.", label: None };

crate::contract::counter_kinds! {
    /// What is counted of a function.
    pub enum PassthroughCounter;
    "Guest reads of BARs that exited; reads of mapped parts are not seen." Reads = "reads" as ACCESSES "read";
    "Guest writes of BARs that exited." Writes = "writes" as ACCESSES "write";
    "Function-level resets by the guest." Resets = "resets" as RESETS "";
    "Operations on the function that failed." Errors = "errors" as ERRORS "";
}

/// What a function counted.
pub type PassthroughCounts = Counts<PassthroughCounter, { PassthroughCounter::COUNT }>;

/// How the function interrupts the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InterruptUse {
    /// Not at all at the moment.
    #[default]
    None,
    /// By its pin.
    Intx,
    /// By MSI.
    Msi,
    /// By MSI-X.
    Msix,
}

/// The state of one function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassthroughReport {
    /// The id from the configuration.
    pub id: String,
    /// Name of the function below.
    pub function: String,
    /// PCI vendor id.
    pub vendor_id: u16,
    /// PCI device id.
    pub device_id: u16,
    /// How it interrupts the guest.
    pub interrupts: InterruptUse,
    /// What it did.
    #[serde(flatten)]
    pub counts: PassthroughCounts,
    /// Why the guest has the function no more, if so.
    pub faulted: Option<String>,
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
