// SPDX-License-Identifier: Apache-2.0
//! Kicks before DRIVER_OK (hazard H12). Drivers of Linux before 3.19 wait for completions in their probe, and
//! DRIVER_OK comes after that: `virtio_blk` reads the partition table. A transitional device has to serve them (virtio
//! 1.3, "Legacy Interface: Device Initialization"), a VF made for the modern interface may ignore them. So the VF is
//! given DRIVER_OK at the first kick, and the guest sees the status that it wrote itself.

use crate::transitional::layout::identity::DeviceType;
use crate::transitional::settings::EarlyKicks;

/// When a kick before DRIVER_OK starts the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// Never.
    Never,
    /// Once the driver has written its features.
    Features,
    /// Always.
    Once,
}

impl StartAt {
    /// What `early` means for a `device`.
    pub(crate) fn new(early: EarlyKicks, device: DeviceType) -> Self {
        match (early, device) {
            (EarlyKicks::Pass, _) => Self::Never,
            (EarlyKicks::Auto, DeviceType::Net) => Self::Features,
            (EarlyKicks::Auto | EarlyKicks::Start, _) => Self::Once,
        }
    }
}

#[cfg(test)]
#[path = "early_tests.rs"]
mod tests;
