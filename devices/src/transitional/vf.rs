// SPDX-License-Identifier: Apache-2.0
//! What the VF's own configuration space says: device type, where MSI-X is, virtio capabilities, and
//! what they tell about the device. Reads the VF's configuration space and its modern common
//! configuration; writes nothing.

use super::identity::{DeviceType, VIRTIO_VENDOR_ID};
use super::queue_set::MAX_QUEUES;
use crate::bus::Width;
use crate::function::{FunctionError, PciFunction};
use crate::pci::capability::id;

const DEVICE_ID: u16 = 0x02;
const STATUS: u16 = 0x06;
const STATUS_CAPABILITIES: u32 = 1 << 4;
const POINTER: u16 = 0x34;
/// 192 bytes hold no more capabilities than this; a longer list runs in a circle.
const MAX_CAPABILITIES: usize = 48;

/// `cfg_type` values (virtio 1.3, "Virtio Structure PCI Capabilities").
const COMMON_CONFIG: u8 = 1;
const DEVICE_CONFIG: u8 = 4;
const PCI_CONFIG_ACCESS: u8 = 5;
/// Bytes of `struct virtio_pci_cap`.
const VIRTIO_CAP_LEN: usize = 16;
/// Offset of `num_queues` in the common configuration.
const NUM_QUEUES: u64 = 18;

/// Where a structure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// BAR number.
    pub bar: u8,
    /// Bytes into the BAR.
    pub offset: u32,
}

impl Location {
    /// Decodes an MSI-X table or PBA register: 3 bits of BAR number below the offset.
    const fn from_msix(register: u32) -> Self {
        Self { bar: (register & 7) as u8, offset: register & !7 }
    }
}

/// Where the VF has its MSI-X structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixLocation {
    /// The vector table.
    pub table: Location,
    /// The pending bits.
    pub pba: Location,
}

/// One virtio vendor capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtioCapability {
    /// All bytes behind the 2-byte capability header.
    pub body: Vec<u8>,
    cfg_type: u8,
    location: Location,
    length: u32,
}

/// What there is to know of a VF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VfInfo {
    /// Device type; `None` if the function is no modern virtio device with a transitional id.
    pub device: Option<DeviceType>,
    /// The device id found, for messages.
    pub device_id: u16,
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
    pub fn read(vf: &dyn PciFunction) -> Result<Self, FunctionError> {
        let vendor_id = vf.config_read(0, Width::B2)? as u16;
        let device_id = vf.config_read(DEVICE_ID, Width::B2)? as u16;
        let device = if vendor_id == VIRTIO_VENDOR_ID { DeviceType::from_modern_id(device_id) } else { None };
        let mut info = Self { device, device_id, msix: None, virtio: Vec::new(), config_len: None, queues: None };
        for (kind, offset) in capabilities(vf)? {
            match kind {
                id::MSIX if info.msix.is_none() => {
                    let table = Location::from_msix(vf.config_read(offset + 4, Width::B4)?);
                    let pba = Location::from_msix(vf.config_read(offset + 8, Width::B4)?);
                    info.msix = Some(MsixLocation { table, pba });
                }
                id::VENDOR => info.virtio.extend(virtio_capability(vf, offset)?),
                _ => {}
            }
        }
        let of_type = |cfg_type| info.virtio.iter().find(|c: &&VirtioCapability| c.cfg_type == cfg_type);
        info.config_len = of_type(DEVICE_CONFIG).map(|c| c.length);
        let common = of_type(COMMON_CONFIG).filter(|c| u64::from(c.length) >= NUM_QUEUES + 2);
        info.queues = common.and_then(|common| queues(vf, common.location));
        Ok(info)
    }
}

/// Ids and offsets of all capabilities; every one has at least 12 bytes inside the 256-byte space.
fn capabilities(vf: &dyn PciFunction) -> Result<Vec<(u8, u16)>, FunctionError> {
    let mut found = Vec::new();
    if vf.config_read(STATUS, Width::B2)? & STATUS_CAPABILITIES == 0 {
        return Ok(found);
    }
    let mut offset = vf.config_read(POINTER, Width::B1)? as u16 & 0xfc;
    while (0x40..=0xf4).contains(&offset) && found.len() < MAX_CAPABILITIES {
        let header = vf.config_read(offset, Width::B2)? as u16;
        found.push((header as u8, offset));
        offset = header >> 8 & 0xfc;
    }
    Ok(found)
}

/// The capability at `offset`, unless it is one that the guest must not see: cut short, in a BAR the
/// VF does not have (such as 0, which is the legacy interface here), or the window that reaches BARs
/// through configuration space, which this function does not have.
fn virtio_capability(vf: &dyn PciFunction, offset: u16) -> Result<Option<VirtioCapability>, FunctionError> {
    let len = vf.config_read(offset + 2, Width::B1)? as usize;
    if len < VIRTIO_CAP_LEN || usize::from(offset) + len > 256 {
        return Ok(None);
    }
    let body = (2..len as u16)
        .map(|byte| vf.config_read(offset + byte, Width::B1).map(|value| value as u8))
        .collect::<Result<Vec<u8>, _>>()?;
    let cfg_type = vf.config_read(offset + 3, Width::B1)? as u8;
    let bar = vf.config_read(offset + 4, Width::B1)? as u8;
    let start = vf.config_read(offset + 8, Width::B4)?;
    let length = vf.config_read(offset + 12, Width::B4)?;
    let inside = |size: u64| u64::from(start) + u64::from(length) <= size;
    let good = bar != 0 && cfg_type != PCI_CONFIG_ACCESS && vf.region(bar).is_some_and(|region| inside(region.size));
    Ok(good.then_some(VirtioCapability { body, cfg_type, location: Location { bar, offset: start }, length }))
}

/// The number of queues the modern interface tells; nothing if it makes no sense.
fn queues(vf: &dyn PciFunction, common: Location) -> Option<u16> {
    let value = vf.region_read(common.bar, u64::from(common.offset) + NUM_QUEUES, Width::B2).ok()?;
    u16::try_from(value).ok().filter(|queues| (1..=MAX_QUEUES).contains(queues))
}

#[cfg(test)]
#[path = "vf_tests.rs"]
mod tests;
