// SPDX-License-Identifier: Apache-2.0
//! VF tokens, as whoever starts machines meets them. By group: this kernel does not ask for them by character device.

use crate::Outcome;
use crate::rig::{Spinning, TOKEN, ours, refused, small, vf, works};

const OTHER: &str = "00000000-5a5f-4f5a-a211-f591514ba1f3";
const NEEDED: &[&str] = &["wants the VF token of its physical function: give token=UUID"];
const WRONG: &[&str] = &["the token does not match ", "use the same for the PF and all of its VFs"];

fn hello(device: &str) -> Outcome {
    small("test=hello", &[device])?.finish()?.expect_code(0)?.expect_output("GUEST-OK").map(drop)
}

/// The PF has the token of who drove it last; a VF is opened with it and not otherwise.
pub(crate) fn of_one_vf() -> Outcome {
    ours()?;
    let vf = vf(1)?;
    hello(&format!("--legacy-virtio=vf={vf},mode=group,token={TOKEN}"))?;
    hello(&format!("--device=vfio={vf},mode=group,token={TOKEN}"))?;
    refused(&format!("--device=vfio={vf},mode=group,token={OTHER}"), WRONG)?;
    refused(&format!("--device=vfio={vf},mode=group"), NEEDED)?;
    // What is no token at all is bad usage, and no device is asked.
    let bad = small("test=hello", &[&format!("--device=vfio={vf},token=secret")])?;
    bad.finish()?.expect_code(2)?.expect_error("not a UUID")?;
    works(&vf)
}

/// One machine has a VF of the PF that another one wants to drive.
pub(crate) fn of_two_machines() -> Outcome {
    ours()?;
    let (one, other) = (vf(0)?, vf(1)?);
    // The kernel remembers whose token the PF had last; before that it has one that nobody knows.
    hello(&format!("--legacy-virtio=vf={one},token={TOKEN}"))?;
    let holder = Spinning::start(&[&format!("--device=vfio={one},mode=group,token={TOKEN}")])?;
    refused(&format!("--legacy-virtio=vf={other},mode=group,token={OTHER}"), WRONG)?;
    hello(&format!("--legacy-virtio=vf={other},mode=group,token={TOKEN}"))?;
    holder.end()?;
    works(&other)
}
