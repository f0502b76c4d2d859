// SPDX-License-Identifier: Apache-2.0
//! What a machine has that starts by firmware: the flash chip, the end of its image below 1 MiB, and devices that
//! firmware looks for. The machine is otherwise left as it is after power-on: tables, BARs and memory map are the
//! firmware's to make.

use std::sync::Arc;

use arch::flash;
use devices::bus::{Bus, Range};
use devices::chipset::{FirmwareLog, firmware_log};
use devices::pci::{IsaBridge, PciRoot};

use super::SetupError;
use crate::config::FirmwareImage;
use crate::kvm::{GuestRam, Vm};

/// Slot of the ISA bridge: SeaBIOS's table of interrupt routing says that the router is there.
const ISA_BRIDGE_SLOT: u8 = 1;

/// Puts `image` where the first processor starts.
pub(super) fn install(vm: &Vm, ram: &GuestRam, image: &FirmwareImage) -> Result<(), SetupError> {
    // No part of the RAM: devices do not reach a flash chip.
    vm.map_rom(GuestRam::separate(flash::address(image.bytes.len()).0, &image.bytes)?)?;
    flash::write_low_copy(ram.memory(), &image.bytes)
        .map_err(|source| SetupError::Firmware { path: image.path.display().to_string(), source })
}

/// Adds the devices that firmware looks for. Before other functions, so that slot 1 is free.
pub(super) fn add_devices(ports: &Bus, root: &PciRoot) -> Result<(), SetupError> {
    root.add(ISA_BRIDGE_SLOT, Arc::new(IsaBridge::default()))?;
    // Each character is an exit, so it is there for who wants to read them.
    if tracing::enabled!(tracing::Level::DEBUG) {
        let log = FirmwareLog::new(|line| tracing::debug!("{line}"));
        let (base, size) = firmware_log::PORTS;
        let range = Range::new(base, size).ok_or(SetupError::Internal("a device without ports"))?;
        ports.insert(range, Arc::new(log))?;
    }
    Ok(())
}
