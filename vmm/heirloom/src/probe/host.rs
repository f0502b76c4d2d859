// SPDX-License-Identifier: Apache-2.0
//! The host: IOMMU, VFIO, and limits on memory. A software PF needs none of these, and is not asked for them.

use std::fs;
use std::path::Path;

use api::format_size;
use devices::function::vfio::HostPaths;
use rustix::process::{Resource, getrlimit};

use super::checks::Checks;
use super::nodes::usable;
use super::{ProbeRequest, Target};
use crate::pf::VFIO_PCI;

/// CAP_IPC_LOCK: VFIO takes no account of what such a process locks (Linux, drivers/vfio/vfio_iommu_type1.c).
const CAP_IPC_LOCK: u32 = 14;
/// What PFs lock for their queues, and more.
const RESERVE: u64 = 1 << 20;

pub(super) fn check(checks: &mut Checks, request: &ProbeRequest) {
    if matches!(request.target, Target::SoftBuiltin | Target::SoftSockets(_)) {
        return hugepages(checks, request);
    }
    let paths = &request.paths;
    let needed = request.target.is_hardware();
    iommu(checks, paths, needed);
    vfio(checks, paths, needed);
    iommufd(checks, paths);
    let limit = getrlimit(Resource::Memlock).current;
    memlock(checks, request, limit, is_capable(paths));
    hugepages(checks, request);
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// What only VFs of the host need is not a failure where none is asked about.
fn missing(checks: &mut Checks, needed: bool, name: &str, detail: &str, fix: &str) {
    if needed {
        checks.fail(name, detail, fix);
    } else {
        checks.warn(name, format!("{detail} (a software PF needs none)"), fix);
    }
}

fn iommu(checks: &mut Checks, paths: &HostPaths, needed: bool) {
    let groups = fs::read_dir(paths.sysfs.root().join("kernel/iommu_groups")).map_or(0, Iterator::count);
    let unsafe_mode = text(&paths.sysfs.root().join("module/vfio/parameters/enable_unsafe_noiommu_mode"));
    if groups > 0 && unsafe_mode != "Y" {
        return checks.pass("iommu", format!("{groups} IOMMU groups"));
    }
    if groups > 0 {
        let fix = "echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        let detail = format!(
            "{groups} IOMMU groups, but VFIO also takes devices without an IOMMU: those reach all of the host's memory"
        );
        return checks.warn("iommu", detail, fix);
    }
    let cpus = text(&paths.proc.join("cpuinfo"));
    let boot = text(&paths.proc.join("cmdline"));
    let said = |word: &str| boot.split_whitespace().any(|said| said == word);
    let (detail, fix) = if said("iommu=off") || said("intel_iommu=off") || said("amd_iommu=off") {
        (
            "no IOMMU groups: the IOMMU is switched off on the kernel command line",
            "remove iommu=off, intel_iommu=off or amd_iommu=off there, and boot again",
        )
    } else if cpus.contains("GenuineIntel") && said("intel_iommu=on") {
        (
            "no IOMMU groups, though intel_iommu=on is on the kernel command line",
            "switch VT-d on in the firmware; in a virtual machine, give it a virtual IOMMU",
        )
    } else if cpus.contains("GenuineIntel") {
        (
            "no IOMMU groups (Intel)",
            "switch VT-d on in the firmware, put intel_iommu=on on the kernel command line, and boot again",
        )
    } else {
        (
            "no IOMMU groups",
            "switch the IOMMU (AMD-Vi) on in the firmware, and boot again; 'dmesg | grep -i iommu' tells more",
        )
    };
    missing(checks, needed, "iommu", detail, fix);
}

fn vfio(checks: &mut Checks, paths: &HostPaths, needed: bool) {
    if paths.sysfs.driver_path(VFIO_PCI).exists() {
        checks.pass("vfio_pci", "the kernel has the driver vfio-pci");
    } else {
        missing(checks, needed, "vfio_pci", "the kernel has no driver vfio-pci now", "modprobe vfio-pci");
    }
}

/// Without it functions are opened by their group, which works as well.
fn iommufd(checks: &mut Checks, paths: &HostPaths) {
    let (iommufd, container) = (paths.dev.join("iommu"), paths.dev.join("vfio/vfio"));
    let by_user = |node: &Path| format!("{} cannot be opened by this user", node.display());
    match (usable(&iommufd), usable(&container)) {
        (Some(true), _) => checks.pass("vfio_interface", "functions are opened by character device and iommufd"),
        (Some(false), Some(true)) => {
            let detail = format!("{}; functions are opened by group", by_user(&iommufd));
            checks.warn(
                "vfio_interface",
                detail,
                format!("chown USER {}, if character devices are wanted", iommufd.display()),
            );
        }
        (None, Some(true)) => checks.pass("vfio_interface", "no /dev/iommu; functions are opened by group"),
        (iommufd_there, Some(false)) => {
            let node = if iommufd_there.is_some() { &iommufd } else { &container };
            checks.fail(
                "vfio_interface",
                by_user(node),
                format!("chmod 666 {} (a function needs its own node as well)", node.display()),
            );
        }
        (_, None) => checks.unknown(
            "vfio_interface",
            "neither /dev/iommu nor /dev/vfio/vfio is there",
            Some("modprobe vfio-pci"),
        ),
    }
}

/// Whether locked memory is unlimited for this process.
fn is_capable(paths: &HostPaths) -> bool {
    let status = text(&paths.proc.join("self/status"));
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_IPC_LOCK & 1 != 0)
}

pub(super) fn memlock(checks: &mut Checks, request: &ProbeRequest, limit: Option<u64>, capable: bool) {
    let memory = format_size(request.memory);
    let limit = match limit {
        None => return checks.pass("memlock", "no limit on locked memory"),
        Some(_) if capable => return checks.pass("memlock", "this process may lock any amount (CAP_IPC_LOCK)"),
        Some(limit) => limit,
    };
    let detail =
        format!("{} of memory may be locked; a guest of {memory} has to be locked as a whole", format_size(limit));
    if limit >= request.memory.saturating_add(RESERVE) {
        checks.pass("memlock", detail);
    } else {
        let fix = format!(
            "ulimit -l {}; LimitMEMLOCK=infinity in a systemd unit",
            request.memory.saturating_add(RESERVE) >> 10
        );
        missing(checks, request.target.is_hardware(), "memlock", &detail, &fix);
    }
}

fn hugepages(checks: &mut Checks, request: &ProbeRequest) {
    let root = request.paths.sysfs.root().join("kernel/mm");
    let free = text(&root.join("hugepages/hugepages-2048kB/free_hugepages")).parse::<u64>().unwrap_or(0);
    let transparent = text(&root.join("transparent_hugepage/enabled"));
    let wanted = request.memory.div_ceil(2 << 20);
    let transparent_on = !transparent.is_empty() && !transparent.contains("[never]");
    let fix = format!(
        "echo {wanted} > /proc/sys/vm/nr_hugepages, and --memory SIZE,hugepages=on; or echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
    );
    match (free >= wanted, transparent_on) {
        (true, _) => checks.pass("hugepages", format!("{free} pages of 2 MiB are free, {wanted} are enough")),
        (false, true) => checks.pass("hugepages", format!("{free} pages of 2 MiB are free; transparent huge pages are on")),
        (false, false) => checks.warn("hugepages", format!("{free} pages of 2 MiB are free, {wanted} would do, and transparent ones are off: DMA mapping takes long"), fix),
    }
}
