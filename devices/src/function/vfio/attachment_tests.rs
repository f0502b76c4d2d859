// SPDX-License-Identifier: Apache-2.0
//! What can be told without a device: the errors before a node is opened, on a tree of our own.

use super::*;
use crate::function::vfio::fixture::{Fixture, PF, PLAIN, VF1, VF2, bdf};
use crate::function::vfio::preflight::preflight;
use crate::function::vfio::{HostPaths, VfioFunction};

fn options(fixture: &Fixture, function: &str) -> OpenOptions {
    let paths = HostPaths { sysfs: fixture.sysfs(), dev: fixture.path("dev"), proc: fixture.path("proc") };
    OpenOptions { paths, ..OpenOptions::new(bdf(function)) }
}

fn open(options: &OpenOptions) -> OpenError {
    let space = DmaSpace::new(None);
    let error = VfioFunction::open(&space, options).unwrap_err();
    assert_eq!((space.mode(), space.mapped()), (None, 0), "nothing stays behind");
    error
}

#[test]
fn a_function_with_another_driver() {
    let fixture = Fixture::new();
    let error = open(&options(&fixture, VF1)).to_string();
    assert!(error.starts_with("0000:41:00.1 is bound to no driver, not to vfio-pci: "), "{error}");
    fixture.bind(VF1, "virtio-pci");
    let error = open(&options(&fixture, VF1)).to_string();
    assert!(error.starts_with("0000:41:00.1 is bound to virtio-pci, not to vfio-pci: "), "{error}");
}

#[test]
fn without_an_iommu() {
    let fixture = Fixture::new();
    assert!(matches!(open(&options(&fixture, PLAIN)), OpenError::IommuOff { .. }));
    fixture.bind(PLAIN, "vfio-pci");
    assert!(matches!(open(&options(&fixture, PLAIN)), OpenError::IommuOff { .. }));
    fixture.group(PLAIN, 0);
    std::fs::write(fixture.path("sys/kernel/iommu_groups/0/name"), "vfio-noiommu\n").unwrap();
    assert!(matches!(open(&options(&fixture, PLAIN)), OpenError::NoIommu { .. }));
    assert!(matches!(open(&options(&fixture, "0000:99:00.0")), OpenError::Sysfs(_)));
}

#[test]
fn members_that_the_host_uses_are_named() {
    let fixture = Fixture::new();
    fixture.bind(VF1, "vfio-pci");
    fixture.group(PLAIN, 13);
    fixture.bind(PLAIN, "virtio-pci");
    let found = preflight(&options(&fixture, VF1).paths, bdf(VF1)).unwrap();
    assert_eq!(found.nodes.blockers, [(bdf(PLAIN), "virtio-pci".to_owned())]);
    let error = OpenError::NotViable { bdf: found.bdf, group: 13, blockers: found.nodes.blockers }.to_string();
    assert!(error.contains("group 13 of 0000:41:00.1") && error.contains("(0000:03:00.0 by virtio-pci)"), "{error}");
    for harmless in ["pcieport", "vfio-pci", "virtio_vfio_pci"] {
        fixture.bind(PLAIN, harmless);
        assert_eq!(preflight(&options(&fixture, VF1).paths, bdf(VF1)).unwrap().nodes.blockers, []);
    }
}

#[test]
fn nodes_that_are_missing() {
    let fixture = Fixture::new();
    fixture.bind(VF1, "vfio-pci");
    let mut options = options(&fixture, VF1);
    let error = open(&options).to_string();
    assert!(error.contains("dev/vfio/vfio does not exist: load the module"), "{error}");
    options.mode = Mode::Cdev;
    assert!(matches!(open(&options), OpenError::NoCdev { .. }));
    fixture.cdev(VF1, "vfio0");
    let error = open(&options).to_string();
    assert!(error.contains("dev/vfio/devices/vfio0 does not exist"), "{error}");
}

#[test]
fn what_is_no_container_for_us() {
    let fixture = Fixture::new();
    fixture.bind(VF1, "vfio-pci");
    let options = options(&fixture, VF1);
    let (space, found) = (DmaSpace::new(None), preflight(&options.paths, bdf(VF1)).unwrap());
    let attaching = Attaching { space: &space, paths: &options.paths, found: &found, token: None };
    let text = |error| attaching.no_container(error).to_string();
    let missing = io::Error::from_raw_os_error(libc::ENOENT);
    assert!(text(VfioError::OpenContainer(missing)).starts_with("/dev/vfio/vfio does not exist: load the module"));
    // What a node answers that is not a container: the crate takes any answer but 0 for a version.
    assert!(text(VfioError::VfioApiVersion).contains("another API version"));
    assert!(text(VfioError::VfioExtension).contains("is module vfio_iommu_type1 loaded?"));
    assert!(matches!(attaching.no_container(VfioError::VfioInvalidType), OpenError::Call { .. }));
}

#[test]
fn a_token_is_for_vfs_of_a_pf_in_user_space() {
    let fixture = Fixture::new();
    fixture.bind(VF2, "vfio-pci");
    fixture.bind(PF, "virtio-pci");
    let mut options = options(&fixture, VF2);
    options.token = Some("bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3".parse().unwrap());
    assert!(matches!(open(&options), OpenError::TokenUnexpected { .. }));
    fixture.bind(PF, "vfio-pci");
    assert!(matches!(open(&options), OpenError::NodeMissing { .. }));
}

#[test]
fn answers_of_the_kernel_are_told_apart() {
    let fixture = Fixture::new();
    fixture.bind(VF1, "vfio-pci");
    fixture.cdev(VF1, "vfio0");
    let options = options(&fixture, VF1);
    let (space, token) = (DmaSpace::new(None), "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3".parse().unwrap());
    let found = preflight(&options.paths, bdf(VF1)).unwrap();
    let attaching = |token| Attaching { space: &space, paths: &options.paths, found: &found, token };
    let refused = |code, token| attaching(token).refused(io::Error::from_raw_os_error(code), "open the device");
    assert!(matches!(refused(libc::EACCES, None), OpenError::TokenNeeded { .. }));
    assert!(matches!(refused(libc::EACCES, Some(&token)), OpenError::TokenWrong { .. }));
    assert!(matches!(refused(libc::EINVAL, Some(&token)), OpenError::TokenUnexpected { .. }));
    assert!(matches!(refused(libc::EINVAL, None), OpenError::Call { .. }));
    assert!(matches!(refused(libc::EPERM, None), OpenError::UnsafeInterrupts { .. }));
    // A user of the character device, as /proc shows it.
    let fd = fixture.path("proc/4711/fd");
    std::fs::create_dir_all(&fd).unwrap();
    std::fs::write(fixture.path("proc/4711/comm"), "qemu-system-x86\n").unwrap();
    std::os::unix::fs::symlink(fixture.path("dev/vfio/devices/vfio0"), fd.join("12")).unwrap();
    for code in [libc::EINVAL, libc::EBUSY, libc::EPERM] {
        let error = refused(code, None).to_string();
        assert!(error.contains("devices/vfio0 is open in process 4711 (qemu-system-x86)"), "{error}");
    }
}

#[test]
fn another_member_of_the_group_may_be_in_use() {
    let fixture = Fixture::new();
    for member in [VF1, VF2] {
        fixture.bind(member, "vfio-pci");
    }
    fixture.group(VF2, 13);
    fixture.cdev(VF2, "vfio1");
    let options = options(&fixture, VF1);
    let (space, found) = (DmaSpace::new(None), preflight(&options.paths, bdf(VF1)).unwrap());
    let attaching = Attaching { space: &space, paths: &options.paths, found: &found, token: None };
    let refused = || attaching.refused(io::Error::from_raw_os_error(libc::EPERM), "bind").to_string();
    let open_by = |pid: u32| {
        let fd = fixture.path("proc").join(pid.to_string()).join("fd");
        std::fs::create_dir_all(&fd).unwrap();
        std::os::unix::fs::symlink(fixture.path("dev/vfio/devices/vfio1"), fd.join("5")).unwrap();
    };
    // This process may have it: that is not an obstacle.
    open_by(std::process::id());
    assert!(refused().contains("does not isolate the interrupts"));
    open_by(1);
    assert!(refused().contains("devices/vfio1 is open in process 1 "), "{}", refused());
}
