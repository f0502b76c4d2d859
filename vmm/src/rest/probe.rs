// SPDX-License-Identifier: Apache-2.0
//! What `host.probe` can say without a PCI function: KVM and limits of this process. Looks, changes nothing.

use std::fs;
use std::path::Path;

use api::types::{ProbeCheck, ProbeReport, ProbeResult};
use rustix::process::{Resource, getrlimit};

use crate::kvm::Vm;

/// All checks.
pub fn host() -> ProbeReport {
    let checks = vec![kvm(), iommu(), memlock(), hugepages()];
    ProbeReport { usable: checks.iter().all(|check| check.result != ProbeResult::Fail), checks }
}

fn check(name: &str, result: ProbeResult, detail: impl Into<String>, fix: Option<&str>) -> ProbeCheck {
    ProbeCheck { name: name.to_owned(), result, detail: detail.into(), fix: fix.map(str::to_owned) }
}

/// A machine without memory and processors needs all that KVM must have.
fn kvm() -> ProbeCheck {
    match Vm::new() {
        Ok(_) => check("kvm", ProbeResult::Pass, "/dev/kvm can be used", None),
        Err(error) => {
            let fix = "load kvm_intel or kvm_amd, and join the group that owns /dev/kvm";
            check("kvm", ProbeResult::Fail, error.to_string(), Some(fix))
        }
    }
}

/// The software PF needs none, so its absence is no failure.
fn iommu() -> ProbeCheck {
    match fs::read_dir("/sys/class/iommu").map(Iterator::count) {
        Ok(0) | Err(_) => {
            let fix = "switch the IOMMU on in the firmware and boot with intel_iommu=on; the software PF needs none";
            check("iommu", ProbeResult::Unknown, "the kernel shows no IOMMU", Some(fix))
        }
        Ok(count) => check("iommu", ProbeResult::Pass, format!("{count} in /sys/class/iommu"), None),
    }
}

/// Passed-through functions pin guest memory; the software PF does not.
fn memlock() -> ProbeCheck {
    match getrlimit(Resource::Memlock).current {
        None => check("memlock", ProbeResult::Pass, "no limit of locked memory", None),
        Some(bytes) => {
            let detail = format!("{} of memory may be locked", api::format_size(bytes));
            let fix = "raise it with 'ulimit -l' before a function is passed through; the software PF needs none";
            check("memlock", ProbeResult::Unknown, detail, Some(fix))
        }
    }
}

fn hugepages() -> ProbeCheck {
    match fs::read_to_string(Path::new("/sys/kernel/mm/transparent_hugepage/enabled")) {
        Ok(text) if text.contains("[never]") => {
            let fix = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, for speed";
            check("hugepages", ProbeResult::Unknown, "transparent huge pages are off", Some(fix))
        }
        Ok(_) => check("hugepages", ProbeResult::Pass, "transparent huge pages can be had", None),
        Err(error) => check("hugepages", ProbeResult::Unknown, format!("cannot be found out: {error}"), None),
    }
}
