// SPDX-License-Identifier: Apache-2.0
//! DSDT: PCI root bridge with its windows and interrupt routing, serial port, keyboard, clock, fixed I/O, power-off.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Name, Package, PackageBuilder, ResourceTemplate, Scope,
};
use acpi_tables::{Aml, AmlSink};

use super::{HEADER_LEN, table};
use crate::irq::PciInterrupt;
use crate::layout;

/// Revision 1: integers of 32 bits, which is all that is needed here and all that ACPI 1.0 knows.
const REVISION: u8 = 1;
const COM1_IRQ: u8 = 4;
const RTC_IRQ: u8 = 8;
const KEYBOARD_IRQ: u8 = 1;

/// The table.
pub(super) fn build(pci: &[PciInterrupt], has_fw_cfg: bool) -> Vec<u8> {
    let (root, serial, keyboard, clock, board) = (RootBridge(pci), Serial, Keyboard, Clock, Board);
    let mut body = Vec::new();
    let mut devices: Vec<&dyn Aml> = vec![&root, &serial, &keyboard, &clock, &board];
    devices.extend(has_fw_cfg.then_some(&FwCfg as &dyn Aml));
    Scope::new("\\_SB_".into(), devices).to_aml_bytes(&mut body);
    let (sleep, zero) = (layout::S5_SLEEP_TYPE, 0u8);
    // SLP_TYP for PM1a and PM1b, then two reserved values.
    let s5 = Package::new(vec![&sleep, &sleep, &zero, &zero]);
    Name::new("_S5_".into(), &s5).to_aml_bytes(&mut body);

    let mut dsdt = table(*b"DSDT", HEADER_LEN, REVISION);
    dsdt.append_slice(&body);
    dsdt.as_slice().to_vec()
}

/// Small resource descriptor "IRQ, no flags": one edge-triggered ISA line (ACPI 2.0, 6.4.2.1).
struct IsaIrq(u8);

impl Aml for IsaIrq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1u16.checked_shl(self.0.into()).unwrap_or(0));
    }
}

/// `PNP0A03` on bus 0, with what a guest may move BARs into.
struct RootBridge<'a>(&'a [PciInterrupt]);

impl Aml for RootBridge<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
        let bus = Name::new("_BBN".into(), &0u8);
        let uid = Name::new("_UID".into(), &0u8);
        let buses = AddressSpace::new_bus_number(0u16, 0xffu16);
        let config = IO::new(layout::PCI_CONFIG_IO, layout::PCI_CONFIG_IO, 1, 8);
        let io = AddressSpace::new_io(layout::PCI_IO_START, layout::PCI_IO_LAST, None);
        let (first, last) = (layout::PCI_MMIO_START as u32, (layout::PCI_MMIO_END - 1) as u32);
        let memory = AddressSpace::new_memory(AddressSpaceCacheable::NotCacheable, true, first, last, None);
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&buses, &config, &io, &memory]));
        let prt = Name::new("_PRT".into(), &RoutingTable(self.0));
        Device::new("PCI0".into(), vec![&hid, &bus, &uid, &crs, &prt]).to_aml_bytes(sink);
    }
}

/// `_PRT`: one package per pin, `{slot << 16 | 0xffff, pin, 0, gsi}`. The third element 0 means that the
/// fourth is a GSI, not an index into a link device's resources (ACPI 2.0, 6.2.8).
struct RoutingTable<'a>(&'a [PciInterrupt]);

impl Aml for RoutingTable<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        // 32 slots of 4 pins at most: fits the package's 8-bit count.
        let mut rows = PackageBuilder::new();
        for wire in self.0 {
            let mut row = PackageBuilder::new();
            row.add_element(&(u32::from(wire.slot) << 16 | 0xffff));
            row.add_element(&wire.pin);
            row.add_element(&0u8);
            row.add_element(&wire.gsi);
            rows.add_element(&row);
        }
        rows.to_aml_bytes(sink);
    }
}

/// 16550 at 0x3F8.
struct Serial;

impl Aml for Serial {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &EISAName::new("PNP0501"));
        let uid = Name::new("_UID".into(), &1u8);
        let (io, irq) = (IO::new(layout::COM1_IO, layout::COM1_IO, 1, 8), IsaIrq(COM1_IRQ));
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io, &irq]));
        Device::new("COM1".into(), vec![&hid, &uid, &crs]).to_aml_bytes(sink);
    }
}

/// Keyboard controller with a keyboard. SeaBIOS looks for it here, and leaves the ports alone if there is none.
struct Keyboard;

impl Aml for Keyboard {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &EISAName::new("PNP0303"));
        let port = |address| IO::new(address, address, 1, 1);
        let (data, command) = (port(layout::KEYBOARD_DATA_IO), port(layout::KEYBOARD_COMMAND_IO));
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&data, &command, &IsaIrq(KEYBOARD_IRQ)]));
        Device::new("KBD_".into(), vec![&hid, &crs]).to_aml_bytes(sink);
    }
}

/// Real-time clock.
struct Clock;

impl Aml for Clock {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &EISAName::new("PNP0B00"));
        let (io, irq) = (IO::new(layout::RTC_IO, layout::RTC_IO, 1, 2), IsaIrq(RTC_IRQ));
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io, &irq]));
        Device::new("RTC_".into(), vec![&hid, &crs]).to_aml_bytes(sink);
    }
}

/// `QEMU0002`: the device that tells firmware of the machine (QEMU's docs/specs/fw_cfg.rst, "ACPI interface"). Linux
/// shows its files in /sys/firmware/qemu_fw_cfg.
struct FwCfg;

impl Aml for FwCfg {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &"QEMU0002");
        // Present and working, and not shown to people.
        let status = Name::new("_STA".into(), &0x0bu8);
        let io = IO::new(layout::FW_CFG_IO, layout::FW_CFG_IO, 1, layout::FW_CFG_PORTS);
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io]));
        Device::new("FWCF".into(), vec![&hid, &status, &crs]).to_aml_bytes(sink);
    }
}

/// `PNP0C02`: ports of the power management registers, for nobody else.
struct Board;

impl Aml for Board {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &EISAName::new("PNP0C02"));
        let power = IO::new(layout::PM1A_EVENT_IO, layout::PM1A_EVENT_IO, 1, 0x10);
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&power]));
        Device::new("MBRD".into(), vec![&hid, &crs]).to_aml_bytes(sink);
    }
}
