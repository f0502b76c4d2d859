// SPDX-License-Identifier: Apache-2.0
//! VFs that go away under a running machine: it lets go of them at once, says so, and goes on.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::report::{check as checked, device};
use tests::sysfs::{self, bind, write};
use tests::wait_until_ok;

use crate::Outcome;
use crate::rig::{PATIENCE, Spinning, address, bound, check, ours, reported, small, text, vf, works, write_soon};

/// A device of the machine that has nothing to do with the PF.
const STAYS: &str = "--legacy-virtio=soft=net,loopback,id=stays";

/// The ids that are out of service, and that the device beside them is not.
fn out_of_service(report: &Value, gone: &[&str]) -> Outcome {
    for id in gone {
        let reason = device(report, id)?["faulted"].as_str().unwrap_or_default();
        check(reason.contains("the system wants the VF back"), format!("{id}: '{reason}'"))?;
    }
    checked(device(report, "stays")?["faulted"].is_null(), "the device beside them is out of service, too", report)
}

/// All VFs by the PF's file: once while the guest does nothing, and once under its requests.
pub(crate) fn numvfs() -> Outcome {
    ours()?;
    let numvfs = sysfs::device(&address("pf")?).join("sriov_numvfs");
    let words = |id, index| Ok::<_, String>(format!("--legacy-virtio=vf={},id={id}", vf(index)?));
    let mut machine = Spinning::start(&[&words("one", 0)?, &words("other", 1)?, STAYS])?;
    write_soon(&numvfs, "0")?;
    machine.runs()?;
    out_of_service(&machine.end()?, &["one", "other"])?;
    check(sysfs::read(&numvfs)? == "0", "VFs are left")?;

    ours()?;
    let disk = words("disk", 1)?;
    // Reads of the disk by one driver after the other, without an end. It polls: a guest that waits for an
    // interrupt waits for ever if the VF goes between kick and answer, as it would on hardware.
    let machine = small("test=reload irq=poll count=1000000", &[&disk, STAYS])?;
    let taker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(3)); // Clock: any moment will do.
        write_soon(&numvfs, "0")
    });
    let finished = machine.finish()?.expect_code(0)?.expect_output("GUEST-FAIL reload")?;
    taker.join().map_err(|_| "the thread died")??;
    println!("{}", finished.stdout.lines().last().unwrap_or_default());
    out_of_service(&reported()?, &["disk"])?;
    ours()?;
    works(&vf(0)?)?;
    works(&vf(1)?)
}

/// A function that the guest has as it is, as if it were unplugged; it is found again.
pub(crate) fn removed() -> Outcome {
    let disk = address("disk")?;
    bind(&disk, "vfio-pci")?;
    let mut machine = Spinning::start(&[&format!("--device=vfio={disk},id=plain"), STAYS])?;
    write_soon(&sysfs::device(&disk).join("remove"), "1")?;
    machine.runs()?;
    check(!sysfs::device(&disk).exists(), "the function is still there")?;
    let report = machine.end()?;
    let function = &report["passthrough"][0];
    let reason = function["faulted"].as_str().unwrap_or_default();
    checked(reason.contains("the system wants the function back"), "the function passed through", function)?;
    checked(device(&report, "stays")?["faulted"].is_null(), "the device beside it is out of service, too", &report)?;
    write("/sys/bus/pci/rescan", "1")?;
    check(sysfs::device(&disk).exists(), "the function was not found again")?;
    crate::passed_through::qemu_disk("msix")
}

/// A VF is unbound under its machine. (Linux has no `remove` for VFs.) The PF's other VF goes on.
pub(crate) fn vf_unbound() -> Outcome {
    ours()?;
    let (gone, left) = (vf(1)?, vf(0)?);
    let words = |id, vf| format!("--legacy-virtio=vf={vf},id={id}");
    let mut machine = Spinning::start(&[&words("gone", &gone), &words("stays", &left)])?;
    write_soon(&sysfs::device(&gone).join("driver/unbind"), &gone)?;
    machine.runs()?;
    out_of_service(&machine.end()?, &["gone"])?;
    ours()?;
    works(&gone)
}

/// The PF is wanted back: all VFs go with it.
pub(crate) fn pf_unbound() -> Outcome {
    ours()?;
    let pf = address("pf")?;
    let mut machine = Spinning::start(&[&format!("--legacy-virtio=vf={},id=gone", vf(1)?), STAYS])?;
    write_soon(&sysfs::device(&pf).join("driver/unbind"), &pf)?;
    machine.runs()?;
    out_of_service(&machine.end()?, &["gone"])?;
    ours()?;
    works(&vf(1)?)
}

/// A VF of the kernel's own driver, whose legacy registers go with it.
pub(crate) fn unbound() -> Outcome {
    bound("virtio-pci", "virtio_vfio_pci")?;
    let gone = vf(1)?;
    let mut machine = Spinning::start(&[&format!("--legacy-virtio=vf={gone},id=gone"), STAYS])?;
    write_soon(&sysfs::device(&gone).join("driver/unbind"), &gone)?;
    machine.runs()?;
    out_of_service(&machine.end()?, &["gone"])
}

/// The server of PF and VFs is killed behind QEMU's back: hardware that answers no more, without an announcement.
pub(crate) fn server_killed() -> Outcome {
    ours()?;
    let mut machine = Spinning::start(&[&format!("--legacy-virtio=vf={},id=silent", vf(0)?), STAYS])?;
    // The script outside waits for this.
    bind(&address("disk")?, "virtio-pci")?;
    let disk = || {
        fs::read_dir("/sys/class/block")
            .ok()?
            .flatten()
            .find_map(|entry| entry.file_name().into_string().ok().filter(|name| name.starts_with("vd")))
    };
    wait_until_ok(PATIENCE, || Ok(disk().is_some()))?;
    let node = Path::new("/dev").join(disk().unwrap_or_default());
    let mut signal = File::options().write(true).open(node).map_err(text)?;
    signal.write_all(&[b'K'; 512]).and_then(|()| signal.sync_all()).map_err(text)?;
    let noticed = wait_until_ok(Duration::from_secs(40), || {
        machine.runs()?;
        Ok(Spinning::log().contains("out of service"))
    });
    println!("{}", Spinning::log());
    noticed?;
    machine.runs()?;
    let log = Spinning::log();
    let stays = !log.lines().any(|line| line.contains("out of service") && line.contains("stays"));
    // The kernel waits 65 s for a silent function that is reset, as it is at the end: the VM does not wait for that.
    machine.forget();
    check(log.contains("the PF was lost: ") && log.contains("reads as all ones"), "another reason")?;
    check(stays, "the device beside it is out of service, too")
}
