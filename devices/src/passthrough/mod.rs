// SPDX-License-Identifier: Apache-2.0
//! Plain passthrough: a PCI function, whatever stands behind it, given to the guest as it is. BARs,
//! COMMAND, interrupts and power management are emulated; everything else of the function is the
//! guest's. It knows [`PciFunction`](crate::function::PciFunction) and nothing of KVM, VFIO or virtio
//! (but for one capability of virtio's that would be a way around the vector table).
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | `view` | the guest's configuration space from the function's: what is shown, kept, forwarded | |
//! | `msi` | the MSI capability and its interrupts | |
//! | `interrupts` | which of INTx, MSI and MSI-X the function uses | |
//! | `faults` | failures, and why the guest has the function no more | |
//! | `device` | the function as a whole; locks | |
//! | `device/saved` | the state as one value | |
//! | `report` | counters | |
#![forbid(unsafe_code)]

mod device;
mod faults;
mod interrupts;
mod msi;
mod report;
mod view;

#[cfg(test)]
mod testing;

pub use device::{PassthroughDevice, PassthroughError, PassthroughParts, PassthroughState};
pub use report::{InterruptUse, PassthroughCounter, PassthroughCounts, PassthroughReport};
