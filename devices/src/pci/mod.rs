// SPDX-License-Identifier: Apache-2.0
//! PCI as the guest sees it: configuration space, BARs, capabilities, MSI-X, INTx, and
//! configuration mechanism 1. It knows nothing of KVM, VFIO or virtio.
#![forbid(unsafe_code)]

mod bar;
pub mod capability;
pub mod config_space;
mod device;
mod register_file;

pub use bar::BAR_COUNT;
pub use config_space::{Changed, Command, ConfigError, ConfigSpace, Identity};
pub use device::{BarKind, BarWindow, PciDevice};
pub use register_file::CONFIG_SPACE_SIZE;
