// SPDX-License-Identifier: Apache-2.0
//! Values that are lists of keys. They are read as the API's types, whose schemas say which keys there are; see
//! [`api::options`]. Addresses and the like are checked as they are for the API.

use std::error::Error;

use api::options::{DEVICE, LEGACY_VIRTIO, MEMORY, SMBIOS, SOFT_DEVICE};
use api::{DeviceConfig, LegacyVirtioConfig, MemoryConfig, SmbiosConfig, SoftDevice};
use vmm::config;

/// What is said once below all tables of keys.
pub(super) const COMMAS: &str = "A comma inside a value is written twice.";

/// The value of `--legacy-virtio`.
pub(super) fn legacy_virtio(text: &str) -> Result<LegacyVirtioConfig, String> {
    let device = LEGACY_VIRTIO.parse(text)?;
    config::check_legacy_virtio(&device).map_err(said)?;
    Ok(device)
}

/// The value of `--device`.
pub(super) fn device(text: &str) -> Result<DeviceConfig, String> {
    let device = DEVICE.parse(text)?;
    config::check_device(&device).map_err(said)?;
    Ok(device)
}

/// The value of `--memory`.
pub(super) fn memory(text: &str) -> Result<MemoryConfig, String> {
    MEMORY.parse(text)
}

/// The value of `--smbios`.
pub(super) fn smbios(text: &str) -> Result<SmbiosConfig, String> {
    SMBIOS.parse(text)
}

/// The value of `--vf` and `--pf` of the software PF.
pub(super) fn soft_device(text: &str) -> Result<SoftDevice, String> {
    SOFT_DEVICE.parse(text)
}

fn said(error: impl Error) -> String {
    error.to_string()
}
