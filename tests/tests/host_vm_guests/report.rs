// SPDX-License-Identifier: Apache-2.0
//! The server's side of what happened in the host VM: its report, and the images of its disks.

use std::env;
use std::fs;

use serde_json::Value;
use tests::report::number;

use crate::Outcome;
use crate::linux_guests::{SECTOR, STRESS, sector};
use crate::rig::{check, text};

/// Guests that read and write the first VF's disk.
const WRITERS: usize = 6;
/// Guests with old orders that do.
const OLD_WRITERS: usize = 4;

fn folder() -> Outcome<String> {
    env::var("HEIRLOOM_E2E_FOLDER").map_err(text)
}

fn report(kind: &str) -> Outcome<Value> {
    let path = format!("{}/{kind}.json", folder()?);
    serde_json::from_str(&fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?).map_err(text)
}

fn count(report: &Value, pointer: &str) -> Outcome<u64> {
    number(report.pointer(pointer).ok_or_else(|| format!("no {pointer} in {report:#}"))?)
}

/// It never went where nothing is mapped, and moved at least this many buffers.
fn clean(report: &Value, function: &str, buffers: u64) -> Outcome {
    let faults = count(report, &format!("{function}/dma_faults"))?;
    check(faults == 0, format!("{function}: {faults} DMA faults in {report:#}"))?;
    let moved = count(report, &format!("{function}/buffers"))?;
    println!("{function}: {moved} buffers, no DMA fault");
    check(moved >= buffers, format!("{function} moved {moved} buffers, not {buffers}"))
}

pub(crate) fn disks() -> Outcome {
    let report = report("disks")?;
    clean(&report, "/pf", 0)?;
    clean(&report, "/vfs/0", WRITERS as u64 * STRESS)?;
    // What `reach` made the other one do.
    let faults = count(&report, "/vfs/1/dma_faults")?;
    println!("/vfs/1: {faults} DMA faults");
    check(faults >= 2, format!("DMA beyond the guest's memory was no fault: {report:#}"))?;
    let mut expected = written("original.img", WRITERS)?;
    // What `works` leaves on a disk.
    for (offset, byte) in expected[3 * 512..4 * 512].iter_mut().enumerate() {
        *byte = (offset as u8).wrapping_mul(7) ^ 0x5a;
    }
    same(&expected, "vf0.img")
}

pub(crate) fn old() -> Outcome {
    let report = report("old")?;
    clean(&report, "/pf", 0)?;
    clean(&report, "/vfs/0", OLD_WRITERS as u64 * STRESS)?;
    same(&written("original.img", OLD_WRITERS)?, "old0.img")
}

fn image(name: &str) -> Outcome<Vec<u8>> {
    fs::read(format!("{}/{name}", folder()?)).map_err(text)
}

/// An image with what so many guests wrote.
fn written(name: &str, writers: usize) -> Outcome<Vec<u8>> {
    let mut bytes = image(name)?;
    for n in 0..writers {
        bytes[(SECTOR + n) * 512..][..512].copy_from_slice(&sector(n));
    }
    Ok(bytes)
}

fn same(expected: &[u8], name: &str) -> Outcome {
    let found = image(name)?;
    let wrong = expected.iter().zip(&found).position(|(expected, found)| expected != found);
    check(wrong.is_none() && expected.len() == found.len(), format!("{name} differs at {wrong:?}"))
}

pub(crate) fn cards() -> Outcome {
    let report = report("cards")?;
    clean(&report, "/pf", 0)?;
    clean(&report, "/vfs/0", 500)
}
