// SPDX-License-Identifier: Apache-2.0
//! The table is read back the way kernels do: find the pointer, check sums, walk entries by length.

use super::*;
use crate::test_support::{Memory, memory, read, sum, u16_at, u32_at};

const WIRING: [PciInterrupt; 3] = [
    PciInterrupt { slot: 31, pin: 3, gsi: 10 },
    PciInterrupt { slot: 1, pin: 0, gsi: 10 },
    PciInterrupt { slot: 2, pin: 0, gsi: 11 },
];

fn table_with(cpus: u8) -> Vec<Vec<u8>> {
    let mem = memory(2 << 20);
    write(&mem, cpus, &WIRING).unwrap();
    entries(&mem)
}

fn entries(mem: &Memory) -> Vec<Vec<u8>> {
    let bios = read(mem, 0xf_0000, 0x1_0000);
    let pointer = bios.chunks(16).find(|c| c.starts_with(b"_MP_")).expect("found on a 16-byte boundary");
    assert_eq!((sum(pointer), pointer[8], pointer[9], pointer[11]), (0, 1, 4, 0));
    let at = u32_at(pointer, 4).into();
    let length = u16_at(&read(mem, at, 6), 4) as usize;
    let table = read(mem, at, length);
    assert_eq!((&table[..4], sum(&table), u32_at(&table, 36)), (&b"PCMP"[..], 0, 0xfee0_0000));
    let (mut entries, mut rest) = (vec![], &table[44..]);
    while let Some(kind) = rest.first() {
        let (entry, tail) = rest.split_at(if *kind == 0 { 20 } else { 8 });
        entries.push(entry.to_vec());
        rest = tail;
    }
    assert_eq!(entries.len(), u16_at(&table, 34) as usize);
    entries
}

fn of_kind(entries: &[Vec<u8>], kind: u8) -> Vec<&[u8]> {
    entries.iter().filter(|e| e[0] == kind).map(|e| &e[..]).collect()
}

#[test]
fn processors_are_enabled_and_the_boot_processor_is_marked() {
    let entries = table_with(3);
    let flags: Vec<_> = of_kind(&entries, 0).iter().map(|e| (e[1], e[3])).collect();
    assert_eq!(flags, [(0, 3), (1, 1), (2, 1)]);
}

#[test]
fn largest_machine_fits() {
    assert_eq!(of_kind(&table_with(255), 0).len(), 255);
}

#[test]
fn buses_and_io_apic() {
    let entries = table_with(1);
    assert_eq!(of_kind(&entries, 1), [b"\x01\x00PCI   ", b"\x01\x01ISA   "]);
    assert_eq!(of_kind(&entries, 2), [[2, 0, 0x11, 1, 0, 0, 0xc0, 0xfe]]);
}

#[test]
fn isa_lines_have_the_pin_of_their_number_and_pci_lines_are_not_isa() {
    let entries = table_with(1);
    let isa: Vec<_> = of_kind(&entries, 3).into_iter().filter(|e| e[4] == 1).map(|e| (e[5], e[7])).collect();
    let expected: Vec<_> = [0, 1, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15].map(|n| (n, n)).to_vec();
    assert_eq!(isa, expected);
}

#[test]
fn pci_pins_are_entries_of_the_pci_bus() {
    let entries = table_with(1);
    let pci: Vec<_> =
        of_kind(&entries, 3).into_iter().filter(|e| e[4] == 0).map(|e| (e[1], u16_at(e, 2), e[5], e[7])).collect();
    assert_eq!(pci, [(0, 0, 1 << 2, 10), (0, 0, 2 << 2, 11), (0, 0, 31 << 2 | 3, 10)]);
}

#[test]
fn local_pins() {
    let entries = table_with(2);
    let local: Vec<_> = of_kind(&entries, 4).iter().map(|e| (e[1], e[6], e[7])).collect();
    assert_eq!(local, [(3, 0, 0), (1, 0xff, 1)], "ExtINT at LINT0 of the first, NMI at LINT1 of all");
}

#[test]
fn bad_wiring_is_refused() {
    let mem = memory(2 << 20);
    let error = write(&mem, 1, &[PciInterrupt { slot: 1, pin: 0, gsi: 3 }]).unwrap_err();
    assert!(matches!(error, MpTableError::Wiring(WiringError::NotAPciLine(_))));
    assert!(matches!(write(&mem, 0, &[]), Err(MpTableError::NoProcessor)));
}
