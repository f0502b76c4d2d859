// SPDX-License-Identifier: Apache-2.0
//! The MP table (Intel MultiProcessor Specification 1.4): processors, buses, I/O APIC and who interrupts
//! where, for kernels without ACPI. PCI INTx lines have entries of their own; without them such a kernel
//! falls back to the interrupt-line register or to no interrupt at all.

use thiserror::Error;
use vm_memory::{Address, Bytes, GuestMemoryBackend, GuestMemoryError};

use crate::irq::{self, PciInterrupt, WiringError};
use crate::layout;

const POINTER_LEN: usize = 16;
const HEADER_LEN: usize = 44;
const SPEC_1_4: u8 = 4;
/// Local and I/O APIC version registers as KVM's models give them.
const LAPIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
/// Bus 0 must be PCI: kernels number PCI buses by the order of these entries.
const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;
const ALL_LAPICS: u8 = 0xff;

/// Entry types.
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IOAPIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

/// Interrupt types.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXTINT: u8 = 3;

/// Why there is no MP table.
#[derive(Debug, Error)]
pub enum MpTableError {
    /// A machine of no processors.
    #[error("a machine needs at least one processor")]
    NoProcessor,
    /// Bad PCI wiring.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// No RAM at 0xF0000.
    #[error("cannot write the MP table")]
    Memory(#[from] GuestMemoryError),
}

/// Writes floating pointer and table to [`layout::MP_TABLE`]. `cpus` is 1-255; the APIC id of processor
/// n is n.
pub fn write<M: GuestMemoryBackend>(mem: &M, cpus: u8, pci: &[PciInterrupt]) -> Result<(), MpTableError> {
    if cpus == 0 {
        return Err(MpTableError::NoProcessor);
    }
    let bytes = build(cpus, &irq::checked(pci)?);
    // At most 255 processors and 128 pins: 6.2 KiB of 64.
    mem.write_slice(&bytes, layout::MP_TABLE)?;
    Ok(())
}

/// Floating pointer, then the table.
fn build(cpus: u8, pci: &[PciInterrupt]) -> Vec<u8> {
    let mut entries = Entries::default();
    for apic_id in 0..cpus {
        entries.processor(apic_id);
    }
    entries.push(&[BUS, PCI_BUS], b"PCI   ");
    entries.push(&[BUS, ISA_BUS], b"ISA   ");
    let ioapic = (layout::IOAPIC as u32).to_le_bytes();
    entries.push(&[IOAPIC, irq::IOAPIC_ID, IOAPIC_VERSION, 1], &ioapic);
    for line in (0..irq::ISA_LINES).filter(|l| *l != irq::CASCADE && !irq::PCI_LINES.contains(l)) {
        entries.io_interrupt(ISA_BUS, line, line);
    }
    for wire in pci {
        entries.io_interrupt(PCI_BUS, wire.slot << 2 | wire.pin, wire.gsi);
    }
    entries.local_interrupt(EXTINT, 0, 0);
    entries.local_interrupt(NMI, ALL_LAPICS, 1);

    let table_at = layout::MP_TABLE.raw_value() as u32 + POINTER_LEN as u32;
    let mut bytes = floating_pointer(table_at);
    bytes.extend(table(&entries));
    bytes
}

fn floating_pointer(table_at: u32) -> Vec<u8> {
    let mut pointer = b"_MP_".to_vec();
    pointer.extend_from_slice(&table_at.to_le_bytes());
    pointer.extend_from_slice(&[(POINTER_LEN / 16) as u8, SPEC_1_4]);
    // Feature bytes: a table is present; no IMCR, so virtual wire mode.
    pointer.resize(POINTER_LEN, 0);
    set_checksum(&mut pointer, 10);
    pointer
}

fn table(entries: &Entries) -> Vec<u8> {
    let mut table = b"PCMP".to_vec();
    table.extend_from_slice(&((HEADER_LEN + entries.bytes.len()) as u16).to_le_bytes());
    table.extend_from_slice(&[SPEC_1_4, 0]);
    table.extend_from_slice(b"HEIRLOOM");
    table.extend_from_slice(b"VM          ");
    table.extend_from_slice(&[0; 6]); // no OEM table
    table.extend_from_slice(&entries.count.to_le_bytes());
    table.extend_from_slice(&(layout::LAPIC as u32).to_le_bytes());
    table.resize(HEADER_LEN, 0);
    table.extend_from_slice(&entries.bytes);
    set_checksum(&mut table, 7);
    table
}

/// Makes all bytes add up to 0; the byte at `at` is 0 before.
fn set_checksum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(at) {
        *checksum = sum.wrapping_neg();
    }
}

#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    count: u16,
}

impl Entries {
    fn push(&mut self, head: &[u8], tail: &[u8]) {
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(tail);
        self.count += 1;
    }

    fn processor(&mut self, apic_id: u8) {
        const ENABLED: u8 = 1 << 0;
        const BOOT: u8 = 1 << 1;
        // Family 6, and FPU + APIC: kernels print these and read CPUID for the rest.
        const SIGNATURE: u32 = 0x600;
        const FEATURES: u32 = 1 << 9 | 1;
        let flags = if apic_id == 0 { ENABLED | BOOT } else { ENABLED };
        let mut tail = Vec::from(SIGNATURE.to_le_bytes());
        tail.extend_from_slice(&FEATURES.to_le_bytes());
        tail.extend_from_slice(&[0; 8]);
        self.push(&[PROCESSOR, apic_id, LAPIC_VERSION, flags], &tail);
    }

    /// Polarity and trigger "as the bus": edge and high for ISA, level and low for PCI.
    fn io_interrupt(&mut self, bus: u8, source: u8, pin: u8) {
        self.push(&[IO_INTERRUPT, INT, 0, 0], &[bus, source, irq::IOAPIC_ID, pin]);
    }

    fn local_interrupt(&mut self, kind: u8, lapic: u8, lint: u8) {
        self.push(&[LOCAL_INTERRUPT, kind, 0, 0], &[ISA_BUS, 0, lapic, lint]);
    }
}

#[cfg(test)]
#[path = "mptable_tests.rs"]
mod tests;
