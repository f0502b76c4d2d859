// SPDX-License-Identifier: Apache-2.0
//! The report of one function. Pure.

use std::sync::atomic::AtomicU64;

use serde::Serialize;

/// What a function counts.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Guest reads of BARs that exited.
    pub reads: AtomicU64,
    /// Guest writes of BARs that exited.
    pub writes: AtomicU64,
    /// Function-level resets by the guest.
    pub resets: AtomicU64,
}

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
    /// Guest reads of BARs that exited; reads of mapped parts are not seen.
    pub reads: u64,
    /// Guest writes of BARs that exited.
    pub writes: u64,
    /// Function-level resets by the guest.
    pub resets: u64,
    /// Operations on the function that failed.
    pub errors: u64,
    /// Why the guest has the function no more, if so.
    pub faulted: Option<String>,
}
