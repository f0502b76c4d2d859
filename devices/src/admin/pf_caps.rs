// SPDX-License-Identifier: Apache-2.0
//! Finds the virtio structures of a modern function through its PCI capabilities (virtio 1.4,
//! "Virtio Structure PCI Capabilities"). Reads configuration space, writes nothing.

use super::pf_error::PfCause;
use crate::bus::Width;
use crate::function::PciFunction;

const STATUS: u16 = 0x06;
const STATUS_CAPABILITIES: u32 = 1 << 4;
const CAPABILITIES: u16 = 0x34;
const FIRST: u8 = 0x40;
const VENDOR: u32 = 0x09;

const CFG_COMMON: u8 = 1;
const CFG_NOTIFY: u8 = 2;

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
    let mut seen = [false; 256];
    let mut at = 0;
    if function.config_read(STATUS, Width::B2)? & STATUS_CAPABILITIES != 0 {
        at = pointer(function.config_read(CAPABILITIES, Width::B1)?);
    }
    while at != 0 {
        let place = seen.get_mut(usize::from(at)).filter(|seen| at >= FIRST && !**seen);
        *place.ok_or(PfCause::CapabilityLoop { at })? = true;
        let header = function.config_read(at.into(), Width::B4)?;
        let (len, cfg_type) = ((header >> 16) as u8, (header >> 24) as u8);
        // 16 bytes for every type, 20 with the notify multiplier; all inside the 256-byte space.
        let fits = |needed: u8| len >= needed && at.checked_add(needed - 1).is_some();
        if header & 0xff == VENDOR && fits(16) {
            match cfg_type {
                CFG_COMMON if common.is_none() => common = structure(function, at)?,
                CFG_NOTIFY if notify.is_none() && fits(20) => {
                    let multiplier = function.config_read(u16::from(at) + 16, Width::B4)?;
                    notify = structure(function, at)?.map(|place| (place, multiplier));
                }
                _ => {}
            }
        }
        at = pointer(header >> 8);
    }
    let common = common.ok_or(PfCause::NoCapability { what: "common configuration", cfg_type: CFG_COMMON })?;
    let (notify, notify_off_multiplier) =
        notify.ok_or(PfCause::NoCapability { what: "notification", cfg_type: CFG_NOTIFY })?;
    Ok(VirtioStructures { common, notify, notify_off_multiplier })
}

/// A capability pointer; its two lowest bits are reserved.
fn pointer(raw: u32) -> u8 {
    raw as u8 & 0xfc
}

/// The structure that the capability at `at` describes, if its BAR holds all of it.
fn structure(function: &dyn PciFunction, at: u8) -> Result<Option<Structure>, PfCause> {
    let at = u16::from(at);
    let bar = function.config_read(at + 4, Width::B1)? as u8;
    let offset = function.config_read(at + 8, Width::B4)?;
    let length = function.config_read(at + 12, Width::B4)?;
    let size = if bar <= 5 { function.region(bar).map_or(0, |region| region.size) } else { 0 };
    let inside = u64::from(offset) + u64::from(length) <= size;
    if !inside {
        tracing::debug!(function = function.name(), at, bar, offset, length, size, "virtio capability skipped");
    }
    Ok(inside.then_some(Structure { bar, offset, length }))
}
