// SPDX-License-Identifier: Apache-2.0
//! QEMU in Heirloom's place: its vfio-pci on a VF whose legacy registers the kernel's `virtio_vfio_pci` offers. What
//! docs/comparison.md says of that was seen here. Heirloom serves the same function in `linux_guests::kernel_card`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::Outcome;
use crate::linux_guests::command_line;
use crate::rig::{bound, check, ours, text, vf};

/// Debian's, brought by the script.
const QEMU: &str = "qemu-system-x86_64";

/// All that the guest and QEMU said. The guest is the one of [`crate::linux_guests`], with the words of its kernel shown.
fn boot(irq: &str) -> Outcome<String> {
    bound("virtio-pci", "virtio_vfio_pci")?;
    let folder = PathBuf::from(env::var_os("HEIRLOOM_GUESTS").ok_or("HEIRLOOM_GUESTS is not set")?);
    let words = "console=ttyS0 loglevel=7 reboot=k panic=-1 no_timer_check tsc=reliable heirloom.expect=1";
    let net = "heirloom.net=10.0.2.15/24,10.0.2.2";
    let mut qemu = Command::new("timeout");
    qemu.args(["150", QEMU, "-M", "pc,accel=kvm", "-cpu", "host", "-m", "128M"])
        // The IOMMU's messages are one for each page; see docs/host-vm.md.
        .args(["-mem-path", "/dev/hugepages", "-mem-prealloc"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(folder.join("vmlinux"))
        .arg("-initrd")
        .arg(folder.join("initramfs.cpio"))
        .args(["-append", &format!("{words} {net} {}", command_line(irq, true))])
        .args(["-device", &format!("vfio-pci,host={},rombar=0", vf(0)?)]);
    let output = qemu.output().map_err(text)?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    check(output.status.success(), format!("{}\n{said}", output.status))?;
    Ok(said)
}

fn said(all: &str, words: &[&str]) -> Outcome {
    words.iter().try_for_each(|word| check(all.contains(word), format!("'{word}' is missing in\n{all}")))
}

/// With MSI-X the card works.
pub(crate) fn card_msix() -> Outcome {
    let all = boot("msix")?;
    said(&all, &["pciid=1af4:1000", "legacy=yes", "irq=msix", "sent=3 received=3", "HEIRLOOM-DONE ok"])
}

/// Without it there is no interrupt, and the probe fails: with EINVAL today, with EBUSY (-16) in Linux 3.16 and before.
pub(crate) fn card_intx() -> Outcome {
    let all = boot("intx")?;
    said(&all, &["pciid=1af4:1000", "driver=no"])?;
    check(all.contains("failed with error -22"), format!("the probe of the card did not fail with -22\n{all}"))
}

/// A disk's VF is shown as a card, and one that does not work.
pub(crate) fn disk() -> Outcome {
    let all = boot("msix")?;
    said(&all, &["pciid=1af4:1000"])?;
    check(!all.contains("received=3"), format!("the card that is a disk answered\n{all}"))?;
    check(!all.contains("HEIRLOOM-BLK"), format!("there is a disk\n{all}"))?;
    ours()
}
