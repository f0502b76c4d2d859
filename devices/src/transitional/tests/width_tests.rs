// SPDX-License-Identifier: Apache-2.0
//! Accesses of every width at every offset of the device configuration of every type, on a device that
//! refuses what is not inside one field: the guest reads and writes the bytes that are there, in
//! ascending pieces, whatever the borders, with MSI-X off and on.
use crate::bus::Width;
use crate::transitional::tests::bench::{Bench, Setup};

const WIDTHS: [Width; 3] = [Width::B1, Width::B2, Width::B4];

/// A device of type `kind` (virtio device type) with fields of these sizes, each byte another.
fn device(kind: u16, structure: &'static str) -> (Bench, usize) {
    let len = structure.split_whitespace().map(|size| size.parse::<usize>().unwrap()).sum();
    let config_bytes: Vec<u8> = (1..=len as u8).map(|byte| byte ^ 0x40).collect();
    (Setup { device_id: 0x1040 + kind, structure, config_bytes, features: 0, ..Setup::net() }.build(), len)
}

/// Ascending offsets of the device configuration that the log has.
fn offsets(bench: &Bench) -> Vec<(usize, usize)> {
    let piece = |line: &String| {
        let (_, rest) = line.split_once(" D")?;
        let (offset, rest) = rest.split_once('.')?;
        Some((offset.parse().ok()?, rest.split('=').next()?.parse().ok()?))
    };
    bench.log().iter().filter_map(piece).collect()
}

fn pieces_cover(pieces: &[(usize, usize)], from: usize, to: usize) {
    let mut at = from;
    for (offset, len) in pieces {
        assert_eq!(*offset, at, "ascending, without gap or overlap: {pieces:?}");
        at += len;
    }
    assert_eq!(at, to.max(from), "{pieces:?}");
}

fn reads(bench: &Bench, len: usize, start: u64) {
    for offset in 0..len + 4 {
        for width in WIDTHS {
            bench.log();
            let value = bench.read(start + offset as u64, width);
            let end = (offset + width.bytes()).min(len);
            pieces_cover(&offsets(bench), offset.min(end), end);
            for byte in 0..width.bytes() {
                let wanted = if offset + byte < len { (offset + byte + 1) as u8 ^ 0x40 } else { 0xff };
                assert_eq!((value >> (8 * byte)) as u8, wanted, "byte {byte} of {width:?} at {offset}");
            }
        }
    }
}

fn writes(bench: &Bench, len: usize, start: u64) {
    for offset in 0..len {
        for width in WIDTHS {
            let before = bench.model.config();
            bench.log();
            bench.write(start + offset as u64, width, 0xa4a3_a2a1);
            let end = (offset + width.bytes()).min(len);
            pieces_cover(&offsets(bench), offset, end);
            let after = bench.model.config();
            for (at, (old, new)) in before.iter().zip(&after).enumerate() {
                let wanted = if (offset..end).contains(&at) { 0xa1 + (at - offset) as u8 } else { *old };
                assert_eq!(*new, wanted, "byte {at} after {width:?} at {offset}");
            }
        }
    }
}

fn every_width(kind: u16, structure: &'static str) {
    for msix in [false, true] {
        let (bench, len) = device(kind, structure);
        bench.set_msix(msix);
        let start = if msix { 24 } else { 20 };
        reads(&bench, len, start);
        writes(&bench, len, start);
        assert_eq!(bench.violations(), 0, "type {kind}: an access crossed a border or the end");
    }
}

#[test]
fn net_is_split_on_its_borders() {
    every_width(1, "6 2 2 2 4 1");
}

#[test]
fn blk_is_split_on_its_borders() {
    every_width(2, "8 4 4 2 1 1 4 1 1 2 4 1 1 2 4 4 4 4 4 1 3 4 4 4");
}

#[test]
fn console_is_split_on_its_borders() {
    every_width(3, "2 2 4 4");
}

#[test]
fn rng_has_nothing_to_split() {
    every_width(4, "");
}

#[test]
fn balloon_is_split_on_its_borders() {
    every_width(5, "4 4 4 4");
}

#[test]
fn scsi_is_split_on_its_borders() {
    every_width(8, "4 4 4 4 4 4 4 2 2 4");
}

#[test]
fn ninep_is_split_on_its_borders() {
    every_width(9, "2 1 1 1 1 1 1 1 1");
}
