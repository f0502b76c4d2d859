// SPDX-License-Identifier: Apache-2.0
//! A host in a temporary folder: sysfs with a PF, two VFs and a network card, `/dev`, `/proc`. Nothing reacts to what is
//! written there. For tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use devices::function::vfio::sysfs::Sysfs;
use devices::function::vfio::{Bdf, HostPaths};
use tempfile::TempDir;

use super::Host;

pub(crate) const PF: &str = "0000:41:00.0";
pub(crate) const VF1: &str = "0000:41:00.1";
pub(crate) const VF2: &str = "0000:41:00.2";
/// Without SR-IOV, in the PF's group where a test puts it there.
pub(crate) const CARD: &str = "0000:03:00.0";

pub(crate) struct Fixture(TempDir);

impl Fixture {
    /// A PF on virtio-pci without VFs, as after a boot.
    pub(crate) fn fresh() -> Self {
        let fixture = Self(TempDir::new().unwrap());
        for driver in ["vfio-pci", "virtio-pci", "virtio_vfio_pci", "e1000"] {
            fixture.write(&format!("sys/bus/pci/drivers/{driver}/unbind"), "");
            fixture.write(&format!("sys/bus/pci/drivers/{driver}/bind"), "");
        }
        fixture.write("sys/bus/pci/drivers_probe", "");
        fixture.write("sys/module/vfio_pci/parameters/enable_sriov", "N\n");
        fixture.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        for (node, text) in [("dev/vfio/vfio", ""), ("dev/iommu", ""), ("proc/cpuinfo", "vendor_id : GenuineIntel\n")] {
            fixture.write(node, text);
        }
        fixture.write("proc/self/status", "CapEff:\t0000000000000000\n");
        fixture.write("proc/cmdline", "root=/dev/sda1 intel_iommu=on\n");
        fixture.function(PF, 12);
        fixture.function(CARD, 3);
        fixture.bind(PF, "virtio-pci");
        fixture.bind(CARD, "e1000");
        let numbers = [("sriov_totalvfs", "8"), ("sriov_numvfs", "0"), ("sriov_drivers_autoprobe", "1")];
        for (name, text) in numbers.into_iter().chain([("sriov_offset", "1"), ("sriov_stride", "1")]) {
            fixture.set(PF, name, text);
        }
        fixture
    }

    /// The PF and two VFs on vfio-pci.
    pub(crate) fn prepared() -> Self {
        let fixture = Self::fresh();
        fixture.write("sys/module/vfio_pci/parameters/enable_sriov", "Y\n");
        fixture.set(PF, "sriov_numvfs", "2");
        for (number, vf) in [VF1, VF2].into_iter().enumerate() {
            fixture.function(vf, 13 + number as u32);
            symlink(format!("../{PF}"), fixture.device(vf).join("physfn")).unwrap();
            symlink(format!("../{vf}"), fixture.device(PF).join(format!("virtfn{number}"))).unwrap();
        }
        for bdf in [PF, VF1, VF2] {
            fixture.bind(bdf, "vfio-pci");
            fixture.set(bdf, "driver_override", "vfio-pci");
        }
        fixture
    }

    pub(crate) fn paths(&self) -> HostPaths {
        HostPaths { sysfs: Sysfs::at(self.path("sys")), dev: self.path("dev"), proc: self.path("proc") }
    }

    pub(crate) fn host(&self) -> Host {
        Host { paths: self.paths(), state: self.path("run"), modprobe: None, is_root: true }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(crate) fn device(&self, bdf: &str) -> PathBuf {
        self.path("sys/bus/pci/devices").join(bdf)
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        write(&self.path(below), text);
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap().trim().to_owned()
    }

    /// A file of a function.
    pub(crate) fn set(&self, bdf: &str, name: &str, text: impl AsRef<[u8]>) {
        let path = self.device(bdf).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn bind(&self, bdf: &str, driver: &str) {
        let link = self.device(bdf).join("driver");
        drop(fs::remove_file(&link));
        symlink(format!("../../drivers/{driver}"), link).unwrap();
    }

    pub(crate) fn group(&self, bdf: &str, group: u32) {
        self.no_group(bdf);
        symlink(format!("../../../../kernel/iommu_groups/{group}"), self.device(bdf).join("iommu_group")).unwrap();
        let members = self.path("sys/kernel/iommu_groups").join(group.to_string()).join("devices");
        fs::create_dir_all(&members).unwrap();
        drop(fs::remove_file(members.join(bdf)));
        symlink(format!("../../../../bus/pci/devices/{bdf}"), members.join(bdf)).unwrap();
        self.write(&format!("dev/vfio/{group}"), "");
    }

    pub(crate) fn no_group(&self, bdf: &str) {
        drop(fs::remove_file(self.device(bdf).join("iommu_group")));
    }

    /// A process that has a node open.
    pub(crate) fn process(&self, pid: u32, name: &str, node: &Path) {
        self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        let fd = self.path(&format!("proc/{pid}/fd"));
        fs::create_dir_all(&fd).unwrap();
        symlink(node, fd.join("7")).unwrap();
    }

    fn function(&self, bdf: &str, group: u32) {
        let ids = [("vendor", "0x1af4"), ("device", "0x1041"), ("subsystem_vendor", "0x1af4"), ("revision", "0x01")];
        for (name, text) in ids.into_iter().chain([("subsystem_device", "0x1100"), ("class", "0x020000")]) {
            self.set(bdf, name, text);
        }
        self.set(bdf, "driver_override", "(null)");
        let absent = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
        let bar2 = "0x0000000800000000 0x0000000800003fff 0x000000000014220c\n";
        self.set(bdf, "resource", [absent, absent, bar2, absent].concat());
        self.set(bdf, "config", config(Some(4)));
        self.group(bdf, group);
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Configuration space with or without an MSI-X capability.
pub(crate) fn config(vectors: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[6] = 0x10;
    bytes[0x34] = 0x40;
    bytes[0x40..0x42].copy_from_slice(&[0x09, 0x60]);
    bytes[0x60..0x62].copy_from_slice(&[if vectors.is_some() { 0x11 } else { 0x01 }, 0]);
    bytes[0x62..0x64].copy_from_slice(&vectors.map_or(0, |count| count - 1).to_le_bytes());
    bytes
}

pub(crate) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}
