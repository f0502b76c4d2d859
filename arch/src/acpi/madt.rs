// SPDX-License-Identifier: Apache-2.0
//! MADT (ACPI 2.0, 5.2.10.4): processors, I/O APIC, and the ISA lines that are not edge-triggered.

use super::{HEADER_LEN, table};
use crate::{irq, layout};

/// Of ACPI 1.0 and 2.0; the entries used here have not changed since.
const REVISION: u8 = 1;
/// There is a pair of 8259s as well.
const PCAT_COMPAT: u32 = 1 << 0;
/// Polarity active high, trigger mode level (table 5-24, MPS INTI flags).
const ACTIVE_HIGH_LEVEL: u16 = 3 << 2 | 1;
const ALL_PROCESSORS: u8 = 0xff;

/// Entry types.
const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
const SOURCE_OVERRIDE: u8 = 2;
const LOCAL_APIC_NMI: u8 = 4;

/// The table. There is no override for the timer: KVM delivers IRQ 0 at I/O APIC pin 0 ([`crate::irq`]).
pub(super) fn build(cpus: u8) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&(layout::LAPIC as u32).to_le_bytes());
    body.extend_from_slice(&PCAT_COMPAT.to_le_bytes());
    for id in 0..cpus {
        const ENABLED: [u8; 4] = 1u32.to_le_bytes();
        entry(&mut body, LOCAL_APIC, &[&[id, id], &ENABLED]);
    }
    let (ioapic, first_gsi) = ((layout::IOAPIC as u32).to_le_bytes(), 0u32.to_le_bytes());
    entry(&mut body, IO_APIC, &[&[irq::IOAPIC_ID, 0], &ioapic, &first_gsi]);
    for line in irq::LEVEL_LINES {
        const ISA_BUS: u8 = 0;
        let gsi = u32::from(line).to_le_bytes();
        entry(&mut body, SOURCE_OVERRIDE, &[&[ISA_BUS, line], &gsi, &ACTIVE_HIGH_LEVEL.to_le_bytes()]);
    }
    const LINT1: u8 = 1;
    entry(&mut body, LOCAL_APIC_NMI, &[&[ALL_PROCESSORS, 0, 0, LINT1]]);

    let mut madt = table(*b"APIC", HEADER_LEN, REVISION);
    madt.append_slice(&body);
    madt.as_slice().to_vec()
}

/// Type, length, content.
fn entry(body: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let content = parts.concat();
    body.push(kind);
    body.push(content.len() as u8 + 2);
    body.extend_from_slice(&content);
}
