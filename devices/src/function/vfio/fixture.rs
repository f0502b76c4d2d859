// SPDX-License-Identifier: Apache-2.0
//! A sysfs tree in a temporary folder, as Linux shows a PF with two VFs and a function without
//! SR-IOV. For tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::bdf::Bdf;
use super::sysfs::Sysfs;

pub(super) const PF: &str = "0000:41:00.0";
pub(super) const VF1: &str = "0000:41:00.1";
pub(super) const VF2: &str = "0000:41:00.2";
pub(super) const PLAIN: &str = "0000:03:00.0";

/// The tree; also a `/dev` and a `/proc`.
pub(super) struct Fixture {
    pub(super) root: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let fixture = Self { root: TempDir::new().unwrap() };
        for folder in ["sys/bus/pci/devices", "sys/kernel/iommu_groups", "dev/vfio/devices", "proc"] {
            fs::create_dir_all(fixture.path(folder)).unwrap();
        }
        for driver in ["vfio-pci", "virtio-pci", "pcieport", "virtio_vfio_pci"] {
            fs::create_dir_all(fixture.path("sys/bus/pci/drivers").join(driver)).unwrap();
        }
        fixture.function(PF, "0x1041", Some(12));
        fixture.write(PF, "sriov_totalvfs", "8\n");
        fixture.write(PF, "sriov_numvfs", "2\n");
        fixture.write(PF, "sriov_drivers_autoprobe", "0\n");
        for (number, vf) in [VF1, VF2].into_iter().enumerate() {
            fixture.function(vf, "0x1041", Some(13 + number as u32));
            symlink(format!("../{PF}"), fixture.device(vf).join("physfn")).unwrap();
            symlink(format!("../{vf}"), fixture.device(PF).join(format!("virtfn{number}"))).unwrap();
        }
        fixture.function(PLAIN, "0x1042", None);
        fixture
    }

    pub(super) fn sysfs(&self) -> Sysfs {
        Sysfs::at(self.path("sys"))
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub(super) fn device(&self, bdf: &str) -> PathBuf {
        self.path("sys/bus/pci/devices").join(bdf)
    }

    pub(super) fn write(&self, bdf: &str, name: &str, text: &str) {
        fs::write(self.device(bdf).join(name), text).unwrap();
    }

    pub(super) fn bind(&self, bdf: &str, driver: &str) {
        let link = self.device(bdf).join("driver");
        drop(fs::remove_file(&link));
        symlink(format!("../../drivers/{driver}"), link).unwrap();
    }

    /// Puts a function into a group, which may have members already.
    pub(super) fn group(&self, bdf: &str, group: u32) {
        let link = self.device(bdf).join("iommu_group");
        drop(fs::remove_file(&link));
        symlink(format!("../../../../kernel/iommu_groups/{group}"), link).unwrap();
        let members = self.path("sys/kernel/iommu_groups").join(group.to_string()).join("devices");
        fs::create_dir_all(&members).unwrap();
        symlink(format!("../../../../bus/pci/devices/{bdf}"), members.join(bdf)).unwrap();
    }

    pub(super) fn cdev(&self, bdf: &str, name: &str) {
        let folder = self.device(bdf).join("vfio-dev").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("dev"), "511:0\n").unwrap();
    }

    fn function(&self, bdf: &str, device_id: &str, group: Option<u32>) {
        fs::create_dir(self.device(bdf)).unwrap();
        let files = [
            ("vendor", "0x1af4\n"),
            ("device", device_id),
            ("subsystem_vendor", "0x1af4\n"),
            ("subsystem_device", "0x1100\n"),
            ("class", "0x020000\n"),
            ("revision", "0x01\n"),
            ("driver_override", "(null)\n"),
            ("numa_node", "-1\n"),
            (
                "resource",
                "0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                 0x00000000fe800000 0x00000000fe800fff 0x0000000000040200\n\
                 0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                 0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                 0x0000000800000000 0x0000000800003fff 0x000000000014220c\n",
            ),
        ];
        files.iter().for_each(|(name, text)| self.write(bdf, name, text));
        if let Some(group) = group {
            self.group(bdf, group);
        }
    }
}

pub(super) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}
