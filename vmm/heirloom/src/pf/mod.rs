// SPDX-License-Identifier: Apache-2.0
//! `heirloom pf prepare` and `heirloom pf release`: gives a PF and its VFs of this host to VFIO, and back to the drivers
//! they had. It works only through sysfs, as an administrator would, and opens no device.
//!
//! | module | what it is | writes |
//! | --- | --- | --- |
//! | `host` | where the host's files are; writing them | sysfs |
//! | `usage` | who uses a function | no |
//! | `checks` | what must hold before anything is changed | no |
//! | `steps` | the changes one by one, each with its way back | sysfs |
//! | `state` | what a PF was before, for `release` | `/run/heirloom/pf` |
//! | `prepare`, `release` | the two commands | |
//! | `outcome` | what was done, for people and programs | no |
#![forbid(unsafe_code)]

mod binding;
mod checks;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod host;
mod outcome;
mod prepare;
mod release;
mod state;
mod steps;
mod usage;

#[cfg(test)]
#[path = "pf_tests.rs"]
mod tests;

use devices::function::vfio::Bdf;

pub(crate) use error::ManageError;
pub(crate) use host::Host;
pub(crate) use outcome::{Action, Outcome};
pub(crate) use prepare::prepare;
pub(crate) use release::release;
pub(crate) use usage::users;

/// Driver of a PF and of VFs whose registers this program reaches through the PF.
pub(crate) const VFIO_PCI: &str = "vfio-pci";
/// The kernel's driver of virtio functions.
pub(crate) const VIRTIO_PCI: &str = "virtio-pci";
/// The kernel's driver of VFs that offers legacy registers itself.
pub(crate) const VIRTIO_VFIO_PCI: &str = "virtio_vfio_pci";

/// Who runs the administration commands later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Owner {
    /// `heirloom run`: PF and VFs are bound to `vfio-pci`.
    #[default]
    Heirloom,
    /// The kernel: the PF stays with `virtio-pci`, VFs are bound to `virtio_vfio_pci`.
    Kernel,
}

impl Owner {
    /// Drivers of the PF and of its VFs.
    pub(crate) const fn drivers(self) -> (&'static str, &'static str) {
        match self {
            Self::Heirloom => (VFIO_PCI, VFIO_PCI),
            Self::Kernel => (VIRTIO_PCI, VIRTIO_VFIO_PCI),
        }
    }
}

/// What to prepare.
#[derive(Clone, Debug)]
pub(crate) struct PrepareRequest {
    /// The PF.
    pub pf: Bdf,
    /// VFs to enable, 1 and up.
    pub vfs: u16,
    /// A token to print with each VF; it is given when PF and VFs are opened, not now.
    pub token: Option<String>,
    /// Who runs administration commands.
    pub owner: Owner,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What to give back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReleaseRequest {
    /// The PF.
    pub pf: Bdf,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}
