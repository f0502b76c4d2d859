// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::os::unix::fs::symlink;

use super::fixture::{CARD, Fixture, PF, VF1, VF2, bdf};
use super::*;

fn request(pf: &str) -> PrepareRequest {
    PrepareRequest { pf: bdf(pf), vfs: 2, token: None, owner: Owner::Heirloom, dry_run: true }
}

fn plan(fixture: &Fixture) -> Result<Outcome, ManageError> {
    prepare(&fixture.host(), &request(PF))
}

/// Who uses the PF, as a refusal says.
fn uses(fixture: &Fixture) -> Vec<String> {
    match plan(fixture) {
        Err(ManageError::InUse { bdf, by }) if bdf == super::fixture::bdf(PF) => by,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fresh_pf_can_be_prepared() {
    let outcome = plan(&Fixture::fresh()).unwrap();
    let what: Vec<_> = outcome.actions.iter().map(|action| action.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "vfio_pci.enable_sriov is Y",
            "0000:41:00.0 is bound to vfio-pci (before: virtio-pci)",
            "0000:41:00.0 has 2 VFs (before: 0)",
            "0000:41:00.1 is bound to vfio-pci (before: no driver)",
            "0000:41:00.2 is bound to vfio-pci (before: no driver)",
        ]
    );
    assert_eq!(outcome.legacy_virtio, ["--legacy-virtio vf=0000:41:00.1", "--legacy-virtio vf=0000:41:00.2"]);
    let text = outcome.to_string();
    assert!(text.starts_with("0000:41:00.0: this would be done; nothing was\n"), "{text}");
    assert!(text.ends_with("undone by: heirloom pf release 0000:41:00.0\n"), "{text}");
}

#[test]
fn a_prepared_pf_needs_nothing_and_takes_the_token() {
    let fixture = Fixture::prepared();
    let token = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3".to_owned();
    let request = PrepareRequest { token: Some(token), dry_run: false, ..request(PF) };
    let outcome = prepare(&fixture.host(), &request).unwrap();
    assert_eq!(outcome.actions, []);
    let second = "--legacy-virtio vf=0000:41:00.2,token=bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
    assert_eq!(outcome.legacy_virtio[1], second);
    assert!(!fixture.path("run/0000:41:00.0.json").exists(), "there is nothing of ours to give back");
}

#[test]
fn what_is_no_pf_is_refused() {
    let fixture = Fixture::prepared();
    let host = fixture.host();
    let pf = bdf(PF);
    assert!(matches!(prepare(&host, &request(VF1)), Err(ManageError::IsVf { pf: named, .. }) if named == pf));
    assert!(matches!(prepare(&host, &request(CARD)), Err(ManageError::NoSriov { .. })));
    assert!(matches!(prepare(&host, &request("0000:99:00.0")), Err(ManageError::Sysfs(_))));
    fixture.set(PF, "vendor", "0x15b3");
    assert!(matches!(plan(&fixture), Err(ManageError::NotVirtio { vendor: 0x15b3, .. })));
}

#[test]
fn root_is_needed_to_change_and_not_to_plan() {
    let fixture = Fixture::fresh();
    let host = Host { is_root: false, ..fixture.host() };
    let change = PrepareRequest { dry_run: false, ..request(PF) };
    assert!(matches!(prepare(&host, &change), Err(ManageError::NotRoot)));
    assert!(matches!(release(&host, &ReleaseRequest { pf: bdf(PF), dry_run: false }), Err(ManageError::NotRoot)));
    assert!(prepare(&host, &request(PF)).is_ok());
    assert!(!fixture.path("run").exists(), "a plan leaves nothing");
}

#[test]
fn numbers_of_vfs() {
    let fixture = Fixture::prepared();
    let with = |vfs| prepare(&fixture.host(), &PrepareRequest { vfs, ..request(PF) });
    assert!(matches!(with(9), Err(ManageError::TooManyVfs { wanted: 9, total: 8, .. })));
    assert!(matches!(with(3), Err(ManageError::VfsEnabled { enabled: 2, .. })));
    fixture.bind(PF, "virtio-pci");
    let error = with(2).unwrap_err().to_string();
    assert!(error.contains("is bound to virtio-pci, not vfio-pci"), "{error}");
    assert!(error.contains("heirloom pf release 0000:41:00.0"), "{error}");
}

#[test]
fn groups_have_to_be_viable() {
    let fixture = Fixture::fresh();
    fixture.group(CARD, 12);
    let error = plan(&fixture).unwrap_err();
    assert!(matches!(&error, ManageError::NotViable { group: 12, .. }), "{error}");
    assert!(error.to_string().contains("0000:03:00.0 by e1000"), "{error}");
    fixture.write("sys/kernel/iommu_groups/12/name", "vfio-noiommu\n");
    assert!(matches!(plan(&fixture), Err(ManageError::IommuOff { .. })));
    fixture.no_group(PF);
    assert!(matches!(plan(&fixture), Err(ManageError::IommuOff { .. })));
}

#[test]
fn network_interfaces_in_use() {
    let fixture = Fixture::fresh();
    fixture.set(PF, "virtio3/net/eth7/flags", "0x1002\n");
    assert!(plan(&fixture).is_ok(), "one that is down");
    fixture.set(PF, "virtio3/net/eth7/flags", "0x1003\n");
    assert_eq!(uses(&fixture), ["network interface eth7 is up: ip link set eth7 down"]);
    fixture.set(PF, "virtio3/net/eth7/flags", "0x1002\n");
    symlink("../../../../br0", fixture.device(PF).join("virtio3/net/eth7/master")).unwrap();
    assert_eq!(uses(&fixture), ["network interface eth7 is part of br0: ip link set eth7 nomaster"]);
    // A PF that stays with its driver keeps its interface.
    let kernel = PrepareRequest { owner: Owner::Kernel, ..request(PF) };
    assert!(prepare(&fixture.host(), &kernel).is_ok());
}

#[test]
fn disks_in_use() {
    let fixture = Fixture::fresh();
    fixture.set(PF, "virtio3/block/vda/dev", "254:0\n");
    fixture.set(PF, "virtio3/block/vda/vda1/dev", "254:1\n");
    fixture.set(PF, "virtio3/block/vda/vda1/partition", "1\n");
    fixture.write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    assert!(plan(&fixture).is_ok(), "nobody uses it");
    fixture.write("proc/self/mountinfo", "23 22 254:1 / /srv rw - ext4 /dev/vda1 rw\n");
    assert_eq!(uses(&fixture), ["disk vda1 is mounted at /srv: umount /srv"]);
    fixture.write("proc/self/mountinfo", "");
    let node = fixture.path("dev/vda");
    fixture.write("proc/swaps", &format!("Filename Type\n{} partition 1 0 -2\n", node.display()));
    assert_eq!(uses(&fixture), [format!("disk vda is swapped to: swapoff {}", node.display())]);
    fixture.write("proc/swaps", "Filename Type\n");
    fs::create_dir_all(fixture.device(PF).join("virtio3/block/vda/vda1/holders/dm-4")).unwrap();
    assert_eq!(uses(&fixture), ["disk vda1 is part of dm-4: take it out of there"]);
    fs::remove_dir(fixture.device(PF).join("virtio3/block/vda/vda1/holders/dm-4")).unwrap();
    fixture.process(42, "dd", &node);
    assert_eq!(uses(&fixture), ["process 42 (dd) has disk vda open: end it"]);
}

#[test]
fn vfio_nodes_in_use() {
    let fixture = Fixture::prepared();
    let release = |fixture: &Fixture| release(&fixture.host(), &ReleaseRequest { pf: bdf(PF), dry_run: true });
    assert!(release(&fixture).is_ok());
    fixture.process(43, "qemu", &fixture.path("dev/vfio/14"));
    let error = release(&fixture).unwrap_err().to_string();
    assert!(error.starts_with("0000:41:00.2 is in use: process 43 (qemu) has "), "{error}");
    let fixture = Fixture::prepared();
    fixture.set(PF, "vfio-dev/vfio7/dev", "511:7\n");
    fixture.process(44, "heirloom", &fixture.path("dev/vfio/devices/vfio7"));
    let error = release(&fixture).unwrap_err().to_string();
    assert!(error.starts_with("0000:41:00.0 is in use: process 44 (heirloom) has "), "{error}");
}

#[test]
fn drivers_and_parameters_that_are_missing() {
    let fixture = Fixture::fresh();
    let change = PrepareRequest { dry_run: false, ..request(PF) };
    fs::remove_dir_all(fixture.path("sys/bus/pci/drivers/virtio_vfio_pci")).unwrap();
    let kernel = PrepareRequest { owner: Owner::Kernel, ..change.clone() };
    let error = prepare(&fixture.host(), &kernel).unwrap_err();
    assert!(matches!(error, ManageError::NoDriver { driver: "virtio_vfio_pci" }), "{error}");
    assert!(error.to_string().contains("Linux 6.8"), "{error}");
    fs::remove_file(fixture.path("sys/module/vfio_pci/parameters/enable_sriov")).unwrap();
    let error = prepare(&fixture.host(), &change).unwrap_err();
    assert!(error.to_string().contains("vfio_pci.enable_sriov=1 on the kernel command line"), "{error}");
    assert!(!fixture.path("run/0000:41:00.0.json").exists());
}

/// Nothing reacts here: the driver does not let go of the PF, and what was written before is taken back.
#[test]
fn a_failure_is_undone_backwards() {
    let fixture = Fixture::fresh();
    let change = PrepareRequest { dry_run: false, ..request(PF) };
    let error = prepare(&fixture.host(), &change).unwrap_err();
    assert!(matches!(&error, ManageError::Undone { left, .. } if left.is_empty()), "{error}");
    assert!(
        error.to_string().starts_with("0000:41:00.0 should be bound to vfio-pci and is bound to virtio-pci"),
        "{error}"
    );
    assert_eq!(fixture.read("sys/module/vfio_pci/parameters/enable_sriov"), "N");
    assert_eq!(fixture.read(&format!("sys/bus/pci/devices/{PF}/driver_override")), "");
    assert_eq!(fixture.read("sys/bus/pci/drivers/virtio-pci/unbind"), PF);
    assert!(!fixture.path("run/0000:41:00.0.json").exists());
}

#[test]
fn what_is_left_after_a_failure_is_told() {
    let error = ManageError::Undone { cause: "it broke".to_owned(), left: vec!["a".to_owned(), "b".to_owned()] };
    assert_eq!(error.to_string(), "it broke; of what was done before, this could not be undone: a; b");
}

#[test]
fn states_that_make_no_sense() {
    let fixture = Fixture::prepared();
    let release = || release(&fixture.host(), &ReleaseRequest { pf: bdf(PF), dry_run: true });
    let good = r#"{"driver":"virtio-pci","driver_override":null,"enabled_sriov":true,"autoprobe":true}"#;
    fixture.write("run/0000:41:00.0.json", good);
    let what: Vec<_> = release().unwrap().actions.into_iter().map(|action| action.what).collect();
    let bound = "0000:41:00.0 is bound to virtio-pci (before: vfio-pci)";
    assert_eq!(what[2..], ["0000:41:00.0 has 0 VFs (before: 2)", bound, "vfio_pci.enable_sriov is N"]);
    for bad in ["", "{", "[]", &good.replace("virtio-pci", "../../evil"), &good.replace("virtio-pci", "")] {
        fixture.write("run/0000:41:00.0.json", bad);
        assert!(matches!(release(), Err(ManageError::StateContent { .. })), "{bad}");
    }
}

#[test]
fn vfs_in_use_are_left_alone() {
    let fixture = Fixture::prepared();
    fixture.bind(VF2, "virtio-pci");
    fixture.set(VF2, "virtio9/net/eth9/flags", "0x1003\n");
    let change = PrepareRequest { dry_run: false, ..request(PF) };
    let error = prepare(&fixture.host(), &change).unwrap_err().to_string();
    assert!(error.starts_with("0000:41:00.2 is in use: network interface eth9 is up"), "{error}");
    assert_eq!(fixture.read(&format!("sys/bus/pci/devices/{VF2}/driver_override")), "vfio-pci");
}
