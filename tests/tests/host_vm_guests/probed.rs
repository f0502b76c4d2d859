// SPDX-License-Identifier: Apache-2.0
//! What is found out about a disk's VF on real vfio-pci before a guest gets it.

use tests::Heirloom;

use crate::Outcome;
use crate::rig::{address, bound, check, ours, refused, vf};

/// `heirloom probe --deep` reads a sector of the VF before DRIVER_OK, or does not.
pub(crate) fn early_kicks(wanted: &str) -> Outcome {
    ours()?;
    let finished = Heirloom::plain(&["probe", "--pf", &address("pf")?, "--deep"]).finish()?;
    let lines: Vec<&str> = finished.stdout.lines().filter(|line| line.contains("DRIVER_OK")).collect();
    // Of each VF.
    check(lines.len() == 2 && lines.iter().all(|line| line.contains(wanted)), format!("no '{wanted}' in\n{finished}"))
}

/// The kernel's driver for legacy registers knows only network cards.
pub(crate) fn disk_by_the_kernel() -> Outcome {
    bound("virtio-pci", "virtio_vfio_pci")?;
    let vf = vf(0)?;
    ["kernel", "auto"].iter().try_for_each(|admin| {
        refused(&format!("--legacy-virtio=vf={vf},id=vf,admin={admin}"), &[&vf, "network card"])
    })?;
    ours()
}
