// SPDX-License-Identifier: Apache-2.0
//! File descriptors that come with a request: that each one has its device. Pure.

use std::os::fd::OwnedFd;

use crate::{Code, Fault, LegacyVirtioConfig, NetBackend, SoftDevice, VfOrigin};

/// Every descriptor must be referred to, and every reference must have one: a machine with another tap
/// than meant would be worse than none.
pub(super) fn check(devices: &[LegacyVirtioConfig], descriptors: &[OwnedFd]) -> Result<(), Fault> {
    let mut used = vec![false; descriptors.len()];
    let invalid = |message: String| Fault::new(Code::InvalidDescriptors, message);
    for (position, device) in devices.iter().enumerate() {
        let VfOrigin::Soft(SoftDevice::Net { backend: NetBackend::Fd(index), .. }) = &device.origin else { continue };
        let field = format!("legacy_virtio[{position}].soft.net.backend.fd");
        match usize::try_from(*index).ok().and_then(|index| used.get_mut(index)) {
            Some(taken @ false) => *taken = true,
            Some(_) => return Err(invalid(format!("descriptor {index} is used by two devices")).at(field)),
            None => {
                let message = format!("descriptor {index}: {} came with the request", descriptors.len());
                return Err(invalid(message).at(field));
            }
        }
    }
    match used.iter().position(|used| !used) {
        Some(index) => Err(invalid(format!("descriptor {index} came with the request and no device refers to it"))),
        None => Ok(()),
    }
}
