// SPDX-License-Identifier: Apache-2.0
//! What must hold before a PF is touched. Reads only.

use std::fs;

use devices::function::vfio::sysfs::{SriovCounts, SysfsFunction};
use devices::function::vfio::{Bdf, group_blockers, is_no_iommu_group};
use devices::transitional::VIRTIO_VENDOR_ID;

use super::binding::Binding;
use super::{Host, ManageError, Owner, PrepareRequest, VFIO_PCI, usage};

/// A PF as it is.
#[derive(Debug)]
pub(super) struct Pf {
    pub function: SysfsFunction,
    pub binding: Binding,
    pub counts: SriovCounts,
}

impl Pf {
    /// Looks at `bdf`, which has to be a PF.
    pub(super) fn find(host: &Host, bdf: Bdf) -> Result<Self, ManageError> {
        let function = host.function(bdf)?;
        if let Some(pf) = function.physfn()? {
            return Err(ManageError::IsVf { bdf, pf });
        }
        let counts = function.sriov()?.ok_or(ManageError::NoSriov { bdf })?;
        Ok(Self { binding: Binding::of(host, bdf)?, function, counts })
    }

    pub(super) fn bdf(&self) -> Bdf {
        self.function.bdf()
    }

    /// Where VFs will be, as the PF says now (PCI Express Base Specification, "First VF Offset", "VF Stride").
    pub(super) fn vfs_to_come(&self, count: u16) -> Vec<Bdf> {
        let number = |name: &str| fs::read_to_string(self.function.path().join(name)).ok()?.trim().parse::<u32>().ok();
        let (Some(offset), Some(stride)) = (number("sriov_offset"), number("sriov_stride")) else { return Vec::new() };
        let pf = self.bdf();
        let own = u32::from(pf.bus) << 8 | u32::from(pf.device) << 3 | u32::from(pf.function);
        let address = |index: u16| {
            let id = own.checked_add(offset)?.checked_add(stride.checked_mul(index.into())?)?;
            let bus = u8::try_from(id >> 8).ok()?;
            Some(Bdf { domain: pf.domain, bus, device: (id >> 3 & 0x1f) as u8, function: (id & 7) as u8 })
        };
        (0..count).filter_map(address).collect()
    }

    /// The VFs that are enabled, in order.
    pub(super) fn vfs(&self) -> Result<Vec<Bdf>, ManageError> {
        Ok(self.function.virtfns()?.into_iter().map(|(_, bdf)| bdf).collect())
    }
}

/// Nobody uses `bdf`.
pub(super) fn not_in_use(host: &Host, bdf: Bdf) -> Result<(), ManageError> {
    let by = usage::users(&host.paths, bdf)?;
    if by.is_empty() { Ok(()) } else { Err(ManageError::InUse { bdf, by }) }
}

/// Everything about the PF that `request` needs.
pub(super) fn prepare(host: &Host, request: &PrepareRequest) -> Result<Pf, ManageError> {
    let pf = Pf::find(host, request.pf)?;
    let bdf = pf.bdf();
    let ids = pf.function.ids()?;
    if ids.vendor != VIRTIO_VENDOR_ID {
        return Err(ManageError::NotVirtio { bdf, vendor: ids.vendor, device: ids.device });
    }
    if request.vfs > pf.counts.total {
        return Err(ManageError::TooManyVfs { bdf, wanted: request.vfs, total: pf.counts.total });
    }
    group(host, &pf.function, request.owner)?;
    let (wanted, _) = request.owner.drivers();
    let bound = pf.binding.driver.as_deref() == Some(wanted);
    if pf.counts.enabled != 0 && (pf.counts.enabled != request.vfs || !bound) {
        return Err(vfs_enabled(&pf, wanted, request.vfs));
    }
    // A PF that stays with its driver loses nothing.
    if !bound {
        not_in_use(host, bdf)?;
    }
    Ok(pf)
}

fn vfs_enabled(pf: &Pf, wanted: &str, vfs: u16) -> ManageError {
    let enabled = pf.counts.enabled;
    let driver = pf.binding.driver.as_deref().unwrap_or("no driver");
    let detail =
        if enabled == vfs { format!(" and is bound to {driver}, not {wanted}") } else { format!(", not {vfs}") };
    ManageError::VfsEnabled { bdf: pf.bdf(), enabled, detail }
}

/// There is an IOMMU, and nobody else behind it in the PF's group. A PF that the kernel drives needs no group of its own.
fn group(host: &Host, function: &SysfsFunction, owner: Owner) -> Result<(), ManageError> {
    let bdf = function.bdf();
    let Some(group) = function.iommu_group()?.filter(|group| !is_no_iommu_group(group)) else {
        return Err(ManageError::IommuOff { bdf });
    };
    if owner == Owner::Kernel {
        return Ok(());
    }
    let blockers = group_blockers(&host.paths.sysfs, &group)?;
    let members: Vec<_> = blockers.iter().filter(|(member, _)| *member != bdf).collect();
    if members.is_empty() {
        return Ok(());
    }
    let members = members.iter().map(|(bdf, driver)| format!("{bdf} by {driver}")).collect::<Vec<_>>().join(", ");
    Err(ManageError::NotViable { bdf, group: group.id, members })
}

/// Whether VFs can be enabled while `vfio-pci` has their PF; none where the kernel does not say.
pub(super) fn sriov_enabled(host: &Host) -> Option<bool> {
    let text = fs::read_to_string(host.enable_sriov()).ok()?;
    match text.trim() {
        "Y" | "1" => Some(true),
        "N" | "0" => Some(false),
        _ => None,
    }
}

/// Whether the parameter matters to a PF.
pub(super) fn needs_enable_sriov(driver: &str) -> bool {
    driver == VFIO_PCI
}
