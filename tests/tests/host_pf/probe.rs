// SPDX-License-Identifier: Apache-2.0
//! `heirloom probe` on PFs in each state.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use crate::host::{Snapshot, answer, group_node, heirloom, prepare, release, vf};
use crate::{Outcome, check, qemu, soft, text};

/// One line of a probe.
fn line<'a>(report: &'a Value, name: &str, function: Option<&str>) -> Outcome<&'a Value> {
    let checks = report["checks"].as_array().ok_or("no checks")?;
    let found = checks.iter().find(|line| line["name"] == name && line["function"].as_str() == function);
    found.ok_or_else(|| format!("no line {name} of {function:?} in {report:#}"))
}

fn expect(report: &Value, name: &str, function: Option<&str>, result: &str) -> Outcome {
    let line = line(report, name, function)?;
    check(line["result"] == result, format!("{result} was expected: {line:#}"))?;
    // Whoever is told that something fails is told what to do.
    check(result == "pass" || result == "unknown" || line["fix"].is_string(), format!("no fix: {line:#}"))
}

fn detail(report: &Value, name: &str, function: &str, says: &str) -> Outcome {
    let line = line(report, name, Some(function))?;
    check(line["detail"].as_str().is_some_and(|text| text.contains(says)), format!("'{says}' is not in {line:#}"))
}

pub(crate) fn before_and_after() -> Outcome {
    let (pf, other) = (soft()?, qemu()?);
    let before = Snapshot::take()?;
    let report = answer(&["probe", "--all"], 1)?;
    check(report["usable"] == false, "usable")?;
    for name in ["kvm", "iommu", "vfio_pci", "vfio_interface", "memlock"] {
        expect(&report, name, None, "pass")?;
    }
    for pf in [&pf, &other] {
        expect(&report, "pf", Some(pf), "pass")?;
        expect(&report, "pf_driver", Some(pf), "fail")?;
        expect(&report, "vfs", Some(pf), "fail")?;
    }
    before.still()?;
    for pf in [&pf, &other] {
        prepare(pf, &[])?;
    }
    let between = Snapshot::take()?;
    let report = answer(&["probe", "--all"], 0)?;
    for pf in [&pf, &other] {
        for name in ["pf_driver", "iommu_group", "vfio_node", "vfs", "enable_sriov", "in_use", "vf_token"] {
            expect(&report, name, Some(pf), "pass")?;
        }
        expect(&report, "admin_queue", Some(pf), "unknown")?;
        for vf in [vf(pf, 0)?, vf(pf, 1)?] {
            for name in ["vf", "vf_driver", "iommu_group", "vfio_node", "vf_bar0", "msix_vectors", "in_use"] {
                expect(&report, name, Some(&vf), "pass")?;
            }
            expect(&report, "queue_sizes", Some(&vf), "unknown")?;
        }
    }
    let text = heirloom(&["probe", "--vf", &vf(&pf, 1)?])?.expect_code(0)?;
    text.expect_output("usable: 0 failed")?;
    between.still()?;
    release(&pf)?;
    release(&other)?;
    before.still()
}

/// All that the software PF says of itself.
pub(crate) fn deep() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let between = Snapshot::take()?;
    // Twice: the PF is as before.
    for _ in 0..2 {
        let report = answer(&["probe", "--pf", &pf, "--deep"], 0)?;
        expect(&report, "admin_queue", Some(&pf), "pass")?;
        detail(&report, "admin_commands", &pf, "0x6 LEGACY_NOTIFY_INFO")?;
        for vf in [vf(&pf, 0)?, vf(&pf, 1)?] {
            detail(&report, "notify_info", &vf, "1 of 1 can be used; kicks go to the VF")?;
            detail(&report, "queue_sizes", &vf, "3 queues of 256, 256, 64 entries")?;
            expect(&report, "queue_sizes", Some(&vf), "pass")?;
        }
        between.still()?;
    }
    release(&pf)?;
    before.still()
}

pub(crate) fn no_admin_queue() -> Outcome {
    let pf = qemu()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let report = answer(&["probe", "--pf", &pf, "--deep"], 1)?;
    expect(&report, "admin_queue", Some(&pf), "fail")?;
    release(&pf)?;
    before.still()
}

pub(crate) fn in_use() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let (first, own) = (vf(&pf, 0)?, format!("process {} (host_pf)", std::process::id()));
    let open = |address: &str| OpenOptions::new().read(true).write(true).open(group_node(address)?).map_err(text);
    let held = open(&first)?;
    let report = answer(&["probe", "--pf", &pf, "--deep"], 1)?;
    expect(&report, "in_use", Some(&first), "fail")?;
    detail(&report, "in_use", &first, &own)?;
    expect(&report, "queue_sizes", Some(&first), "unknown")?;
    expect(&report, "queue_sizes", Some(&vf(&pf, 1)?), "pass")?;
    drop(held);
    let held = open(&pf)?;
    let report = answer(&["probe", "--pf", &pf, "--deep"], 1)?;
    detail(&report, "in_use", &pf, &own)?;
    detail(&report, "admin_queue", &pf, "in use")?;
    drop(held);
    release(&pf)?;
    before.still()
}

pub(crate) fn kernel() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &["--driver", "kernel"])?;
    let report = answer(&["probe", "--pf", &pf], 0)?;
    for name in ["pf_driver", "admin_queue"] {
        expect(&report, name, Some(&pf), "pass")?;
    }
    detail(&report, "pf_driver", &pf, "admin=kernel")?;
    expect(&report, "vf_driver", Some(&vf(&pf, 0)?), "pass")?;
    release(&pf)?;
    before.still()
}

/// Somebody who may open nothing is told so, line by line.
pub(crate) fn other_user() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let mut probe = Command::new(tests::binary()?);
    let output = probe.args(["probe", "--pf", &pf, "--json"]).uid(65534).gid(65534).output().map_err(text)?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))?;
    check(output.status.code() == Some(1), format!("{output:?}"))?;
    expect(&report, "memlock", None, "fail")?;
    expect(&report, "vfio_node", Some(&pf), "fail")?;
    expect(&report, "msix_vectors", Some(&vf(&pf, 0)?), "unknown")?;
    release(&pf)?;
    before.still()
}
