// SPDX-License-Identifier: Apache-2.0
//! Functions that the guest gets as they are: its modern driver works without exits.

use std::env;
use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tests::report::{check as checked, number};
use tests::sysfs::bind;

use crate::Outcome;
use crate::linux_guests::{STRESS, command_line, read_and_write};
use crate::rig::{self, TOKEN, address, check, linux, ours, reported, text};

/// Memory exits of a driver's life: the entries of a few MSI-X vectors.
const TABLE_ACCESSES: u64 = 60;

/// The guest's many requests made no exits by memory accesses.
pub(crate) fn few_memory_exits(report: &Value) -> Outcome {
    let vcpus = report["vcpus"].as_array().ok_or("no processors in the report")?;
    let mut exits = 0;
    for vcpu in vcpus {
        exits += number(&vcpu["mmio_read"])? + number(&vcpu["mmio_write"])?;
    }
    println!("{exits} memory exits for more than {STRESS} requests");
    checked(exits < TABLE_ACCESSES && TABLE_ACCESSES < STRESS, "memory accesses of the guest exit", report)
}

fn passthrough<'a>(report: &'a Value, irq: &str) -> Outcome<&'a Value> {
    let function = &report["passthrough"][0];
    checked(function["faulted"].is_null() && function["errors"] == 0, "errors", function)?;
    checked(number(&function["mapped_bytes"])? >= 4096, "no BAR is mapped into the guest", function)?;
    checked(function["interrupts"] == irq, "its interrupts", function)?;
    Ok(function)
}

/// QEMU's own virtio disk: neither end of this is ours.
pub(crate) fn qemu_disk(irq: &str) -> Outcome {
    let disk = address("disk")?;
    bind(&disk, "vfio-pci")?;
    let image = fs::read(env::var("HEIRLOOM_E2E_PLAIN_IMAGE").map_err(text)?).map_err(text)?;
    let digest: String = Sha256::digest(&image).iter().map(|b| format!("{b:02x}")).collect();
    let finished = linux(
        &format!("{} heirloom.stress={STRESS}", command_line(irq, false)),
        &format!("--device=vfio={disk},id=plain"),
    )?
    .expect_code(0)?
    .expect_output("HEIRLOOM-DONE ok")?
    .expect_output(&format!("sha256={digest}"))?
    .expect_output("bad-reads=0")?;
    check(finished.stdout.contains("legacy=no"), &finished)?;
    let report = reported()?;
    let function = passthrough(&report, irq)?;
    few_memory_exits(&report)?;
    if irq == "intx" {
        let exits = number(&function["reads"])? + number(&function["writes"])?;
        checked(exits == 0, "exits without an MSI-X table to write to", function)?;
    }
    Ok(())
}

/// A VF of the software PF as a modern function.
pub(crate) fn vf() -> Outcome {
    ours()?;
    let report =
        read_and_write(&format!("--device=vfio={},id=plain,token={TOKEN},mode=group", rig::vf(0)?), "msix", false)?;
    passthrough(&report, "msix")?;
    few_memory_exits(&report)
}
