// SPDX-License-Identifier: Apache-2.0
//! What a machine has that starts by firmware: the flash chip, the end of its image below 1 MiB, the devices that
//! firmware looks for, and what it is told. The machine is otherwise left as it is after power-on: tables, BARs and
//! memory map are the firmware's to make.

use std::sync::Arc;

use arch::e820::{self, E820Entry};
use arch::irq::PciInterrupt;
use arch::{acpi, flash, layout, smbios};
use devices::bus::Bus;
use devices::chipset::fw_cfg::{self, FileError, Items, key};
use devices::chipset::{FirmwareLog, FwCfg, firmware_log};
use devices::pci::{Bridge, PciRoot};

use super::SetupError;
use super::chipset::insert;
use crate::config::{FirmwareImage, Plan};
use crate::kvm::{GuestRam, Vm};

// The tables that systems read name its ports.
const _: () = assert!(fw_cfg::PORTS == layout::FW_CFG_PORTS as u64);

/// Slot of the ISA bridge: SeaBIOS's table of interrupt routing says that the router is there.
const ISA_BRIDGE_SLOT: u8 = 1;
/// Milliseconds after which firmware tries again to find something to boot: never, as its message then stays readable.
const BOOT_FAIL_WAIT: u32 = u32::MAX;

/// Puts `image` where the first processor starts.
pub(super) fn install(vm: &Vm, ram: &GuestRam, image: &FirmwareImage) -> Result<(), SetupError> {
    // No part of the RAM: devices do not reach a flash chip.
    vm.map_rom(GuestRam::separate(flash::address(image.bytes.len()), &image.bytes)?)?;
    flash::write_low_copy(ram.memory(), &image.bytes)
        .map_err(|source| SetupError::Firmware { path: image.path.display().to_string(), source })
}

/// Adds the devices that firmware looks for, but [`add_fw_cfg`]. Before other functions, so that slot 1 is free.
pub(super) fn add_devices(ports: &Bus, root: &PciRoot) -> Result<(), SetupError> {
    root.add(ISA_BRIDGE_SLOT, Arc::new(Bridge::isa()))?;
    // Each character is an exit, so it is there for who wants to read them.
    if tracing::enabled!(tracing::Level::DEBUG) {
        let log = FirmwareLog::new(|line| tracing::debug!("{line}"));
        insert(ports, layout::FIRMWARE_LOG_IO, firmware_log::PORTS, Arc::new(log))?;
    }
    Ok(())
}

/// Adds the device that tells firmware of the machine: when its functions are known, and before the guest runs.
/// `functions` are the slots in boot order, and the wiring of interrupts.
pub(super) fn add_fw_cfg(
    ports: &Bus,
    ram: &GuestRam,
    plan: &Plan,
    image: &FirmwareImage,
    functions: (&[u8], &[PciInterrupt]),
) -> Result<(), SetupError> {
    let items = items(plan, image, functions)?;
    insert(ports, layout::FW_CFG_IO, fw_cfg::PORTS, Arc::new(FwCfg::new(items, ram.memory().clone())))
}

/// What SeaBIOS is told. It reads what is missing as zeros, and has defaults.
fn items(
    plan: &Plan,
    image: &FirmwareImage,
    (boot_order, interrupts): (&[u8], &[PciInterrupt]),
) -> Result<Items, SetupError> {
    let cpus = plan.cpus.count.get();
    let ram = layout::ram_ranges(plan.memory.size)?;
    let ram: Vec<_> = ram.into_iter().map(|(base, size)| base.0..base.0 + size as u64).collect();
    let mut items = Items::new();
    // It waits until as many have started, so the number has to be exact.
    items.set_u16(key::NB_CPUS, cpus.into());
    items.set_u16(key::MAX_CPUS, cpus.into());
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        ("etc/e820", e820::for_firmware(&ram).into_iter().flat_map(E820Entry::to_bytes).collect()),
        // Its screen and keyboard are on the serial port, too.
        ("etc/sercon-port", u64::from(layout::COM1_IO).to_le_bytes().to_vec()),
        ("etc/show-boot-menu", u16::from(image.boot_menu.is_some()).to_le_bytes().to_vec()),
        ("etc/boot-fail-wait", BOOT_FAIL_WAIT.to_le_bytes().to_vec()),
        ("bootorder", open_firmware_paths(boot_order)),
    ];
    if let Some(seconds) = image.boot_menu {
        files.push(("etc/boot-menu-wait", (u32::from(seconds.get()) * 1000).to_le_bytes().to_vec()));
    }
    files.extend(acpi::files(&acpi_board(plan, interrupts))?.map(|file| (file.name, file.content)));
    if let Some(bios) = plan.board.screen.as_ref().and_then(|screen| screen.bios.as_ref()) {
        // It serves INT 10h then, and what it prints goes to the serial port as well.
        files.push(("vgaroms/vgabios.bin", bios.clone()));
    }
    let tables = smbios::build(&plan.board.identity, cpus, &ram)?;
    files.push(("etc/smbios/smbios-anchor", tables.anchor(0).to_vec()));
    files.push(("etc/smbios/smbios-tables", tables.structures().to_vec()));
    files.into_iter().try_for_each(|(name, content)| items.add_file(name, content)).map_err(broken)?;
    Ok(items)
}

/// What ACPI tables are to describe.
pub(super) fn acpi_board<'a>(plan: &Plan, pci: &'a [PciInterrupt]) -> acpi::Board<'a> {
    acpi::Board {
        cpus: plan.cpus.count.get(),
        pci,
        has_vga: plan.board.screen.is_some(),
        has_fw_cfg: plan.payload.is_firmware(),
    }
}

fn broken(error: FileError) -> SetupError {
    tracing::error!(%error, "a file for the firmware");
    SetupError::Internal("a file for the firmware cannot be made")
}

/// Functions as OpenFirmware paths, of which SeaBIOS compares bus and slot (`bootprio_find_pci_device`).
fn open_firmware_paths(slots: &[u8]) -> Vec<u8> {
    let lines = slots.iter().map(|slot| format!("/pci@i0cf8/function@{slot:x}\n"));
    lines.chain(["\0".to_owned()]).collect::<String>().into_bytes()
}
