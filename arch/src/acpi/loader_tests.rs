// SPDX-License-Identifier: Apache-2.0
//! The commands are carried out as firmware does, at a place of the test's choice.

use std::collections::BTreeMap;

use super::*;
use crate::acpi::layout;
use crate::irq::PciInterrupt;

const WIRING: [PciInterrupt; 2] =
    [PciInterrupt { slot: 2, pin: 0, gsi: 10 }, PciInterrupt { slot: 3, pin: 0, gsi: 11 }];

fn board(cpus: u8) -> Board<'static> {
    Board { cpus, pci: &WIRING, has_vga: false, has_fw_cfg: false }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
}

/// Files by name after all commands; the tables are at `base`.
fn carried_out(files: &[File; 3], base: u64) -> BTreeMap<String, Vec<u8>> {
    let source: BTreeMap<_, _> = files.iter().map(|file| (file.name.to_owned(), file.content.clone())).collect();
    let mut loaded = BTreeMap::new();
    let script = &source[LOADER];
    assert_eq!(script.len() % COMMAND_LEN, 0);
    for command in script.chunks(COMMAND_LEN) {
        let file = text(&command[4..60]);
        match u32_at(command, 0) {
            1 => {
                let zone = if file == RSDP { 2 } else { 1 };
                assert!(u32_at(command, 60).is_power_of_two() && command[64] == zone);
                assert!(loaded.insert(file.clone(), source[&file].clone()).is_none(), "once");
            }
            2 => {
                assert_eq!(text(&command[60..116]), TABLES);
                let (offset, size) = (u32_at(command, 116), command[120] as usize);
                let bytes: &mut Vec<u8> = loaded.get_mut(&file).unwrap();
                let mut value = [0; 8];
                value[..size].copy_from_slice(&bytes[offset..offset + size]);
                let value = u64::from_le_bytes(value) + base;
                bytes[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
            3 => {
                let [offset, start, length] = [60, 64, 68].map(|at| u32_at(command, at));
                let bytes: &mut Vec<u8> = loaded.get_mut(&file).unwrap();
                let sum = bytes[start..start + length].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                bytes[offset] = bytes[offset].wrapping_sub(sum);
            }
            other => panic!("command {other}"),
        }
    }
    loaded
}

/// At the place of a direct boot they are a direct boot's, byte for byte.
#[test]
fn relocated_tables_are_those_of_a_direct_boot() {
    let direct = crate::acpi::build(&board(3)).unwrap();
    let loaded = carried_out(&files(&board(3)).unwrap(), layout::ACPI_TABLES.0 + 64);
    assert_eq!(loaded[RSDP], direct[..RSDP_LEN]);
    assert_eq!(loaded[TABLES], direct[64..]);
}

#[test]
fn sums_are_right_anywhere() {
    for base in [0x7ff_e000, 0xbfff_0040] {
        let loaded = carried_out(&files(&board(1)).unwrap(), base);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        let (rsdp, tables) = (&loaded[RSDP], &loaded[TABLES]);
        assert_eq!((sum(rsdp), sum(&rsdp[..20])), (0, 0));
        let rsdt = u32_at(rsdp, 16) - base as usize;
        assert_eq!(&tables[rsdt..rsdt + 4], b"RSDT");
        for entry in [36, 40] {
            let table = u32_at(tables, rsdt + entry) - base as usize;
            assert_eq!(sum(&tables[table..table + u32_at(tables, table + 4)]), 0);
        }
    }
}
