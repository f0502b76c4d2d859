// SPDX-License-Identifier: Apache-2.0
//! A VF of this host, as sysfs shows it.

use std::num::NonZeroU16;

use devices::function::vfio::sysfs::{PciIds, SysfsError, SysfsFunction};
use devices::function::vfio::{Bdf, is_vfio_driver};
use devices::transitional::DeviceType;

use super::checks::Checks;
use super::common::{Route, iommu_group, kind};
use super::deep::{Member, Resources};
use super::{ProbeRequest, config_space};
use crate::pf::{VIRTIO_VFIO_PCI, users};

type Result<T> = std::result::Result<T, SysfsError>;

/// A VF; returns what a PF is to be asked about it.
pub(super) fn look(
    checks: &mut Checks,
    request: &ProbeRequest,
    number: NonZeroU16,
    vf: Bdf,
    route: Route,
) -> Result<Member> {
    let function = request.paths.sysfs.function(vf)?;
    let ids = function.ids()?;
    vf_kind(checks, number, &ids, route);
    vf_driver(checks, &function, route)?;
    iommu_group(checks, request, &function)?;
    let resources = function.resources()?;
    match resources.first() {
        Some(Some(_)) => checks.fail(
            "vf_bar0",
            "the VF has a BAR 0, where the legacy registers have to be",
            "have the device's firmware make VFs with BAR 0 absent",
        ),
        _ => checks.pass("vf_bar0", "absent, so there is room for the legacy registers"),
    }
    let vectors = match config_space::msix_vectors(function.path()) {
        Ok(vectors) => {
            msix(checks, vectors);
            Some(vectors)
        }
        Err(error) => {
            checks.unknown("msix_vectors", format!("cannot read configuration space: {error}"), Some("run as root"));
            None
        }
    };
    let by = users(&request.paths, vf)?;
    if by.is_empty() {
        checks.pass("in_use", "by nobody that this user can see");
    } else {
        checks.fail("in_use", by.join("; "), "choose another VF, or end its user");
    }
    let sizes = resources.iter().map(|bar| bar.map(|bar| (bar.end - bar.start).saturating_add(1))).take(6).collect();
    Ok(Member {
        name: vf.to_string(),
        number,
        resources: Resources { sizes, vectors },
        is_disk: is_disk(ids.device),
        is_idle: by.is_empty(),
    })
}

fn vf_kind(checks: &mut Checks, number: NonZeroU16, ids: &PciIds, route: Route) {
    let what = format!("VF {number}: {} ({:04x}:{:04x})", kind(ids.device), ids.vendor, ids.device);
    match DeviceType::from_modern_id(ids.device) {
        Some(device) if route == Route::Kernel && device != DeviceType::Net => checks.fail(
            "vf",
            format!(
                "VF {number}: {}, but virtio_vfio_pci makes legacy registers for network cards only",
                kind(ids.device)
            ),
            "use admin=pf: heirloom pf release, then heirloom pf prepare",
        ),
        Some(_) => checks.pass("vf", what),
        None => checks.fail(
            "vf",
            format!("VF {number}: {:04x}:{:04x} has no legacy interface", ids.vendor, ids.device),
            "have the device's firmware make it a network card, a disk, or another kind with a legacy interface",
        ),
    }
}

/// Whether a modern device id is a disk's.
pub(super) fn is_disk(device_id: u16) -> bool {
    DeviceType::from_modern_id(device_id) == Some(DeviceType::Block)
}

pub(super) fn msix(checks: &mut Checks, vectors: u16) {
    let fix = "raise the number of MSI-X vectors of VFs in the device's firmware";
    match vectors {
        0 => checks.fail("msix_vectors", "none, and a VF has no other interrupts", fix),
        1 => checks.warn("msix_vectors", "1, which all queues and the configuration share", fix),
        count => checks.pass("msix_vectors", count.to_string()),
    }
}

fn vf_driver(checks: &mut Checks, vf: &SysfsFunction, route: Route) -> Result<()> {
    match (vf.driver()?.as_deref(), route) {
        (Some(VIRTIO_VFIO_PCI), Route::Heirloom) => {
            checks.pass("vf_driver", "virtio_vfio_pci; with admin=pf it is as good as vfio-pci")
        }
        (Some(driver), _) if is_vfio_driver(driver) => checks.pass("vf_driver", driver),
        (driver, _) => {
            let fix = match vf.physfn()? {
                Some(pf) => format!("heirloom pf prepare {pf} --vfs N"),
                None => "bind it to vfio-pci".to_owned(),
            };
            checks.fail("vf_driver", format!("bound to {}, not to vfio-pci", driver.unwrap_or("no driver")), fix);
        }
    }
    Ok(())
}
