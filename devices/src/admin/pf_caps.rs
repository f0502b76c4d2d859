// SPDX-License-Identifier: Apache-2.0
//! Finds the virtio structures of a modern function through its PCI capabilities (virtio 1.4,
//! "Virtio Structure PCI Capabilities"). Reads configuration space, writes nothing.

use super::pf_error::PfCause;
use crate::bus::Width;
use crate::function::PciFunction;
use crate::function::capabilities::{CapabilityList, VIRTIO_CAP_LEN, VirtioCapability};
use crate::spec::pci::id;
use crate::spec::virtio::cfg_type;

/// The notification capability has its multiplier behind the common part.
const NOTIFY_CAP_LEN: u8 = VIRTIO_CAP_LEN + 4;

/// Part of a BAR, checked to lie inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure {
    pub(super) bar: u8,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// What a PF driver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VirtioStructures {
    pub(super) common: Structure,
    pub(super) notify: Structure,
    pub(super) notify_off_multiplier: u32,
}

/// Walks the capability list. Of several structures of one type the earliest usable one counts.
pub(super) fn find(function: &dyn PciFunction) -> Result<VirtioStructures, PfCause> {
    let (mut common, mut notify) = (None, None);
    let list = CapabilityList::read(function)?;
    if let Some(at) = list.broken_at {
        return Err(PfCause::CapabilityLoop { at });
    }
    for capability in list.found.iter().filter(|c| c.id == id::VENDOR) {
        let Some(found) = VirtioCapability::read(function, capability.offset)? else { continue };
        match found.cfg_type {
            cfg_type::COMMON if common.is_none() => common = structure(function, &found),
            cfg_type::NOTIFY if notify.is_none() && found.len >= NOTIFY_CAP_LEN => {
                let multiplier = u16::from(capability.offset) + u16::from(VIRTIO_CAP_LEN);
                let multiplier = function.config_read(multiplier, Width::B4)?;
                notify = structure(function, &found).map(|place| (place, multiplier));
            }
            _ => {}
        }
    }
    let common = common.ok_or(PfCause::NoCapability { what: "common configuration", cfg_type: cfg_type::COMMON })?;
    let (notify, notify_off_multiplier) =
        notify.ok_or(PfCause::NoCapability { what: "notification", cfg_type: cfg_type::NOTIFY })?;
    Ok(VirtioStructures { common, notify, notify_off_multiplier })
}

/// The structure that a capability describes, if its BAR holds all of it.
fn structure(function: &dyn PciFunction, found: &VirtioCapability) -> Option<Structure> {
    let inside = found.is_inside(function);
    if !inside {
        tracing::debug!(function = function.name(), ?found, "virtio capability skipped");
    }
    inside.then_some(Structure { bar: found.bar, offset: found.offset, length: found.length })
}
