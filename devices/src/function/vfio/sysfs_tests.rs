// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::function::vfio::fixture::{Fixture, PF, PLAIN, VF1, VF2, bdf};

fn member(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

#[test]
fn functions_and_identity() {
    let fixture = Fixture::new();
    let sysfs = fixture.sysfs();
    assert_eq!(sysfs.functions().unwrap(), [PLAIN, PF, VF1, VF2].map(bdf));
    let ids = sysfs.function(bdf(PLAIN)).unwrap().ids().unwrap();
    assert_eq!((ids.vendor, ids.device, ids.class, ids.revision), (0x1af4, 0x1042, 0x02_0000, 1));
    assert_eq!(ids.subsystem, (0x1af4, 0x1100));
    assert!(matches!(sysfs.function(bdf("0000:99:00.0")), Err(SysfsError::NoSuchFunction { .. })));
}

#[test]
fn drivers() {
    let fixture = Fixture::new();
    let function = fixture.sysfs().function(bdf(VF1)).unwrap();
    assert_eq!(function.driver().unwrap(), None);
    assert_eq!(function.driver_override().unwrap(), None);
    fixture.bind(VF1, "vfio-pci");
    fixture.write(VF1, "driver_override", "vfio-pci\n");
    assert_eq!(function.driver().unwrap().as_deref(), Some("vfio-pci"));
    assert_eq!(function.driver_override().unwrap().as_deref(), Some("vfio-pci"));
}

#[test]
fn iommu_groups() {
    let fixture = Fixture::new();
    let sysfs = fixture.sysfs();
    assert_eq!(sysfs.function(bdf(PLAIN)).unwrap().iommu_group().unwrap(), None);
    fixture.group(PLAIN, 13);
    let group = sysfs.function(bdf(VF1)).unwrap().iommu_group().unwrap().unwrap();
    assert_eq!((group.id, group.name), (13, None));
    assert_eq!(group.members, [PLAIN, VF1].map(bdf));
    std::fs::write(fixture.path("sys/kernel/iommu_groups/13/name"), "vfio-noiommu\n").unwrap();
    let group = sysfs.function(bdf(VF1)).unwrap().iommu_group().unwrap().unwrap();
    assert_eq!(group.name.as_deref(), Some("vfio-noiommu"));
}

#[test]
fn a_pf_and_its_vfs() {
    let fixture = Fixture::new();
    let sysfs = fixture.sysfs();
    let (pf, vf) = (sysfs.function(bdf(PF)).unwrap(), sysfs.function(bdf(VF2)).unwrap());
    assert_eq!(pf.sriov().unwrap(), Some(SriovCounts { total: 8, enabled: 2 }));
    assert_eq!(pf.sriov_drivers_autoprobe().unwrap(), Some(false));
    assert_eq!(pf.virtfns().unwrap(), [(member(1), bdf(VF1)), (member(2), bdf(VF2))]);
    assert_eq!((pf.physfn().unwrap(), pf.member_id().unwrap()), (None, None));
    assert_eq!(vf.physfn().unwrap(), Some(bdf(PF)));
    assert_eq!(vf.member_id().unwrap(), Some((bdf(PF), member(2))));
    assert_eq!(vf.sriov().unwrap(), None);
}

#[test]
fn more_than_nine_vfs_are_in_order() {
    let fixture = Fixture::new();
    for number in [10, 2] {
        let link = fixture.device(PF).join(format!("virtfn{number}"));
        std::os::unix::fs::symlink(format!("../0000:41:01.{}", number % 8), link).unwrap();
    }
    let members: Vec<u16> =
        fixture.sysfs().function(bdf(PF)).unwrap().virtfns().unwrap().iter().map(|(m, _)| m.get()).collect();
    assert_eq!(members, [1, 2, 3, 11]);
}

#[test]
fn character_device_only_where_the_kernel_has_them() {
    let fixture = Fixture::new();
    let function = fixture.sysfs().function(bdf(VF1)).unwrap();
    assert_eq!(function.vfio_cdev().unwrap(), None);
    std::fs::create_dir_all(fixture.device(VF1).join("vfio-dev/vfio3")).unwrap();
    assert_eq!(function.vfio_cdev().unwrap(), None, "a kernel without VFIO_DEVICE_CDEV");
    fixture.cdev(VF1, "vfio3");
    assert_eq!(function.vfio_cdev().unwrap().as_deref(), Some("vfio3"));
}

#[test]
fn numbers_that_may_be_missing_or_wrong() {
    let fixture = Fixture::new();
    let function = fixture.sysfs().function(bdf(VF1)).unwrap();
    assert_eq!(function.numa_node().unwrap(), None, "-1");
    fixture.write(VF1, "numa_node", "1\n");
    assert_eq!(function.numa_node().unwrap(), Some(1));
    fixture.write(VF1, "class", "2\n");
    let error = function.ids().unwrap_err();
    assert!(error.to_string().contains("class says \"2\""), "{error}");
}

#[test]
fn resources() {
    let fixture = Fixture::new();
    let resources = fixture.sysfs().function(bdf(VF1)).unwrap().resources().unwrap();
    assert_eq!(resources.len(), 5);
    assert_eq!(resources[0], None);
    assert_eq!(resources[4].map(|r| (r.start, r.end)), Some((0x8_0000_0000, 0x8_0000_3fff)));
}
