// SPDX-License-Identifier: Apache-2.0
//! The tables are found and walked as kernels do (`dmi_scan.c`), and read by dmidecode where it is installed.

use std::process::Command;
use std::slice;

use super::*;
use crate::test_support::{Memory, memory, read, sum, u16_at, u32_at, u64_at};

fn identity() -> Identity {
    Identity {
        vendor: "ACME Computers".to_owned(),
        product: "Server 2000".to_owned(),
        version: "rev 3".to_owned(),
        serial: "SN-0042".to_owned(),
        uuid: Some([0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8]),
    }
}

/// `(type, handle, fields, texts)` of one structure.
type Parsed = (u8, u16, Vec<u8>, Vec<String>);

/// Walks structures as `dmi_decode_table` does: fields by length, then texts to two zero bytes.
fn walk(mut rest: &[u8], count: usize) -> Vec<Parsed> {
    let mut all = vec![];
    while !rest.is_empty() {
        let length = usize::from(rest[1]);
        let end = length + rest[length..].windows(2).position(|w| w == [0, 0]).expect("two zero bytes");
        let texts = rest[length..end].split(|b| *b == 0).filter(|t| !t.is_empty());
        let texts = texts.map(|t| String::from_utf8(t.to_vec()).unwrap()).collect();
        all.push((rest[0], u16_at(rest, 2), rest[..length].to_vec(), texts));
        rest = &rest[end + 2..];
    }
    assert_eq!(all.len(), count);
    all
}

/// What a kernel finds in memory.
fn found(mem: &Memory) -> Vec<Parsed> {
    let bios = read(mem, 0xf_0000, 0x1_0000);
    let at = (0..0x1_0000).step_by(16).find(|at| bios[*at..].starts_with(b"_SM_")).expect("on a 16-byte boundary");
    let anchor = &bios[at..at + 31];
    assert_eq!((sum(anchor), anchor[5], &anchor[6..8]), (0, 31, &[2, 8][..]));
    // 2.4 knows only this part, and finds it because it is on a 16-byte boundary, too.
    assert_eq!((&anchor[16..21], sum(&anchor[16..]), anchor[30]), (&b"_DMI_"[..], 0, 0x28));
    let (length, address, count) = (u16_at(anchor, 22), u32_at(anchor, 24), u16_at(anchor, 28));
    let table = read(mem, address.into(), length.into());
    let all = walk(&table, count.into());
    let next = read(mem, u64::from(address) + u64::from(length), 16);
    assert_eq!(next, [0; 16], "nothing behind");
    all
}

fn written(cpus: u8) -> Vec<Parsed> {
    let mem = memory(64 << 20);
    write(&mem, &identity(), cpus).unwrap();
    found(&mem)
}

fn of(all: &[Parsed], kind: u8) -> Vec<Parsed> {
    all.iter().filter(|s| s.0 == kind).cloned().collect()
}

#[test]
fn all_structures_are_there_once_and_have_handles_of_their_own() {
    let all = written(2);
    let kinds: Vec<_> = all.iter().map(|s| s.0).collect();
    assert_eq!(kinds, [0, 1, 3, 4, 4, 16, 17, 19, 32, 127]);
    let mut handles: Vec<_> = all.iter().map(|s| s.1).collect();
    handles.sort_unstable();
    handles.dedup();
    assert_eq!(handles.len(), all.len());
    // Lengths of version 2.8 (2.7 for those that did not grow).
    let lengths: Vec<_> = all.iter().map(|s| s.2.len()).collect();
    assert_eq!(lengths, [0x18, 0x1b, 0x16, 0x2a, 0x2a, 0x17, 0x28, 0x1f, 0x0b, 4]);
}

#[test]
fn identity_is_where_programs_look() {
    let system = of(&written(1), 1).remove(0);
    assert_eq!(system.2[4..8], [1, 2, 3, 4]);
    assert_eq!(system.3, ["ACME Computers", "Server 2000", "rev 3", "SN-0042"]);
    assert_eq!(system.2[8..24], [0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn what_is_not_said_is_not_specified() {
    let mem = memory(64 << 20);
    write(&mem, &Identity::default(), 1).unwrap();
    let system = of(&found(&mem), 1).remove(0);
    assert_eq!((&system.2[4..8], &system.2[8..24]), (&[1, 2, 0, 0][..], &[0; 16][..]));
    assert_eq!(system.3, ["Heirloom", "Heirloom VM"]);
}

#[test]
fn bios_date_is_one_that_kernels_take() {
    let bios = of(&written(1), 0).remove(0);
    let date = &bios.3[usize::from(bios.2[8]) - 1];
    // `dmi_get_date`: the year is what follows the last slash; ACPI_BLACKLIST_YEAR is 2001.
    let year: u32 = date.rsplit('/').next().unwrap().parse().unwrap();
    assert!((2001..2100).contains(&year) && date.len() == 10, "{date}");
}

#[test]
fn memory_of_all_sizes_is_told() {
    let at = |ram: &[Range<u64>]| {
        let tables = build(&identity(), 1, ram).unwrap();
        let all = walk(tables.structures(), tables.count.into());
        let [array, module] = [16, 17].map(|kind| of(&all, kind).remove(0).2);
        let ranges: Vec<_> = of(&all, 19).iter().map(|s| (u32_at(&s.2, 4), u32_at(&s.2, 8))).collect();
        let extended: Vec<_> = of(&all, 19).iter().map(|s| (u64_at(&s.2, 15), u64_at(&s.2, 23))).collect();
        ((u32_at(&array, 7), u64_at(&array, 15)), (u16_at(&module, 12), u32_at(&module, 28)), ranges, extended)
    };
    let small = 0..64 << 20;
    let (array, module, ranges, extended) = at(&[small]);
    assert_eq!((array, module, &ranges[..], &extended[..]), ((65536, 0), (64, 0), &[(0, 0xffff)][..], &[(0, 0)][..]));
    let (array, module, ranges, _) = at(&[0..3 << 30, 4 << 30..65 << 30]);
    assert_eq!((array, module), ((64 << 20, 0), (0x7fff, 64 << 10)));
    assert_eq!(ranges, [(0, 0x2f_ffff), (0x40_0000, 0x40f_ffff)]);
    let high = 4 << 30..(4 << 30) + (8 << 40);
    let (array, module, ranges, extended) = at(&[0..3 << 30, high.clone()]);
    assert_eq!((array, module), ((0x8000_0000, (8 << 40) + (3 << 30)), (0x7fff, (8 << 20) + (3 << 10))));
    assert_eq!((ranges[1], extended[1]), ((u32::MAX, u32::MAX), (high.start, high.end - 1)));
}

#[test]
fn largest_machine_fits() {
    let mem = memory(64 << 20);
    let long = Identity { vendor: "v".repeat(MAX_TEXT), product: "p".repeat(MAX_TEXT), ..identity() };
    write(&mem, &long, 255).unwrap();
    assert_eq!(of(&found(&mem), 4).len(), 255);
}

#[test]
fn texts_that_tables_cannot_hold_are_refused() {
    let ram = 0..1 << 26;
    for bad in ["x".repeat(MAX_TEXT + 1), "a\0b".to_owned(), "ümlaut".to_owned(), "two\nlines".to_owned()] {
        let error = build(&Identity { serial: bad, ..identity() }, 1, slice::from_ref(&ram)).unwrap_err();
        assert!(matches!(error, SmbiosError::Text { field: "serial" }), "{error}");
    }
}

/// dmidecode reads a dump: the entry point at 0, its address made 0x20 as in the dump.
#[test]
fn dmidecode_understands_the_tables() {
    let tables = build(&identity(), 2, &[0..3 << 30, 4 << 30..9 << 30]).unwrap();
    let mut dump = tables.anchor(0x20).to_vec();
    dump.resize(0x20, 0);
    dump.extend_from_slice(tables.structures());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), dump).unwrap();
    let output = match Command::new("dmidecode").arg("--from-dump").arg(file.path()).output() {
        Ok(output) => output,
        Err(error) => return println!("SKIPPED: dmidecode (Debian package dmidecode) cannot be run: {error}"),
    };
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    for bad in ["BROKEN", "<BAD INDEX>", "OUT OF SPEC", "Wrong DMI", "truncated", "Invalid", "Unknown Type"] {
        assert!(!text.contains(bad), "{bad}:\n{text}");
    }
    for line in [
        "SMBIOS 2.8 present.",
        "Release Date: 04/01/2014",
        "System is a virtual machine",
        "Manufacturer: ACME Computers",
        "Product Name: Server 2000",
        "Serial Number: SN-0042",
        "UUID: 12345678-9abc-def0-0102-030405060708",
        "Socket Designation: CPU 1",
        "Status: Populated, Enabled",
        "Maximum Capacity: 8 GB",
        "Size: 8 GB",
        "Range Size: 3 GB",
        "Range Size: 5 GB",
        "Starting Address: 0x00100000000",
        "Status: No errors detected",
        "End Of Table",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}
