// SPDX-License-Identifier: Apache-2.0
//! The tables are read back the way kernels do, from the scan for the RSDP on.

use std::process::Command;

use super::*;
use crate::test_support::{Memory, memory, read, sum, u16_at, u32_at, u64_at};

const WIRING: [PciInterrupt; 3] = [
    PciInterrupt { slot: 1, pin: 0, gsi: 10 },
    PciInterrupt { slot: 2, pin: 0, gsi: 10 },
    PciInterrupt { slot: 31, pin: 3, gsi: 11 },
];

fn board(cpus: u8) -> Board<'static> {
    Board { cpus, pci: &WIRING, has_vga: false, has_fw_cfg: false }
}

fn machine(cpus: u8) -> Memory {
    let mem = memory(2 << 20);
    write(&mem, &board(cpus)).unwrap();
    mem
}

fn rsdp_of(mem: &Memory) -> Vec<u8> {
    let bios = read(mem, 0xe_0000, 0x2_0000);
    bios.chunks(16).position(|c| c.starts_with(b"RSD PTR ")).map(|i| bios[i * 16..][..36].to_vec()).unwrap()
}

/// A table with a right checksum.
fn table_at(mem: &Memory, address: u64) -> Vec<u8> {
    let length = u32_at(&read(mem, address, 8), 4) as usize;
    let table = read(mem, address, length);
    assert_eq!(sum(&table), 0, "{}", String::from_utf8_lossy(&table[..4]));
    table
}

fn addresses(mem: &Memory, extended: bool) -> Vec<u64> {
    let rsdp = rsdp_of(mem);
    if extended {
        let xsdt = table_at(mem, u64_at(&rsdp, 24));
        xsdt[36..].chunks(8).map(|c| u64_at(c, 0)).collect()
    } else {
        let rsdt = table_at(mem, u32_at(&rsdp, 16).into());
        rsdt[36..].chunks(4).map(|c| u32_at(c, 0).into()).collect()
    }
}

fn table_of(mem: &Memory, signature: &[u8; 4]) -> Vec<u8> {
    let mut found = addresses(mem, true).into_iter().map(|a| table_at(mem, a)).filter(|t| t.starts_with(signature));
    found.next().unwrap()
}

fn dsdt_of(mem: &Memory) -> Vec<u8> {
    table_at(mem, u32_at(&table_of(mem, b"FACP"), 40).into())
}

#[test]
fn rsdp_serves_acpi_1_and_2() {
    let mem = machine(1);
    let rsdp = rsdp_of(&mem);
    assert_eq!((sum(&rsdp[..20]), sum(&rsdp), rsdp[15], u32_at(&rsdp, 20)), (0, 0, 2, 36));
    assert_eq!(addresses(&mem, false), addresses(&mem, true), "RSDT and XSDT say the same");
}

#[test]
fn tables_stay_in_the_bios_range() {
    let image = build(&board(u8::MAX)).unwrap();
    assert!(image.len() < layout::ACPI_ROOM);
    for address in addresses(&machine(255), true) {
        assert!((0xe_0000..0xf_0000).contains(&address));
    }
}

#[test]
fn fadt_describes_the_full_hardware_model() {
    let mem = machine(1);
    let fadt = table_of(&mem, b"FACP");
    assert_eq!((fadt.len(), fadt[8]), (244, 3));
    assert_eq!(u16_at(&fadt, 46), 9, "SCI");
    assert_eq!(u32_at(&fadt, 48), 0, "no SMI command: always ACPI");
    assert_eq!((u32_at(&fadt, 56), fadt[88]), (0x600, 4), "PM1a events");
    assert_eq!((u32_at(&fadt, 64), fadt[89]), (0x604, 2), "PM1a control");
    assert_eq!((u32_at(&fadt, 76), fadt[91]), (0x608, 4), "PM timer");
    let flags = u32_at(&fadt, 112);
    assert_eq!(flags & (1 << 20), 0, "not hardware-reduced");
    assert_eq!(flags & (1 << 10 | 1 << 2 | 1), 1 << 10 | 1 << 2 | 1, "reset register, C1, WBINVD");
    assert_eq!((fadt[116], u64_at(&fadt, 120), fadt[128]), (1, 0xcf9, 6), "reset");
    assert_eq!((fadt[108], u16_at(&fadt, 109)), (0x32, 7), "century; ISA devices and 8042, no VGA");
    let mem = memory(2 << 20);
    write(&mem, &Board { has_vga: true, ..board(1) }).unwrap();
    assert_eq!(u16_at(&table_of(&mem, b"FACP"), 109), 3, "a VGA");
}

#[test]
fn fadt_says_the_same_in_both_address_forms() {
    let fadt = table_of(&machine(1), b"FACP");
    for (short, length, extended) in [(56, 88, 148), (64, 89, 172), (76, 91, 208)] {
        assert_eq!((fadt[extended], fadt[extended + 1]), (1, fadt[length] * 8));
        assert_eq!(u64_at(&fadt, extended + 4), u64::from(u32_at(&fadt, short)));
    }
    assert_eq!(u64_at(&fadt, 132), 0, "one FACS, by its 32-bit address");
    assert_eq!(u64_at(&fadt, 140), u64::from(u32_at(&fadt, 40)));
}

#[test]
fn facs_is_aligned() {
    let mem = machine(1);
    let address = u32_at(&table_of(&mem, b"FACP"), 36);
    let facs = read(&mem, address.into(), 64);
    assert_eq!((address % 64, &facs[..4], u32_at(&facs, 4)), (0, &b"FACS"[..], 64));
}

#[test]
fn madt_lists_processors_io_apic_and_level_lines() {
    let madt = table_of(&machine(3), b"APIC");
    assert_eq!((u32_at(&madt, 36), u32_at(&madt, 40)), (0xfee0_0000, 1));
    let (mut entries, mut rest) = (vec![], &madt[44..]);
    while rest.len() > 1 {
        let (entry, tail) = rest.split_at(rest[1] as usize);
        entries.push(entry);
        rest = tail;
    }
    assert_eq!(rest.len(), 0);
    let expected: [&[u8]; 8] = [
        &[0, 8, 0, 0, 1, 0, 0, 0],
        &[0, 8, 1, 1, 1, 0, 0, 0],
        &[0, 8, 2, 2, 1, 0, 0, 0],
        &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0],
        &[2, 10, 0, 10, 10, 0, 0, 0, 0xd, 0],
        &[2, 10, 0, 11, 11, 0, 0, 0, 0xd, 0],
        &[4, 6, 0xff, 0, 0, 1],
    ];
    assert_eq!(entries, expected);
}

#[test]
fn prt_has_one_package_per_pin() {
    let dsdt = dsdt_of(&machine(1));
    let at = dsdt.windows(4).position(|w| w == b"_PRT").unwrap() + 4;
    // PackageOp, length, 3 rows; each row: PackageOp, length, 4 elements, DWord address, pin, 0, GSI.
    let rows: &[u8] = &[
        0x12, 39, 3, //
        0x12, 11, 4, 0x0c, 0xff, 0xff, 1, 0, 0, 0, 0x0a, 10, //
        0x12, 11, 4, 0x0c, 0xff, 0xff, 2, 0, 0, 0, 0x0a, 10, //
        0x12, 12, 4, 0x0c, 0xff, 0xff, 31, 0, 0x0a, 3, 0, 0x0a, 11,
    ];
    assert_eq!(&dsdt[at..at + rows.len()], rows);
}

#[test]
fn full_prt_is_not_cut() {
    let mut wiring = Vec::new();
    for slot in 0..32 {
        wiring.extend((0..4).map(|pin| PciInterrupt { slot, pin, gsi: 10 }));
    }
    let dsdt = dsdt::build(&wiring, false);
    // Slot 0's address fits a Word, the others' are DWords.
    let rows = |prefix| dsdt.windows(4).filter(|w| *w == [4, prefix, 0xff, 0xff]).count();
    assert_eq!((sum(&dsdt), rows(0x0b), rows(0x0c)), (0, 4, 124));
}

#[test]
fn fw_cfg_is_named_where_it_is() {
    for has_fw_cfg in [false, true] {
        let mem = memory(2 << 20);
        write(&mem, &Board { has_fw_cfg, ..board(1) }).unwrap();
        let dsdt = dsdt_of(&mem);
        let named = dsdt.windows(9).filter(|w| w == b"QEMU0002\0").count();
        // The descriptor of an I/O range: from and to 0x510, aligned to 1, 12 ports.
        let ports = dsdt.windows(8).filter(|w| *w == [0x47, 1, 0x10, 5, 0x10, 5, 1, 12]).count();
        assert_eq!((named, ports), (usize::from(has_fw_cfg), usize::from(has_fw_cfg)));
    }
}

#[test]
fn power_off_sleep_type_is_5() {
    let dsdt = dsdt_of(&machine(1));
    let at = dsdt.windows(4).position(|w| w == b"_S5_").unwrap() + 4;
    assert_eq!(dsdt[at..at + 9], [0x12, 8, 4, 0x0a, 5, 0x0a, 5, 0, 0]);
}

#[test]
fn bad_wiring_and_missing_memory_are_errors() {
    let mem = memory(2 << 20);
    let bad = [PciInterrupt { slot: 40, pin: 0, gsi: 10 }];
    assert!(matches!(write(&mem, &Board { pci: &bad, ..board(1) }), Err(AcpiError::Wiring(_))));
    assert!(matches!(write(&mem, &board(0)), Err(AcpiError::NoProcessor)));
    assert!(matches!(write(&memory(0xe_0000), &board(1)), Err(AcpiError::Memory(_))));
}

/// Disassembles every table and compiles the DSDT again without an error, if `iasl` is installed.
#[test]
fn iasl_accepts_the_tables() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("SKIPPED: iasl is not installed (package acpica-tools)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mem = machine(2);
    let of_firmware = memory(2 << 20);
    write(&of_firmware, &Board { has_fw_cfg: true, ..board(1) }).unwrap();
    for (name, table) in [
        ("dsdt", dsdt_of(&mem)),
        ("dsdt-fw", dsdt_of(&of_firmware)),
        ("facp", table_of(&mem, b"FACP")),
        ("apic", table_of(&mem, b"APIC")),
    ] {
        let aml = dir.path().join(name).with_extension("aml");
        std::fs::write(&aml, table).unwrap();
        let dis = Command::new("iasl").current_dir(&dir).arg("-d").arg(&aml).output().unwrap();
        assert!(dis.status.success(), "{name}: {}", String::from_utf8_lossy(&dis.stderr));
        let com = Command::new("iasl").current_dir(&dir).arg(aml.with_extension("dsl")).output().unwrap();
        let said = String::from_utf8_lossy(&com.stdout).into_owned() + &String::from_utf8_lossy(&com.stderr);
        assert!(said.contains("0 Errors, 0 Warnings"), "{name}: {said}");
    }
}
