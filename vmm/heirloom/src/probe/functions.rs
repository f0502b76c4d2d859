// SPDX-License-Identifier: Apache-2.0
//! PFs and VFs of this host, as sysfs shows them. With `deep`, PFs are handed on to be opened.

use std::num::NonZeroU16;

use devices::function::vfio::Bdf;
use devices::function::vfio::sysfs::{PciIds, Sysfs, SysfsError, SysfsFunction};
use devices::spec::virtio::feature;
use devices::transitional::VIRTIO_VENDOR_ID;

use super::checks::{Checks, chain};
use super::common::{Route, iommu_group, kind};
use super::deep::{self, Member};
use super::{ProbeRequest, vf};
use crate::pf::{VFIO_PCI, VIRTIO_PCI, VIRTIO_VFIO_PCI, users};

/// What is said of that which only an open PF tells.
pub(super) const NOT_DEEP: &str = "not checked: only the PF can tell, and it would have to be opened";
/// How to have it looked at.
pub(super) const DEEP: &str = "add --deep, which opens the PF and resets it";

/// A VF and its PF.
pub(super) fn vf_and_pf(checks: &mut Checks, request: &ProbeRequest, vf: Bdf) {
    let sysfs = &request.paths.sysfs;
    match sysfs.function(vf).and_then(|function| function.member_id()) {
        Ok(Some((pf, number))) => group(checks, request, pf, &[(number, vf)]),
        Ok(None) => {
            checks.about(vf);
            checks.fail(
                "vf",
                "it is not a virtual function, or its PF does not list it",
                "name a VF; heirloom probe --all shows them",
            );
        }
        Err(error) => {
            checks.about(vf);
            checks.fail("vf", chain(&error), "lspci -D lists functions; heirloom pf prepare makes VFs");
        }
    }
}

/// A PF and its VFs.
pub(super) fn pf_and_vfs(checks: &mut Checks, request: &ProbeRequest, pf: Bdf) {
    match request.paths.sysfs.function(pf).and_then(|function| function.virtfns()) {
        Ok(vfs) => group(checks, request, pf, &vfs),
        Err(error) => {
            checks.about(pf);
            checks.fail("pf", chain(&error), "lspci -D lists functions");
        }
    }
}

/// All virtio PFs.
pub(super) fn all(checks: &mut Checks, request: &ProbeRequest) {
    let pfs = match virtio_pfs(&request.paths.sysfs) {
        Ok(pfs) => pfs,
        Err(error) => return checks.unknown("pf", chain(&error), None),
    };
    if pfs.is_empty() {
        let fix = "switch SR-IOV on in the firmware of machine and card; heirloom probe --soft-pf builtin looks at the software PF";
        checks.fail("pf", "no virtio function on this host can have VFs", fix);
    }
    for pf in pfs {
        pf_and_vfs(checks, request, pf);
    }
}

fn virtio_pfs(sysfs: &Sysfs) -> Result<Vec<Bdf>> {
    let mut found = Vec::new();
    for bdf in sysfs.functions()? {
        let function = sysfs.function(bdf)?;
        if function.ids()?.vendor == VIRTIO_VENDOR_ID && function.sriov()?.is_some() {
            found.push(bdf);
        }
    }
    Ok(found)
}

fn group(checks: &mut Checks, request: &ProbeRequest, pf: Bdf, vfs: &[(NonZeroU16, Bdf)]) {
    checks.about(pf);
    let (route, idle) = match look_at_pf(checks, request, pf, vfs) {
        Ok(found) => found,
        Err(error) => return checks.unknown("pf", chain(&error), None),
    };
    let mut members = Vec::new();
    for &(number, vf) in vfs {
        checks.about(vf);
        match vf::look(checks, request, number, vf, route) {
            Ok(member) => members.push(member),
            Err(error) => checks.unknown("vf", chain(&error), None),
        }
    }
    match route {
        Route::Heirloom if request.deep && idle => deep::host_pf(checks, request, pf, &members),
        _ => not_deep(checks, request, pf, route, &members),
    }
}

/// Says why a PF was not opened.
fn not_deep(checks: &mut Checks, request: &ProbeRequest, pf: Bdf, route: Route, members: &[Member]) {
    let (why, fix) = match route {
        Route::Kernel => ("the kernel runs administration commands and does not tell", None),
        Route::Heirloom if request.deep => ("the PF is in use", Some("end its user, or ask that")),
        Route::Heirloom => (NOT_DEEP, Some(DEEP)),
        Route::Neither => ("the PF is not bound to vfio-pci", Some("heirloom pf prepare, then heirloom probe --deep")),
    };
    checks.about(pf);
    if route == Route::Kernel {
        kernel_features(checks, request, pf);
    } else {
        checks.unknown("admin_queue", why, fix);
    }
    checks.unknown("admin_commands", why, fix);
    for member in members {
        checks.about(&member.name);
        checks.unknown("notify_info", why, fix);
        checks.unknown("queue_sizes", why, fix);
    }
}

/// Whether sysfs' row of digits, feature 0 at its left end, has this feature.
fn is_agreed(digits: &[u8], feature: u64) -> bool {
    digits.get(feature.trailing_zeros() as usize) == Some(&b'1')
}

/// The kernel shows what its driver and the device agreed on.
fn kernel_features(checks: &mut Checks, request: &ProbeRequest, pf: Bdf) {
    const NEEDED: [(u64, &str); 2] = [(feature::SR_IOV, "SR_IOV"), (feature::ADMIN_VQ, "ADMIN_VQ")];
    let folder = request.paths.sysfs.root().join("bus/pci/devices").join(pf.to_string());
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let features = entries.filter_map(|entry| std::fs::read(entry.path().join("features")).ok()).next();
    let Some(features) = features else {
        return checks.unknown(
            "admin_queue",
            "the PF shows no virtio features",
            Some("is virtio-pci bound, and its driver running?"),
        );
    };
    let missing: Vec<_> = NEEDED.iter().filter(|(bit, _)| !is_agreed(&features, *bit)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        checks.pass("admin_queue", "the kernel and the device agreed on ADMIN_VQ and SR_IOV");
    } else {
        let fix = "switch it on in the device's firmware; use Linux 6.8 or later";
        checks.fail(
            "admin_queue",
            format!("the kernel and the device did not agree on {}", missing.join(" and ")),
            fix,
        );
    }
}

type Result<T> = std::result::Result<T, SysfsError>;

fn pf_identity(checks: &mut Checks, ids: &PciIds) {
    if ids.vendor == VIRTIO_VENDOR_ID {
        checks.pass("pf", format!("{} ({:04x}:{:04x}) with SR-IOV", kind(ids.device), ids.vendor, ids.device));
    } else {
        checks.fail(
            "pf",
            format!("no virtio function ({:04x}:{:04x})", ids.vendor, ids.device),
            "name the virtio PF of the card",
        );
    }
}

/// The PF itself; says whether it may be opened.
fn look_at_pf(
    checks: &mut Checks,
    request: &ProbeRequest,
    pf: Bdf,
    vfs: &[(NonZeroU16, Bdf)],
) -> Result<(Route, bool)> {
    let sysfs = &request.paths.sysfs;
    let function = sysfs.function(pf)?;
    let ids = function.ids()?;
    let Some(counts) = function.sriov()? else {
        checks.fail(
            "pf",
            "it cannot have VFs (no SR-IOV)",
            "name a PF; switch SR-IOV on in the firmware of machine and card",
        );
        return Ok((Route::Neither, false));
    };
    pf_identity(checks, &ids);
    let route = pf_driver(checks, &function, vfs, sysfs)?;
    if route != Route::Kernel {
        iommu_group(checks, request, &function)?;
    }
    if counts.enabled == 0 {
        checks.fail(
            "vfs",
            format!("0 of {} VFs are enabled", counts.total),
            format!("heirloom pf prepare {pf} --vfs N"),
        );
    } else {
        checks.pass("vfs", format!("{} of {} VFs are enabled", counts.enabled, counts.total));
    }
    if route == Route::Heirloom {
        enable_sriov(checks, request, counts.enabled);
    }
    let by = users(&request.paths, pf)?;
    match (by.is_empty(), route) {
        (true, _) => checks.pass("in_use", "by nobody that this user can see"),
        // The kernel's PF may be a network card of the host besides.
        (false, Route::Kernel) => checks.pass("in_use", by.join("; ")),
        (false, _) => checks.fail(
            "in_use",
            by.join("; "),
            "one process at a time can have a PF: end that, or give its guest the other VFs",
        ),
    }
    if route == Route::Heirloom {
        checks.pass(
            "vf_token",
            "PF and VFs are opened with one token: token=UUID for all of them, or none, and heirloom makes one up",
        );
    }
    Ok((route, by.is_empty()))
}

fn pf_driver(checks: &mut Checks, pf: &SysfsFunction, vfs: &[(NonZeroU16, Bdf)], sysfs: &Sysfs) -> Result<Route> {
    let driver = pf.driver()?;
    let mut all_kernel = !vfs.is_empty();
    for (_, vf) in vfs {
        all_kernel &= sysfs.function(*vf)?.driver()?.as_deref() == Some(VIRTIO_VFIO_PCI);
    }
    Ok(match driver.as_deref() {
        Some(VFIO_PCI) => {
            checks.pass("pf_driver", "vfio-pci");
            Route::Heirloom
        }
        Some(VIRTIO_PCI) if all_kernel => {
            checks.pass("pf_driver", "virtio-pci, with all VFs on virtio_vfio_pci: admin=kernel");
            Route::Kernel
        }
        other => {
            let detail = format!("bound to {}, not to vfio-pci", other.unwrap_or("no driver"));
            checks.fail("pf_driver", detail, format!("heirloom pf prepare {} --vfs N", pf.bdf()));
            Route::Neither
        }
    })
}

fn enable_sriov(checks: &mut Checks, request: &ProbeRequest, enabled: u16) {
    let path = request.paths.sysfs.root().join("module/vfio_pci/parameters/enable_sriov");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let fix = format!("echo Y > {}; heirloom pf prepare does it", path.display());
    match text.trim() {
        "Y" | "1" => checks.pass("enable_sriov", "VFs may be enabled while vfio-pci has their PF"),
        "N" | "0" if enabled == 0 => checks.fail("enable_sriov", "vfio-pci does not let VFs be enabled", fix),
        "N" | "0" => {
            checks.warn("enable_sriov", "vfio-pci does not let VFs be enabled; these were enabled before", fix)
        }
        _ => checks.unknown("enable_sriov", format!("cannot read {}", path.display()), Some("modprobe vfio-pci")),
    }
}
