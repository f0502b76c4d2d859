// SPDX-License-Identifier: Apache-2.0
//! What stands in the way of a start: one error with the fix, and a host that is as it was.

use std::fs;

use tests::sysfs::{bind, set_vfs, unbind};

use crate::Outcome;
use crate::rig::{Spinning, TOKEN, address, bound, check, ours, refused, text, vf, works};

const NOT_BOUND: &str = "not to vfio-pci: unbind it and bind it to vfio-pci";

/// Two machines on one VF, and on one PF: the error names who has it.
pub(crate) fn busy() -> Outcome {
    ours()?;
    let (one, other) = (vf(0)?, vf(1)?);
    let mut holder = Spinning::start(&[&format!("--legacy-virtio=vf={one},token={TOKEN}")])?;
    let process = format!("process {} (", holder.id());
    for mode in ["group", "cdev"] {
        let words = [process.as_str(), "is in use", "end that user"];
        refused(&format!("--device=vfio={one},mode={mode},token={TOKEN}"), &words)?;
        // The PF is the first that such a machine opens.
        refused(&format!("--legacy-virtio=vf={other},mode={mode},token={TOKEN}"), &words)?;
    }
    holder.runs()?;
    holder.end()?;
    works(&one)
}

pub(crate) fn killed() -> Outcome {
    ours()?;
    let vf = vf(1)?;
    for mode in ["group", "cdev"] {
        Spinning::start(&[&format!("--legacy-virtio=vf={vf},mode={mode}")])?.kill()?;
        works(&vf)?;
    }
    Ok(())
}

pub(crate) fn vf_without_driver() -> Outcome {
    ours()?;
    let vf = vf(1)?;
    unbind(&vf)?;
    let outcome = refused(&format!("--legacy-virtio=vf={vf}"), &[&vf, NOT_BOUND]);
    bind(&vf, "vfio-pci")?;
    outcome?;
    works(&vf)
}

pub(crate) fn other_driver() -> Outcome {
    let other = address("other")?;
    refused(&format!("--device=vfio={other}"), &[&format!("{other} is bound to virtio-pci, {NOT_BOUND}")])
}

/// A card behind a bridge that the IOMMU cannot look through; the host has the other one.
pub(crate) fn not_viable() -> Outcome {
    let (one, other) = (address("neighbour")?, address("neighbour2")?);
    for mode in ["group", "cdev"] {
        let words =
            ["has other members that the host uses", &format!("({other} by virtio-pci)"), "bind them to vfio-pci"];
        refused(&format!("--device=vfio={one},mode={mode}"), &words)?;
    }
    Ok(())
}

/// QEMU's own PF with SR-IOV, which has VFs and no admin virtqueue.
pub(crate) fn no_admin_queue() -> Outcome {
    let pf = address("other_pf")?;
    bind(&pf, "vfio-pci")?;
    set_vfs(&pf, 1, false)?;
    let vf = tests::sysfs::vf(&pf, 0)?;
    bind(&vf, "vfio-pci")?;
    let words = [pf.as_str(), "feature ADMIN_VQ (bit 41) is not offered", "enable it in the device's firmware"];
    refused(&format!("--legacy-virtio=vf={vf}"), &words)?;
    set_vfs(&pf, 0, false)
}

pub(crate) fn no_vf() -> Outcome {
    ours()?;
    let pf = address("pf")?;
    refused(
        &format!("--legacy-virtio=vf={pf}"),
        &[&pf, "is not a virtual function", "sriov_numvfs", "--device vfio="],
    )?;
    refused("--legacy-virtio=vf=0000:7f:00.1", &["there is no PCI function 0000:7f:00.1 on this host"])
}

/// The kernel has the PF, and the operator asks us to drive it.
pub(crate) fn pf_of_the_kernel() -> Outcome {
    bound("virtio-pci", "virtio_vfio_pci")?;
    let pf = address("pf")?;
    refused(&format!("--legacy-virtio=vf={},admin=pf", vf(0)?), &[&format!("{pf} is bound to virtio-pci, {NOT_BOUND}")])
}

/// vfio-pci does not take a function without an IOMMU.
pub(crate) fn iommu_off() -> Outcome {
    let disk = address("disk")?;
    refused(&format!("--device=vfio={disk}"), &[&disk, "has no IOMMU group: switch the IOMMU on in the firmware"])
}

/// The kernel's mode for those who do without.
pub(crate) fn no_iommu() -> Outcome {
    fs::write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "1").map_err(text)?;
    let disk = address("disk")?;
    bind(&disk, "vfio-pci")?;
    check(fs::exists("/dev/vfio").map_err(text)?, "no VFIO")?;
    refused(&format!("--device=vfio={disk}"), &[&disk, "no-IOMMU mode", "switch the IOMMU on"])
}
