// SPDX-License-Identifier: Apache-2.0
//! PCI as the guest sees it: configuration space, BARs, capabilities, MSI-X, INTx, and
//! configuration mechanism 1. It knows nothing of KVM, VFIO or virtio.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`config_space`] | the registers of one function, pure |
//! | [`capability`] | capability ids |
//! | [`msix`] | MSI-X table, pending bits and the interrupts behind them |
//! | [`intx`] | wiring of pins, and one function's pin |
//! | `mapped` | which BARs are in the guest's memory |
//! | [`root`] | bus 0: ports 0xcf8 to 0xcff, slots, windows on the buses |
//! | [`resources`] | what firmware does: placing BARs, interrupt line registers |
//! | `bridges` | the host bridge in slot 0, and the ISA bridge in slot 1 where firmware starts the machine |
//! | [`option_rom`] | expansion ROMs, pure |
#![forbid(unsafe_code)]

mod bar;
mod bridges;
mod capability;
mod config_error;
pub mod config_space;
mod device;
pub mod intx;
mod mapped;
pub mod msix;
mod msix_layout;
pub mod option_rom;
mod register_file;
pub mod resources;
pub mod root;

pub use crate::spec::pci::{CONFIG_SPACE_SIZE, Command};
pub use bar::{BAR_COUNT, ROM_BAR};
pub use bridges::Bridge;
pub use config_error::ConfigError;
pub use config_space::{Changed, ConfigSpace, ConfigSpaceState, Identity, Subsystem};
pub use device::{BarKind, BarWindow, PciDevice};
pub use intx::IntxPin;
pub use msix::{MSIX_CONTROL_OFFSET, Msix, MsixChange, MsixState};
pub use msix_layout::{MSIX_MAX_VECTORS, MsixLayout, MsixLayoutError, MsixPlace};
pub use option_rom::{OptionRom, OptionRomError};
pub use resources::AssignError;
pub use root::{CONFIG_PORTS, PciRoot, PciRootState, SlotError};

#[cfg(test)]
mod saved_tests;
