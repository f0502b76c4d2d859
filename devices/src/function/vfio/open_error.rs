// SPDX-License-Identifier: Apache-2.0
//! Why a function could not be opened: one line each, with what to do about it.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Mode;
use super::bdf::Bdf;
use super::holders::Holder;
use super::sysfs::SysfsError;
use crate::function::FunctionError;

/// A function that could not be opened. Nothing is left open or changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// sysfs does not know the function, or cannot be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// It has another driver or none.
    #[error(
        "{bdf} is {}, not to vfio-pci: unbind it and bind it to vfio-pci (heirloom pf prepare does it for a PF and its VFs; or: driverctl set-override {bdf} vfio-pci)",
        bound_to(.driver)
    )]
    NotBound {
        /// The function.
        bdf: Bdf,
        /// Its driver.
        driver: Option<String>,
    },
    /// It has no IOMMU group.
    #[error(
        "{bdf} has no IOMMU group: switch the IOMMU on in the firmware (VT-d, AMD-Vi), and on the kernel command line (intel_iommu=on) where the kernel does not use it by itself"
    )]
    IommuOff {
        /// The function.
        bdf: Bdf,
    },
    /// It is in VFIO's mode without an IOMMU.
    #[error(
        "{bdf} is in VFIO's no-IOMMU mode, where a guest could read and write all memory of the host: that is not supported, switch the IOMMU on"
    )]
    NoIommu {
        /// The function.
        bdf: Bdf,
    },
    /// Other members of its group belong to the host.
    #[error(
        "IOMMU group {group} of {bdf} has other members that the host uses ({}): bind them to vfio-pci as well, or to no driver, or put the function into a slot with ACS",
        members(.blockers)
    )]
    NotViable {
        /// The function.
        bdf: Bdf,
        /// Group number.
        group: u32,
        /// Members with drivers of the host.
        blockers: Vec<(Bdf, String)>,
    },
    /// A device node is not there.
    #[error("{path} does not exist: {why}")]
    NodeMissing {
        /// The node.
        path: PathBuf,
        /// What to do.
        why: &'static str,
    },
    /// The user may not open a device node.
    #[error(
        "no permission to open {path} for reading and writing: give this user the node (chown, or a udev rule), or run as root"
    )]
    Permission {
        /// The node.
        path: PathBuf,
    },
    /// Somebody else uses it.
    #[error("{bdf} is in use ({path} is open in {}): end that user", users(.holders))]
    Busy {
        /// The function.
        bdf: Bdf,
        /// Its group or device node.
        path: PathBuf,
        /// Who has it open, as far as this user may see.
        holders: Vec<Holder>,
    },
    /// Its PF is driven from user space, or its VFs are in use, and there is no token.
    #[error(
        "{bdf} wants the VF token of its physical function: give token=UUID, the same for the PF and all of its VFs"
    )]
    TokenNeeded {
        /// The function.
        bdf: Bdf,
    },
    /// The token is another one.
    #[error(
        "the token does not match {bdf}: its physical function was opened with another token (or with none, which makes one up); use the same for the PF and all of its VFs"
    )]
    TokenWrong {
        /// The function.
        bdf: Bdf,
    },
    /// A token where none can be.
    #[error(
        "{bdf} cannot have a token: tokens are for PFs with SR-IOV on vfio-pci, and for VFs of such PFs; leave it out"
    )]
    TokenUnexpected {
        /// The function.
        bdf: Bdf,
    },
    /// The host cannot isolate interrupts.
    #[error(
        "the host does not isolate the interrupts of {bdf}: switch interrupt remapping on in the firmware; or, where every guest is trusted, set {setting}"
    )]
    UnsafeInterrupts {
        /// The function.
        bdf: Bdf,
        /// The module's parameter.
        setting: &'static str,
    },
    /// Functions of one address space cannot come both ways.
    #[error(
        "{bdf} would be opened by {asked}, but other functions of this machine are open by {space}: use one way for all"
    )]
    MixedModes {
        /// The function.
        bdf: Bdf,
        /// How it was to be opened.
        asked: Mode,
        /// How the others are.
        space: Mode,
    },
    /// No character device.
    #[error(
        "{bdf} has no VFIO character device: this kernel is older than 6.6 or built without VFIO_DEVICE_CDEV; open it by its group"
    )]
    NoCdev {
        /// The function.
        bdf: Bdf,
    },
    /// It is not a PCI device for VFIO.
    #[error("VFIO does not present {bdf} as a PCI device (device flags {flags:#x})")]
    NotPci {
        /// The function.
        bdf: Bdf,
        /// What VFIO says.
        flags: u32,
    },
    /// The kernel's VFIO is not the known one.
    #[error("the kernel's VFIO has {0}, which this program does not know")]
    Unknown(&'static str),
    /// The kernel refused something else.
    #[error("{bdf}: cannot {what}")]
    Call {
        /// The function.
        bdf: Bdf,
        /// What.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// It was opened, and then did not work.
    #[error(transparent)]
    Function(#[from] FunctionError),
}

fn bound_to(driver: &Option<String>) -> String {
    driver.as_ref().map_or_else(|| "bound to no driver".to_owned(), |driver| format!("bound to {driver}"))
}

fn members(blockers: &[(Bdf, String)]) -> String {
    if blockers.is_empty() {
        return "see /sys/kernel/iommu_groups".to_owned();
    }
    blockers.iter().map(|(bdf, driver)| format!("{bdf} by {driver}")).collect::<Vec<_>>().join(", ")
}

fn users(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "a process that this user may not see".to_owned();
    }
    holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "either way",
            Self::Group => "group",
            Self::Cdev => "character device",
        })
    }
}
