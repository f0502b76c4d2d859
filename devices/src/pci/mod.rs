// SPDX-License-Identifier: Apache-2.0
//! PCI as the guest sees it: configuration space, BARs, capabilities, MSI-X, INTx, and
//! configuration mechanism 1. It knows nothing of KVM, VFIO or virtio.
#![forbid(unsafe_code)]

mod device;

pub use device::{BarKind, BarWindow, PciDevice};
