// SPDX-License-Identifier: Apache-2.0
//! The server's side of what happened in the host VM: its report, and the images of its disks.

use std::env;
use std::fs;

use serde_json::Value;

use crate::out_of_reach::IOVA;
use crate::{Outcome, REPORT, check, text};

fn report() -> Outcome<Value> {
    let path = env::var(REPORT).map_err(text)?;
    serde_json::from_str(&fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?).map_err(text)
}

fn number(report: &Value, pointer: &str) -> Outcome<u64> {
    report.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| format!("no number {pointer} in {report:#}"))
}

/// Nobody did DMA where nothing is mapped, or broke a ring.
fn clean(report: &Value, functions: &[&str]) -> Outcome {
    for function in functions {
        for count in ["dma_faults", "rings_broken"] {
            let found = number(report, &format!("{function}/{count}"))?;
            check(found == 0, format!("{function}: {found} {count}"))?;
        }
    }
    Ok(())
}

/// Linux chose the commands at each start of its driver, and its VFIO driver used all of them.
pub(crate) fn net() -> Outcome {
    let report = report()?;
    clean(&report, &["/pf", "/vfs/0", "/vfs/1"])?;
    let used = ["list_query", "list_use", "common_write", "common_read", "device_write", "device_read", "notify_info"];
    for command in used {
        check(number(&report, &format!("/commands/{command}"))? > 0, format!("{command} was never used"))?;
    }
    for function in ["/pf", "/vfs/0", "/vfs/1"] {
        check(number(&report, &format!("{function}/buffers"))? >= 4, format!("{function} moved no packets"))?;
    }
    Ok(())
}

/// The sector that Linux wrote is in the image of the first VF, and the second one's is as it was.
pub(crate) fn blk() -> Outcome {
    let report = report()?;
    clean(&report, &["/pf", "/vfs/0"])?;
    // What `out_of_reach` provoked: one kick for a ring that was there no more.
    check(number(&report, "/vfs/1/dma_faults")? == 1, format!("one DMA fault was expected: {report:#}"))?;
    check(number(&report, "/vfs/1/rings_broken")? == 1, "the ring did not break")?;
    let address = number(&report, "/vfs/1/last_dma_fault")?;
    check(address == IOVA, format!("the fault was at {address:#x}, not at the ring"))?;
    check(number(&report, "/commands/list_use")? > 0, "the list of commands was never chosen")?;
    let image = |name| env::var("HEIRLOOM_ORACLE_IMAGES").map(|folder| format!("{folder}/{name}")).map_err(text);
    let images = [image("vf0.img")?, image("vf1.img")?].map(|path| fs::read(path).map_err(text));
    let [first, second] = images;
    let (first, second) = (first?, second?);
    check(first.get(5 * 512..6 * 512) == Some(&[b'L'; 512][..]), "the first image lacks what Linux wrote")?;
    let original = |n: usize| ((7 * (n % 512)) as u8) ^ (n / 512) as u8;
    check((0..64 * 512).all(|n| second.get(n) == Some(&original(n))), "the read-only image has changed")?;
    let changed = (0..64 * 512).filter(|n| n / 512 != 5 && first.get(*n) != Some(&original(*n))).count();
    check(changed == 0, format!("{changed} bytes of other sectors have changed"))
}
