// SPDX-License-Identifier: Apache-2.0
//! Why a PF was not prepared or released: one line each, with what to do.

use std::io;
use std::path::PathBuf;

use devices::function::vfio::Bdf;
use devices::function::vfio::sysfs::SysfsError;
use thiserror::Error;

/// A PF that could not be prepared or released.
#[derive(Debug, Error)]
pub(crate) enum ManageError {
    /// Not the superuser.
    #[error(
        "binding drivers and enabling VFs takes root: run it with sudo (--dry-run shows without root what it would do)"
    )]
    NotRoot,
    /// sysfs does not know the function, or cannot be read.
    #[error(transparent)]
    Sysfs(#[from] SysfsError),
    /// A VF was named.
    #[error("{bdf} is a virtual function: name its PF, {pf}")]
    IsVf {
        /// What was named.
        bdf: Bdf,
        /// Its PF.
        pf: Bdf,
    },
    /// No SR-IOV.
    #[error(
        "{bdf} cannot have virtual functions (sysfs has no sriov_totalvfs): name a PF, switch SR-IOV on in the firmware of machine and device, and boot with a kernel that has CONFIG_PCI_IOV"
    )]
    NoSriov {
        /// What was named.
        bdf: Bdf,
    },
    /// Not virtio.
    #[error(
        "{bdf} is not a virtio function (vendor {vendor:#06x}, device {device:#06x}; virtio has vendor 0x1af4): name the virtio PF of the card"
    )]
    NotVirtio {
        /// What was named.
        bdf: Bdf,
        /// Vendor id.
        vendor: u16,
        /// Device id.
        device: u16,
    },
    /// Too many.
    #[error("{bdf} can have {total} VFs, not {wanted}: ask for fewer, or raise their number in the device's firmware")]
    TooManyVfs {
        /// The PF.
        bdf: Bdf,
        /// Asked for.
        wanted: u16,
        /// sriov_totalvfs.
        total: u16,
    },
    /// VFs exist, and not as they are wanted.
    #[error(
        "{bdf} has {enabled} VFs enabled{detail}, which cannot be changed while they exist: end their users, run 'heirloom pf release {bdf}', and prepare it again"
    )]
    VfsEnabled {
        /// The PF.
        bdf: Bdf,
        /// sriov_numvfs.
        enabled: u16,
        /// What is in the way.
        detail: String,
    },
    /// No IOMMU.
    #[error(
        "{bdf} has no IOMMU group: switch the IOMMU on in the firmware (VT-d, AMD-Vi), and on the kernel command line (intel_iommu=on) where the kernel does not use it by itself; 'heirloom probe --pf {bdf}' tells more"
    )]
    IommuOff {
        /// The function.
        bdf: Bdf,
    },
    /// Others in the group.
    #[error(
        "IOMMU group {group} of {bdf} has other members that the host uses ({members}): unbind them from their drivers, or put the card into a slot with ACS"
    )]
    NotViable {
        /// The function.
        bdf: Bdf,
        /// Group number.
        group: u32,
        /// Members with drivers of the host.
        members: String,
    },
    /// In use.
    #[error("{bdf} is in use: {}", .by.join("; "))]
    InUse {
        /// The function.
        bdf: Bdf,
        /// Who uses it, each with what to do.
        by: Vec<String>,
    },
    /// The kernel lacks the driver.
    #[error("this kernel has no driver {driver}: load it (modprobe {driver}), or use a kernel that has it{}", hint(.driver))]
    NoDriver {
        /// Its name.
        driver: &'static str,
    },
    /// VFs of a PF on vfio-pci are not allowed.
    #[error(
        "the kernel does not let VFs be enabled while vfio-pci has their PF, and {path} cannot be set: put 'options vfio-pci enable_sriov=1' into /etc/modprobe.d, or vfio_pci.enable_sriov=1 on the kernel command line, and reload the module"
    )]
    EnableSriov {
        /// The parameter.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused a change.
    #[error("the kernel refused '{value}' to {path}; 'dmesg | tail' may say why")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Its answer.
        source: io::Error,
    },
    /// A driver did not take or leave a function.
    #[error("{bdf} should be bound to {wanted} and is bound to {is}; 'dmesg | tail' may say why")]
    NotBound {
        /// The function.
        bdf: Bdf,
        /// The driver.
        wanted: String,
        /// What it has.
        is: String,
    },
    /// There are not the VFs that should be.
    #[error(
        "{wanted} VFs of {bdf} were enabled and {found} are there: is there room for their BARs and bus numbers? 'dmesg | tail' may say"
    )]
    VfsMissing {
        /// The PF.
        bdf: Bdf,
        /// sriov_numvfs.
        wanted: u16,
        /// How many there are.
        found: usize,
    },
    /// The state cannot be kept or read.
    #[error("cannot use {path}, which records what a PF was before")]
    State {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could change the state.
    #[error("{} must belong to the user who runs this and be writable by nobody else: remove it if nobody uses it", path.display())]
    StateFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The state makes no sense.
    #[error("{path} does not say what the PF was before ({what}): remove it, and release the PF again")]
    StateContent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another one is at it.
    #[error("another 'heirloom pf' is running ({path} is locked): wait until it ends")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// It failed half-way.
    #[error("{cause}; {}", undone(.left))]
    Undone {
        /// What failed.
        cause: String,
        /// What could not be undone.
        left: Vec<String>,
    },
}

fn undone(left: &[String]) -> String {
    if left.is_empty() {
        "everything that was done before has been undone".to_owned()
    } else {
        format!("of what was done before, this could not be undone: {}", left.join("; "))
    }
}

fn hint(driver: &str) -> &'static str {
    if driver == super::VIRTIO_VFIO_PCI { " (CONFIG_VIRTIO_VFIO_PCI, from Linux 6.8 on)" } else { "" }
}

/// An error with its causes, as one line.
pub(super) fn chain(error: &ManageError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
