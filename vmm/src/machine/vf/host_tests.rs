// SPDX-License-Identifier: Apache-2.0
//! Routes in a sysfs made of files.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn plan(vf: &str, pf: Option<&str>, admin: AdminMode) -> HostVfPlan {
    HostVfPlan { bdf: bdf(vf), pf: pf.map(bdf), token: None, admin, mode: VfioMode::Auto }
}

/// A PF with two VFs; the second one is the kernel's.
fn sysfs(root: &Path) -> Sysfs {
    let devices = root.join("bus/pci/devices");
    for (name, driver) in [("0000:41:00.0", "vfio-pci"), ("0000:41:00.1", "vfio-pci"), ("0000:41:00.2", KERNEL_DRIVER)]
    {
        let (function, driver) = (devices.join(name), root.join("bus/pci/drivers").join(driver));
        fs::create_dir_all(&function).unwrap();
        fs::create_dir_all(&driver).unwrap();
        symlink(driver, function.join("driver")).unwrap();
    }
    for (number, vf) in ["0000:41:00.1", "0000:41:00.2"].iter().enumerate() {
        symlink(devices.join("0000:41:00.0"), devices.join(vf).join("physfn")).unwrap();
        symlink(devices.join(vf), devices.join(format!("0000:41:00.0/virtfn{number}"))).unwrap();
    }
    Sysfs::at(root)
}

#[test]
fn a_vf_finds_its_pf_and_its_number_unless_the_kernel_runs_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    let sysfs = sysfs(dir.path());
    let route = |vf: &str, said: Option<&str>, admin| route(&sysfs, &plan(vf, said, admin));
    let pf = |number| Route::Pf(bdf("0000:41:00.0"), NonZeroU16::new(number).unwrap());
    assert_eq!(route("0000:41:00.1", None, AdminMode::Auto).unwrap(), pf(1));
    assert_eq!(route("0000:41:00.1", Some("0000:41:00.0"), AdminMode::Pf).unwrap(), pf(1));
    assert_eq!(route("0000:41:00.2", None, AdminMode::Auto).unwrap(), Route::Kernel);
    assert_eq!(route("0000:41:00.2", None, AdminMode::Pf).unwrap(), pf(2));
    assert_eq!(route("0000:41:00.1", None, AdminMode::Kernel).unwrap(), Route::Kernel);
}

#[test]
fn what_is_no_vf_or_has_another_pf_is_told_with_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    let sysfs = sysfs(dir.path());
    let error = |vf: &str, said: Option<&str>| route(&sysfs, &plan(vf, said, AdminMode::Auto)).unwrap_err().to_string();
    let text = error("0000:41:00.0", None);
    assert!(text.contains("not a virtual function") && text.contains("--device vfio=0000:41:00.0"), "{text}");
    let text = error("0000:41:00.1", Some("0000:42:00.0"));
    assert!(text.contains("of 0000:41:00.0, not of 0000:42:00.0: leave pf= out"), "{text}");
    let text = error("0000:99:00.1", None);
    assert!(text.contains("0000:99:00.1"), "{text}");
}

#[test]
fn all_vfs_of_a_pf_have_one_token() {
    let (one, two) = (VfToken::from_bytes([1; 16]), VfToken::from_bytes([2; 16]));
    let token = |given: &[Option<VfToken>]| token(bdf("0000:41:00.0"), given.iter().copied());
    assert_eq!(token(&[None, Some(one), Some(one)]).unwrap(), one);
    assert!(token(&[Some(one), Some(two)]).unwrap_err().to_string().contains("different tokens"));
    assert_ne!(token(&[None]).unwrap(), token(&[]).unwrap(), "made anew each time");
}
