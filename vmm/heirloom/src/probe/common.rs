// SPDX-License-Identifier: Apache-2.0
//! What the checks of a PF and of its VFs share.

use devices::function::vfio::sysfs::{IommuGroup, SysfsError, SysfsFunction};
use devices::function::vfio::{group_blockers, is_no_iommu_group, is_vfio_driver};
use devices::transitional::DeviceType;

use super::ProbeRequest;
use super::checks::Checks;
use super::nodes::usable;

type Result<T> = std::result::Result<T, SysfsError>;

/// Who runs administration commands, by the drivers that there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Heirloom,
    Kernel,
    Neither,
}

pub(super) fn kind(device: u16) -> &'static str {
    match DeviceType::from_modern_id(device) {
        Some(DeviceType::Net) => "virtio network card",
        Some(DeviceType::Block) => "virtio disk",
        Some(_) => "virtio device",
        None => "virtio device of a kind without a legacy interface",
    }
}

/// Group and nodes of a function that VFIO is to open.
pub(super) fn iommu_group(checks: &mut Checks, request: &ProbeRequest, function: &SysfsFunction) -> Result<()> {
    let group = match function.iommu_group()? {
        Some(group) if !is_no_iommu_group(&group) => group,
        Some(_) => {
            checks.fail(
                "iommu_group",
                "VFIO's mode without an IOMMU",
                "switch the IOMMU on; a guest would have the host's memory",
            );
            return Ok(());
        }
        None => {
            checks.fail("iommu_group", "it is in no IOMMU group", "switch the IOMMU on, see the line iommu");
            return Ok(());
        }
    };
    let mut blockers = group_blockers(&request.paths.sysfs, &group)?;
    // Its own driver has a line of its own.
    blockers.retain(|(member, _)| *member != function.bdf());
    if blockers.is_empty() {
        checks.pass("iommu_group", format!("{}, {}", group.id, members(group.members.len())));
    } else {
        let text: Vec<_> = blockers.iter().map(|(bdf, driver)| format!("{bdf} by {driver}")).collect();
        let fix = "bind these to vfio-pci as well, or to no driver; or put the card into a slot with ACS";
        checks.fail("iommu_group", format!("{} has members that the host uses: {}", group.id, text.join(", ")), fix);
    }
    nodes(checks, request, function, &group)
}

fn members(count: usize) -> String {
    if count == 1 { "alone in it".to_owned() } else { format!("with {} that the host does not use", count - 1) }
}

fn nodes(checks: &mut Checks, request: &ProbeRequest, function: &SysfsFunction, group: &IommuGroup) -> Result<()> {
    if !function.driver()?.is_some_and(|driver| is_vfio_driver(&driver)) {
        checks.unknown("vfio_node", "there is none before it is bound to vfio-pci", None);
        return Ok(());
    }
    let by_group = request.paths.dev.join("vfio").join(group.id.to_string());
    let cdev = function.vfio_cdev()?.map(|name| request.paths.dev.join("vfio/devices").join(name));
    let found = [cdev.as_deref(), Some(by_group.as_path())].map(|node| node.map(|node| (node, usable(node))));
    let found: Vec<_> = found.into_iter().flatten().filter_map(|(node, usable)| Some((node, usable?))).collect();
    match found.as_slice() {
        [] => checks.fail(
            "vfio_node",
            format!("neither {} nor a character device is there", by_group.display()),
            "is /dev a devtmpfs? 'dmesg | tail' may tell",
        ),
        nodes => match nodes.iter().find(|(_, usable)| *usable) {
            Some((node, _)) => checks.pass("vfio_node", format!("{} can be opened by this user", node.display())),
            None => {
                let node = nodes[0].0.display();
                checks.fail(
                    "vfio_node",
                    format!("{node} cannot be opened by this user"),
                    format!("chown USER {node}, or a udev rule; or run as root"),
                );
            }
        },
    }
    Ok(())
}
