// SPDX-License-Identifier: Apache-2.0
//! What `heirloom pf` refuses, by what it says; nothing is changed by it.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::host::{Snapshot, device, group_node, heirloom, names, prepare, release, vf};
use crate::{Outcome, check, soft, text};

/// Refused with exit code 3, the words in the message, and nothing changed.
fn refused(words: &[&str], says: &[&str]) -> Outcome {
    let before = Snapshot::take()?;
    let mut finished = heirloom(words)?.expect_code(3)?;
    for word in says {
        finished = finished.expect_error(word)?;
    }
    before.still()
}

pub(crate) fn interface() -> Outcome {
    let pf = soft()?;
    let virtio = names(device(&pf))?.into_iter().find(|name| name.starts_with("virtio")).ok_or("no virtio device")?;
    let name = names(device(&pf).join(virtio).join("net"))?.pop().ok_or("no network interface")?;
    let set = |state| -> Outcome {
        let status = Command::new("ip").args(["link", "set", &name, state]).status().map_err(text)?;
        check(status.success(), format!("ip link set {name} {state}"))
    };
    set("up")?;
    let says = format!("network interface {name} is up");
    let done = refused(&["pf", "prepare", &pf, "--vfs", "2"], &["is in use", &says]);
    set("down")?;
    done
}

/// The node of a group or the character device, of PF or VF: whoever has it open is named.
pub(crate) fn open_nodes() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let first = vf(&pf, 0)?;
    let open = |path: &std::path::Path| -> Outcome<File> {
        OpenOptions::new().read(true).write(true).open(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let own = format!("process {} (host_pf)", std::process::id());
    for address in [&pf, &first] {
        let cdev = names(device(address).join("vfio-dev"))?.pop().map(|name| format!("/dev/vfio/devices/{name}"));
        for node in [Some(group_node(address)?), cdev.map(Into::into)].into_iter().flatten() {
            let held = open(&node)?;
            let says = format!("{} open", node.display());
            refused(&["pf", "release", &pf], &["is in use", &own, &says, address])?;
            drop(held);
        }
    }
    release(&pf)?;
    before.still()
}

pub(crate) fn other_number() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let hint = format!("heirloom pf release {pf}");
    refused(&["pf", "prepare", &pf, "--vfs", "1"], &["has 2 VFs enabled, not 1", &hint])?;
    refused(&["pf", "prepare", &pf, "--vfs", "2", "--driver", "kernel"], &["is bound to vfio-pci", &hint])?;
    release(&pf)?;
    before.still()
}

pub(crate) fn no_pf() -> Outcome {
    let pf = soft()?;
    refused(&["pf", "prepare", &pf, "--vfs", "3"], &["can have 2 VFs, not 3"])?;
    refused(&["pf", "prepare", "0000:00:00.0", "--vfs", "1"], &["cannot have virtual functions"])?;
    refused(&["pf", "prepare", "0000:7f:00.0", "--vfs", "1"], &["there is no PCI function 0000:7f:00.0"])?;
    refused(&["pf", "release", "0000:7f:00.0"], &["there is no PCI function 0000:7f:00.0"])?;
    let before = Snapshot::take()?;
    prepare(&pf, &[])?;
    let first = vf(&pf, 0)?;
    let says = format!("name its PF, {pf}");
    refused(&["pf", "prepare", &first, "--vfs", "1"], &[&says])?;
    refused(&["pf", "release", &first], &[&says])?;
    release(&pf)?;
    before.still()?;
    for wrong in [vec!["pf", "prepare", &pf, "--vfs", "0"], vec!["pf", "prepare", "41", "--vfs", "1"], vec!["pf"]] {
        heirloom(&wrong)?.expect_code(2)?;
    }
    Ok(())
}

pub(crate) fn not_root() -> Outcome {
    let pf = soft()?;
    let before = Snapshot::take()?;
    for words in [vec!["pf", "prepare", &pf, "--vfs", "2"], vec!["pf", "release", &pf]] {
        let output = Command::new(tests::binary()?).args(&words).uid(65534).gid(65534).output().map_err(text)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        check(output.status.code() == Some(3) && stderr.contains("takes root"), format!("{words:?}: {output:?}"))?;
    }
    before.still()
}

pub(crate) fn locked() -> Outcome {
    let pf = soft()?;
    let lock = File::open("/run/heirloom/pf/lock").map_err(text)?;
    lock.lock().map_err(text)?;
    refused(&["pf", "prepare", &pf, "--vfs", "2"], &["another 'heirloom pf' is running"])?;
    refused(&["pf", "release", &pf], &["another 'heirloom pf' is running"])
}

/// Swapped to, claimed in a way that only the kernel knows of, open in a process; free again, it is prepared.
pub(crate) fn disk(pf: &str) -> Outcome {
    let virtio = names(device(pf))?.into_iter().find(|name| name.starts_with("virtio")).ok_or("no virtio device")?;
    let name = names(device(pf).join(virtio).join("block"))?.pop().ok_or("no disk")?;
    let node = format!("/dev/{name}");
    let run = |words: &[&str]| -> Outcome {
        let output = Command::new(words[0]).args(&words[1..]).output().map_err(text)?;
        check(output.status.success(), format!("{words:?}: {output:?}"))
    };
    let prepare = ["pf", "prepare", pf, "--vfs", "2"];
    run(&["mkswap", &node])?;
    run(&["swapon", &node])?;
    refused(&prepare, &["is in use", &format!("disk {name} is swapped to: swapoff {node}")])?;
    std::fs::write("/tmp/nothing", "").map_err(text)?;
    run(&["mount", "-o", "bind", "/tmp/nothing", "/proc/swaps"])?;
    let claimed = refused(&prepare, &["is in use", &format!("disk {name} is claimed")]);
    run(&["umount", "/proc/swaps"])?;
    claimed?;
    run(&["swapoff", &node])?;
    let held = File::open(&node).map_err(text)?;
    let own = format!("process {} (host_pf) has disk {name} open", std::process::id());
    refused(&prepare, &["is in use", &own])?;
    drop(held);
    let before = Snapshot::take()?;
    crate::host::prepare(pf, &[])?;
    release(pf)?;
    before.still()
}
