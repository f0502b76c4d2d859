// SPDX-License-Identifier: Apache-2.0
//! MP table and ACPI tables for any number of processors and any wiring, read back by a parser of its
//! own: lengths, counts and checksums are right, and everything lies in the BIOS range.
#![no_main]

use std::collections::BTreeSet;

use arch::irq::{PCI_LINES, PciInterrupt};
use arch::{acpi, layout, mptable};
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

type Memory = GuestMemoryMmap<()>;

fn bytes(memory: &Memory, at: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    memory.read_slice(&mut bytes, GuestAddress(at)).expect("tables lie in memory");
    bytes
}

fn half(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn good(wiring: &[PciInterrupt]) -> bool {
    let places: BTreeSet<_> = wiring.iter().map(|wire| (wire.slot, wire.pin)).collect();
    places.len() == wiring.len()
        && wiring.iter().all(|wire| wire.slot < 32 && wire.pin < 4 && PCI_LINES.contains(&wire.gsi))
}

/// A table with a header, somewhere in the ACPI range.
fn table(memory: &Memory, at: u64) -> Vec<u8> {
    let range = layout::ACPI_TABLES.0..layout::ACPI_TABLES.0 + layout::ACPI_ROOM as u64;
    assert!(range.contains(&at), "a table at {at:#x}");
    let length = word(&bytes(memory, at + 4, 4), 0) as usize;
    assert!(length >= 36 && at + length as u64 <= range.end, "{length} bytes at {at:#x}");
    let table = bytes(memory, at, length);
    assert_eq!(sum(&table), 0, "checksum of {:?}", String::from_utf8_lossy(&table[..4]));
    table
}

fn check_acpi(memory: &Memory, rsdp: u64, cpus: u8) {
    let root = bytes(memory, rsdp, 36);
    assert_eq!((&root[..8], sum(&root[..20]), sum(&root)), (&b"RSD PTR "[..], 0, 0));
    let (rsdt, xsdt) = (table(memory, word(&root, 16).into()), table(memory, word(&root, 24).into()));
    assert_eq!((word(&root, 28), &rsdt[..4], &xsdt[..4]), (0, &b"RSDT"[..], &b"XSDT"[..]));
    let short: Vec<u64> = rsdt[36..].chunks(4).map(|entry| word(entry, 0).into()).collect();
    let long: Vec<u64> = xsdt[36..].chunks(8).map(|entry| u64::from_le_bytes(entry.try_into().expect("8"))).collect();
    assert_eq!(short, long);
    let mut processors = 0;
    for at in long {
        let table = table(memory, at);
        match &table[..4] {
            b"FACP" => {
                let dsdt = self::table(memory, word(&table, 40).into());
                assert_eq!(&dsdt[..4], b"DSDT");
                assert_eq!(bytes(memory, word(&table, 36).into(), 4), b"FACS");
                assert_eq!(word(&table, 36) % 64, 0, "alignment of the FACS");
            }
            b"APIC" => {
                let mut at = 44;
                while at < table.len() {
                    assert!(table[at + 1] >= 2, "an entry without a length");
                    processors += usize::from(table[at] == 0);
                    at += usize::from(table[at + 1]);
                }
                assert_eq!(at, table.len(), "the last entry passes the end");
            }
            other => panic!("unknown table {other:?}"),
        }
    }
    assert_eq!(processors, usize::from(cpus));
}

fn check_mp(memory: &Memory, cpus: u8, wires: usize) {
    let pointer = bytes(memory, layout::MP_TABLE.0, 16);
    assert_eq!((&pointer[..4], pointer[8], sum(&pointer)), (&b"_MP_"[..], 1, 0));
    let at = u64::from(word(&pointer, 4));
    let length = half(&bytes(memory, at, 8), 4);
    assert!(at + length as u64 <= layout::MP_TABLE.0 + layout::MP_ROOM as u64);
    let table = bytes(memory, at, length);
    assert_eq!((&table[..4], sum(&table)), (&b"PCMP"[..], 0));
    let (mut at, mut entries, mut processors, mut pci) = (44, 0, 0, 0);
    while at < length {
        processors += usize::from(table[at] == 0);
        // An interrupt of bus 0, the PCI bus.
        pci += usize::from(table[at] == 3 && table[at + 4] == 0);
        at += if table[at] == 0 { 20 } else { 8 };
        entries += 1;
    }
    assert_eq!((at, entries), (length, half(&table, 34)), "entries end where the table does");
    assert_eq!((processors, pci), (usize::from(cpus), wires));
}

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let cpus = script.u8();
    let loose = script.flag();
    let mut wiring = Vec::new();
    while !script.is_empty() && wiring.len() < 200 {
        let (slot, pin, gsi) = (script.u8(), script.u8(), script.u8());
        // Mostly wiring that a machine could have.
        wiring.push(if loose {
            PciInterrupt { slot, pin, gsi }
        } else {
            PciInterrupt { slot: slot % 32, pin: pin % 4, gsi: PCI_LINES[usize::from(gsi % 2)] }
        });
    }
    let memory = Memory::from_ranges(&[(GuestAddress(0), 2 << 20)]).expect("guest memory");
    let fits = good(&wiring) && cpus != 0;
    let mp = mptable::write(&memory, cpus, &wiring);
    assert_eq!(mp.is_ok(), fits, "{mp:?}");
    let rsdp = acpi::write(&memory, &acpi::Board { cpus, pci: &wiring, has_vga: loose, has_fw_cfg: loose });
    assert_eq!(rsdp.is_ok(), fits, "{rsdp:?}");
    if let (Ok(()), Ok(rsdp)) = (mp, rsdp) {
        check_mp(&memory, cpus, wiring.len());
        check_acpi(&memory, rsdp.0, cpus);
    }
});
