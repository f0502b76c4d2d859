// SPDX-License-Identifier: Apache-2.0
//! Functions that are not made by the VMM: VFs and other PCI functions of the host, by VFIO, and
//! functions that another process serves by vfio-user.

use std::num::NonZeroU16;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::device_id;
use crate::origin::function_config;

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
    #[schemars(extend("x-option" = "=ADDRESS"))]
    pub address: String,
    /// Its PF, bound to `vfio-pci` too; found in sysfs where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-option" = "=ADDRESS"))]
    pub pf: Option<String>,
    /// The UUID that PF and VFs are opened with, one for all VFs of a PF; or `@FILE` or `env:NAME`, a file or a variable of
    /// heirloom's environment that has it and, unlike these words, does not show in the list of processes. Made anew for
    /// each run where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-option" = "=UUID|@FILE|env:NAME"))]
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
    #[schemars(extend("x-option" = "=PATH"))]
    pub socket: PathBuf,
    /// The socket of its PF.
    #[schemars(extend("x-option" = "pf-socket=PATH"))]
    pub pf_socket: PathBuf,
    /// The VF's number among the VFs of its PF, from 1. As many VFs are enabled as the highest number needs.
    pub member: NonZeroU16,
}

/// A PCI function of the host that is passed through as it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct VfioConfig {
    /// Its address, such as `0000:41:00.3`.
    #[schemars(extend("x-option" = "=ADDRESS"))]
    pub address: String,
    /// The UUID to open it with, for a VF whose PF was opened with one; or `@FILE` or `env:NAME`, a file or
    /// a variable that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-option" = "=UUID|@FILE|env:NAME"))]
    pub token: Option<String>,
    /// By which interface it is opened.
    #[serde(default)]
    pub mode: VfioMode,
}

function_config! {
    /// A function passed through. Exactly one of `vfio` and `vfio_user` is there.
    pub struct DeviceConfig, in documents DeviceDocument "DeviceDocument" {
        /// Name in logs, reports and the API, unique in the machine: up to 32 of `A-Z a-z 0-9 - _ .`. Where it is absent
        /// it is made of the position: `dev0`, `dev1`.
        #[serde(default, deserialize_with = "device_id", skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,32}$"), extend("x-option" = "=NAME"))]
        pub id: Option<String>,
        /// Where a function passed through comes from.
        pub origin: enum FunctionOrigin {
            /// A function of this host, such as `0000:41:00.3`, bound to `vfio-pci`.
            vfio, option "vfio=ADDRESS": Host(VfioConfig),
            /// The socket of a function that another process serves.
            vfio_user, option "vfio-user=PATH": Served(PathBuf),
        }
        /// Place in the firmware's boot order, the lowest first; no two functions have the same. Functions without one
        /// come behind those that have one, in the order of their slots.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub bootindex: Option<u8>,
    }
}
