// SPDX-License-Identifier: Apache-2.0
//! What the VF's own configuration space says: device type, where MSI-X is, virtio capabilities, and
//! what they tell about the device. Reads the VF's configuration space and its modern common
//! configuration; writes nothing.

use crate::bus::Width;
use crate::function::capabilities::{self, Capability, CapabilityList};
use crate::function::{FunctionError, PciFunction};
use crate::pci::MsixPlace;
use crate::spec::pci::{DEVICE_ID, VENDOR_ID, id};
use crate::spec::virtio::cfg_type;
use crate::spec::virtio::common::NUM_QUEUES;
use crate::transitional::layout::identity::{DeviceType, VIRTIO_VENDOR_ID};
use crate::transitional::layout::queue_set::MAX_QUEUES;

/// Last place for the 12 bytes of an MSI-X capability.
const LAST_MSIX: u8 = 0xf4;

/// Where a structure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Location {
    /// BAR number.
    bar: u8,
    /// Bytes into the BAR.
    offset: u32,
}

/// Where the VF has its MSI-X structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MsixLocation {
    /// The vector table.
    pub table: MsixPlace,
    /// The pending bits.
    pub pba: MsixPlace,
}

/// One virtio vendor capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtioCapability {
    /// All bytes behind the 2-byte capability header.
    pub body: Vec<u8>,
    cfg_type: u8,
    location: Location,
    length: u32,
}

/// What there is to know of a VF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VfInfo {
    /// Device type; the device id if the function is not a modern virtio device with a transitional twin.
    pub device: Result<DeviceType, u16>,
    /// MSI-X, if there is any.
    pub msix: Option<MsixLocation>,
    /// Virtio capabilities that are good to show to a guest, in order.
    pub virtio: Vec<VirtioCapability>,
    /// Bytes of device configuration, if a capability says.
    pub config_len: Option<u32>,
    /// Number of queues, 1 to [`MAX_QUEUES`], if the function tells.
    pub queues: Option<u16>,
}

impl VfInfo {
    /// Looks at `vf`.
    pub(crate) fn read(vf: &dyn PciFunction) -> Result<Self, FunctionError> {
        let vendor_id = vf.config_read(VENDOR_ID, Width::B2)? as u16;
        let device_id = vf.config_read(DEVICE_ID, Width::B2)? as u16;
        let device = DeviceType::from_modern_id(device_id).filter(|_| vendor_id == VIRTIO_VENDOR_ID).ok_or(device_id);
        let mut info = Self { device, msix: None, virtio: Vec::new(), config_len: None, queues: None };
        // A list that leads nowhere is good as far as it goes: the guest gets a list of its own.
        for Capability { id, offset } in CapabilityList::read(vf)?.found {
            match id {
                id::MSIX if info.msix.is_none() && offset <= LAST_MSIX => {
                    let table = MsixPlace::from_register(vf.config_read(u16::from(offset) + 4, Width::B4)?);
                    let pba = MsixPlace::from_register(vf.config_read(u16::from(offset) + 8, Width::B4)?);
                    info.msix = Some(MsixLocation { table, pba });
                }
                id::VENDOR => info.virtio.extend(virtio_capability(vf, offset)?),
                _ => {}
            }
        }
        let of_type = |cfg_type| info.virtio.iter().find(|c: &&VirtioCapability| c.cfg_type == cfg_type);
        info.config_len = of_type(cfg_type::DEVICE).map(|c| c.length);
        let common = of_type(cfg_type::COMMON).filter(|c| u64::from(c.length) >= NUM_QUEUES + 2);
        info.queues = common.and_then(|common| queues(vf, common.location));
        Ok(info)
    }
}

/// The capability at `at`, unless it is one that the guest must not see: cut short, in a BAR the VF
/// does not have (such as 0, which is the legacy interface here), or the window that reaches BARs
/// through configuration space, which this function does not have.
fn virtio_capability(vf: &dyn PciFunction, at: u8) -> Result<Option<VirtioCapability>, FunctionError> {
    let Some(found) = capabilities::VirtioCapability::read(vf, at)? else { return Ok(None) };
    if found.bar == 0 || found.cfg_type == cfg_type::PCI || !found.is_inside(vf) {
        return Ok(None);
    }
    let body = (2..found.len)
        .map(|byte| vf.config_read(u16::from(at) + u16::from(byte), Width::B1).map(|value| value as u8))
        .collect::<Result<Vec<u8>, _>>()?;
    let location = Location { bar: found.bar, offset: found.offset };
    Ok(Some(VirtioCapability { body, cfg_type: found.cfg_type, location, length: found.length }))
}

/// The number of queues the modern interface tells; nothing if it makes no sense.
fn queues(vf: &dyn PciFunction, common: Location) -> Option<u16> {
    let value = vf.region_read(common.bar, u64::from(common.offset) + NUM_QUEUES, Width::B2).ok()?;
    u16::try_from(value).ok().filter(|queues| (1..=MAX_QUEUES).contains(queues))
}

#[cfg(test)]
#[path = "vf_tests.rs"]
mod tests;
