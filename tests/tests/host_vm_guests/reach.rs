// SPDX-License-Identifier: Apache-2.0
//! What a guest without memory somewhere makes its VF do there. The server's side of it is in [`crate::report`].

use tests::report::{check as checked, device};

use crate::Outcome;
use crate::rig::{ours, reported, small, vf, works};

/// The IOMMU has nothing at addresses that are not the guest's: a request fails, a ring is dead, a reset helps.
pub(crate) fn beyond() -> Outcome {
    ours()?;
    let run = small("test=beyond", &[&format!("--legacy-virtio=vf={},id=vf", vf(1)?)])?;
    let finished = run.finish()?.expect_code(0)?.expect_output("GUEST-OK beyond")?;
    print!("{}", finished.stdout);
    let report = reported()?;
    let device = device(&report, "vf")?;
    checked(device["faulted"].is_null(), "the device is out of service for what its driver did", device)?;
    works(&vf(1)?)
}

/// A driver that breaks every rule; after each of them its disk works.
pub(crate) fn broken_rings() -> Outcome {
    ours()?;
    let run = small("test=abuse bytes=64", &[&format!("--legacy-virtio=vf={},id=vf", vf(1)?)])?;
    run.finish()?.expect_code(0)?.expect_output("GUEST-OK abuse")?;
    works(&vf(1)?)
}
