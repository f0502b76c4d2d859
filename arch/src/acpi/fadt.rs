// SPDX-License-Identifier: Apache-2.0
//! FADT (ACPI 3.0, 5.2.9) and FACS (5.2.10).

use acpi_tables::sdt::Sdt;

use super::table;
use crate::{irq, layout};

/// Length and revision of ACPI 2.0 to 3.0: the longest that kernels of that time take whole.
const LENGTH: u32 = 244;
const REVISION: u8 = 3;

/// The FACS is 64 bytes on a 64-byte boundary.
pub(super) const FACS_ALIGNMENT: usize = 64;
const FACS_LENGTH: u32 = 64;

/// Field offsets.
const FIRMWARE_CTRL: usize = 36;
const DSDT: usize = 40;
const SCI_INT: usize = 46;
const P_LVL2_LAT: usize = 96;
const P_LVL3_LAT: usize = 98;
const CENTURY: usize = 108;
const IAPC_BOOT_ARCH: usize = 109;
const FLAGS: usize = 112;
const RESET_REG: usize = 116;
const RESET_VALUE: usize = 128;
const X_DSDT: usize = 140;

/// Where the table has addresses of others, and how many bytes each has.
pub(super) const POINTERS: [(usize, u8); 3] = [(FIRMWARE_CTRL, 4), (DSDT, 4), (X_DSDT, 8)];

/// WBINVD works.
const WBINVD: u32 = 1 << 0;
/// HLT on every processor.
const PROC_C1: u32 = 1 << 2;
/// No sleep button. (PWR_BUTTON stays 0: there is a power button, in the PM1 registers.)
const SLP_BUTTON: u32 = 1 << 5;
/// The RTC cannot wake the machine through the PM1 registers.
const FIX_RTC: u32 = 1 << 6;
/// RESET_REG is there.
const RESET_REG_SUP: u32 = 1 << 10;

/// There are ISA devices.
const LEGACY_DEVICES: u16 = 1 << 0;
/// There is an 8042 (for reset at least).
const I8042: u16 = 1 << 1;
/// Do not probe VGA memory.
const VGA_NOT_PRESENT: u16 = 1 << 2;

/// Latencies above these limits (100 and 1000 microseconds) mean: no C2, no C3.
const NO_C2: u16 = 0xffff;
const NO_C3: u16 = 0xffff;

/// The table; SMI_CMD, GPE blocks and everything else that is not there stays 0. So does X_FIRMWARE_CTRL: with
/// both addresses given, kernels take them for two FACS.
pub(super) fn build(facs: u32, dsdt: u32, has_vga: bool) -> Vec<u8> {
    let mut fadt = table(*b"FACP", LENGTH, REVISION);
    fadt.write_u32(FIRMWARE_CTRL, facs);
    fadt.write_u32(DSDT, dsdt);
    fadt.write_u64(X_DSDT, dsdt.into());
    fadt.write_u16(SCI_INT, irq::SCI.into());

    PM1_EVENT.write(&mut fadt, layout::PM1A_EVENT_IO, 4);
    PM1_CONTROL.write(&mut fadt, layout::PM1A_CONTROL_IO, 2);
    PM_TIMER.write(&mut fadt, layout::PM_TIMER_IO, 4);

    fadt.write_u16(P_LVL2_LAT, NO_C2);
    fadt.write_u16(P_LVL3_LAT, NO_C3);
    fadt.write_u8(CENTURY, layout::RTC_CENTURY);
    let vga = if has_vga { 0 } else { VGA_NOT_PRESENT };
    fadt.write_u16(IAPC_BOOT_ARCH, LEGACY_DEVICES | I8042 | vga);
    fadt.write_u32(FLAGS, WBINVD | PROC_C1 | SLP_BUTTON | FIX_RTC | RESET_REG_SUP);
    fadt.write_bytes(RESET_REG, &io_address(layout::RESET_IO, 1));
    fadt.write_u8(RESET_VALUE, layout::RESET_VALUE);
    fadt.as_slice().to_vec()
}

/// Where the table describes one I/O register block: its port, its length, and both again as a generic address.
struct Block {
    port: usize,
    length: usize,
    address: usize,
}

const PM1_EVENT: Block = Block { port: 56, length: 88, address: 148 };
const PM1_CONTROL: Block = Block { port: 64, length: 89, address: 172 };
const PM_TIMER: Block = Block { port: 76, length: 91, address: 208 };

impl Block {
    fn write(&self, fadt: &mut Sdt, port: u16, bytes: u8) {
        fadt.write_u32(self.port, port.into());
        fadt.write_u8(self.length, bytes);
        fadt.write_bytes(self.address, &io_address(port, bytes));
    }
}

/// Generic address structure in I/O space. The access size stays 0 ("undefined"): ACPI 2.0 kernels know
/// that byte as reserved, later ones take the width of the register.
fn io_address(port: u16, bytes: u8) -> [u8; 12] {
    const SYSTEM_IO: u8 = 1;
    let mut gas = [0; 12];
    gas[0] = SYSTEM_IO;
    gas[1] = bytes * 8;
    gas[4..6].copy_from_slice(&port.to_le_bytes());
    gas
}

/// Firmware control structure: it only has to exist. It has no checksum.
pub(super) fn facs() -> Vec<u8> {
    let mut facs = b"FACS".to_vec();
    facs.extend_from_slice(&FACS_LENGTH.to_le_bytes());
    facs.resize(FACS_LENGTH as usize, 0);
    // Version 1: the 64-bit waking vector exists (and is 0).
    facs[32] = 1;
    facs
}
