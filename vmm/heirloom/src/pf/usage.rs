// SPDX-License-Identifier: Apache-2.0
//! Who uses a PCI function: processes that have its VFIO nodes open, network interfaces that are up, disks that are
//! mounted. It reads sysfs and `/proc`; the one device that it opens is a disk, to ask whether it can be opened exclusively.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use devices::function::vfio::sysfs::SysfsError;
use devices::function::vfio::{Bdf, HostPaths, holders, is_vfio_driver};

/// `IFF_UP` of an interface's flags (Linux, include/uapi/linux/if.h).
const IFF_UP: u32 = 1;

/// Who uses `bdf`, one line each with what to do; empty if nobody is known to.
///
/// # Errors
/// When sysfs cannot be read.
pub(crate) fn users(paths: &HostPaths, bdf: Bdf) -> Result<Vec<String>, SysfsError> {
    let function = paths.sysfs.function(bdf)?;
    let mut found = Vec::new();
    if function.driver()?.is_some_and(|driver| is_vfio_driver(&driver)) {
        let cdev = function.vfio_cdev()?.map(|name| paths.dev.join("vfio/devices").join(name));
        let group = function.iommu_group()?.map(|group| paths.dev.join("vfio").join(group.id.to_string()));
        for node in [group, cdev].into_iter().flatten() {
            found.extend(
                holders(&paths.proc, &node)
                    .iter()
                    .map(|holder| format!("{holder} has {} open: end it", node.display())),
            );
        }
    }
    for interface in of_class(function.path(), "net") {
        found.extend(network(&interface));
    }
    for disk in of_class(function.path(), "block") {
        found.extend(block(paths, &disk));
    }
    Ok(found)
}

/// Devices of a class that belong to the function at `device`, directly or as its virtio device.
fn of_class(device: &Path, class: &str) -> Vec<PathBuf> {
    let virtio = entries(device).into_iter().filter(|path| name(path).starts_with("virtio"));
    let mut found: Vec<PathBuf> = virtio.chain([device.to_owned()]).flat_map(|at| entries(&at.join(class))).collect();
    found.sort();
    found
}

fn network(interface: &Path) -> Option<String> {
    let name = name(interface);
    if let Ok(master) = fs::read_link(interface.join("master")) {
        let master = self::name(&master);
        return Some(format!("network interface {name} is part of {master}: ip link set {name} nomaster"));
    }
    let flags = text(&interface.join("flags"));
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    (flags & IFF_UP != 0).then(|| format!("network interface {name} is up: ip link set {name} down"))
}

/// Uses of a disk and its partitions.
fn block(paths: &HostPaths, disk: &Path) -> Vec<String> {
    let partitions = entries(disk).into_iter().filter(|path| path.join("partition").exists());
    let parts: Vec<PathBuf> = [disk.to_owned()].into_iter().chain(partitions).collect();
    let mounts = text(&paths.proc.join("self/mountinfo"));
    let swaps = text(&paths.proc.join("swaps"));
    let mut found = Vec::new();
    for part in &parts {
        let (name, number) = (name(part), text(&part.join("dev")));
        let node = paths.dev.join(&name);
        // The third field is the device's number, the fifth where it is mounted.
        let mount =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&number.as_str()));
        if let Some(at) = mount.and_then(|fields| fields.get(4).map(|at| (*at).to_owned())) {
            found.push(format!("disk {name} is mounted at {at}: umount {at}"));
        }
        let node_text = node.display().to_string();
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(node_text.as_str())) {
            found.push(format!("disk {name} is swapped to: swapoff {node_text}"));
        }
        for holder in entries(&part.join("holders")) {
            found.push(format!("disk {name} is part of {}: take it out of there", self::name(&holder)));
        }
        found.extend(holders(&paths.proc, &node).iter().map(|holder| format!("{holder} has disk {name} open: end it")));
    }
    // Mounts of other namespaces are seen by nobody but the kernel.
    if found.is_empty() && is_claimed(&paths.dev.join(name(disk))) {
        found.push(format!("disk {} is claimed, perhaps mounted in another namespace: unmount it there", name(disk)));
    }
    found
}

/// Whether the kernel refuses to give the disk to somebody alone: it, or a part of it, is mounted or held.
fn is_claimed(node: &Path) -> bool {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_EXCL | libc::O_NONBLOCK).open(node);
    open.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}
