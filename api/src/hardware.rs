// SPDX-License-Identifier: Apache-2.0
//! Functions that are not made by the VMM: VFs and other PCI functions of the host, by VFIO, and
//! functions that another process serves by vfio-user.

use std::num::NonZeroU16;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::device_id;

/// Who runs the admin commands for a VF.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AdminMode {
    /// The kernel where the VF is bound to its driver for that (`virtio_vfio_pci`), else the PF.
    #[default]
    Auto,
    /// This process, which drives the PF; the PF is bound to `vfio-pci`.
    Pf,
    /// The kernel: the VF is bound to `virtio_vfio_pci`, and its PF to the kernel's virtio driver.
    Kernel,
}

/// By which interface of the kernel a function is opened.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum VfioMode {
    /// By character device and iommufd where the host has them, else by group and container.
    #[default]
    Auto,
    /// By group and container.
    Group,
    /// By character device and iommufd.
    Cdev,
}

/// A VF of the host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct VfConfig {
    /// Its address, such as `0000:41:00.3`.
    pub address: String,
    /// The address of its PF; found in sysfs where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf: Option<String>,
    /// The UUID that PF and VFs are opened with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Who runs the admin commands.
    #[serde(default)]
    pub admin: AdminMode,
    /// By which interface VF and PF are opened.
    #[serde(default)]
    pub mode: VfioMode,
}

/// A VF that another process serves.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct VfioUserVfConfig {
    /// The socket of the VF.
    pub socket: PathBuf,
    /// The socket of its PF.
    pub pf_socket: PathBuf,
    /// The VF's number among the VFs of its PF, from 1.
    pub member: NonZeroU16,
}

/// A PCI function of the host that is passed through as it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct VfioConfig {
    /// Its address, such as `0000:41:00.3`.
    pub address: String,
    /// The UUID to open it with, for a VF whose PF was opened with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// By which interface it is opened.
    #[serde(default)]
    pub mode: VfioMode,
}

/// A function passed through. Exactly one of `vfio` and `vfio_user` is there.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Name in logs, reports and the API; unique in the machine. Given out where it is absent.
    #[serde(default, deserialize_with = "device_id", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,32}$"))]
    pub id: Option<String>,
    /// A function of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vfio: Option<VfioConfig>,
    /// The socket of a function that another process serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vfio_user: Option<PathBuf>,
}
