// SPDX-License-Identifier: Apache-2.0
//! What can be said about a function before it is opened: driver, group, nodes. It reads sysfs and
//! opens no device, so it disturbs nobody.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::bdf::Bdf;
use super::open_error::OpenError;
use super::sysfs::{IommuGroup, Sysfs, SysfsError};

/// Name of the group that VFIO makes up where there is no IOMMU (Linux, drivers/vfio/group.c).
const NO_IOMMU_GROUP: &str = "vfio-noiommu";
/// Drivers that leave DMA to VFIO's user (Linux, `driver_managed_dma`).
const HARMLESS: &[&str] = &["pcieport", "pci-stub"];

/// Where the kernel's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPaths {
    /// `/sys`.
    pub sysfs: Sysfs,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Default for HostPaths {
    fn default() -> Self {
        Self { sysfs: Sysfs::new(), dev: "/dev".into(), proc: "/proc".into() }
    }
}

/// A function that VFIO can open, as far as sysfs tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// The function.
    pub bdf: Bdf,
    /// Its driver, `vfio-pci` or a variant of it.
    pub driver: String,
    /// What there is to open.
    pub nodes: Nodes,
    /// Vendor and device id, as the kernel knows them.
    pub ids: (u16, u16),
    /// Its PF and whether a VFIO driver has that, if it is a VF.
    pub pf: Option<(Bdf, bool)>,
}

/// What there is to open for a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Its IOMMU group.
    pub group: IommuGroup,
    /// Members of the group that the host's drivers use: the group cannot be opened while there are any.
    pub blockers: Vec<(Bdf, String)>,
    /// The name of its character device, if this kernel has such.
    pub cdev: Option<String>,
}

/// Whether a driver gives its devices to user space: `vfio-pci` and its variants, such as
/// `virtio_vfio_pci` and `mlx5_vfio_pci`.
pub fn is_vfio_driver(driver: &str) -> bool {
    driver.contains("vfio")
}

/// Looks at `bdf`.
///
/// # Errors
/// When it cannot be opened, with what is to be done.
pub fn preflight(paths: &HostPaths, bdf: Bdf) -> Result<Preflight, OpenError> {
    let function = paths.sysfs.function(bdf)?;
    // The group comes with a driver of VFIO where the mode without an IOMMU is on.
    let group = function.iommu_group()?;
    let driver = match function.driver()? {
        Some(driver) if is_vfio_driver(&driver) => driver,
        _ if group.is_none() => return Err(OpenError::IommuOff { bdf }),
        driver => return Err(OpenError::NotBound { bdf, driver }),
    };
    let group = group.ok_or(OpenError::IommuOff { bdf })?;
    if is_no_iommu_group(&group) {
        return Err(OpenError::NoIommu { bdf });
    }
    let pf = match function.physfn()? {
        Some(pf) => Some((pf, paths.sysfs.function(pf)?.driver()?.is_some_and(|driver| is_vfio_driver(&driver)))),
        None => None,
    };
    let ids = function.ids()?;
    Ok(Preflight {
        bdf,
        driver,
        nodes: Nodes { blockers: group_blockers(&paths.sysfs, &group)?, group, cdev: function.vfio_cdev()? },
        ids: (ids.vendor, ids.device),
        pf,
    })
}

/// Whether VFIO made the group up: there is no IOMMU, and no protection.
pub fn is_no_iommu_group(group: &IommuGroup) -> bool {
    group.name.as_deref() == Some(NO_IOMMU_GROUP)
}

/// Members of a group that the host's drivers use, and those drivers.
///
/// # Errors
/// When sysfs cannot be read.
pub fn group_blockers(sysfs: &Sysfs, group: &IommuGroup) -> Result<Vec<(Bdf, String)>, SysfsError> {
    let mut found = Vec::new();
    for member in &group.members {
        match sysfs.function(*member)?.driver()? {
            Some(driver) if !is_vfio_driver(&driver) && !HARMLESS.contains(&driver.as_str()) => {
                found.push((*member, driver));
            }
            _ => {}
        }
    }
    Ok(found)
}
