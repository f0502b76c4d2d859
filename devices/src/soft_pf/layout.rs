// SPDX-License-Identifier: Apache-2.0
//! Where things are in the BARs and the configuration space of PF and VFs. All functions have the
//! same layout: BAR 2 has the virtio structures, BAR 4 the MSI-X table and pending bits. BAR 0 stays
//! free for a legacy interface (virtio 1.3 asks for that where LEGACY_NOTIFY_INFO is offered).

use crate::function::Region;
use crate::pci::{BarKind, ConfigError, ConfigSpace, Identity, Subsystem};
use crate::spec::pci::{express, id, msix as spec_msix};
pub(super) use crate::spec::virtio::VENDOR_ID;
use crate::spec::virtio::{cfg_type, common};

/// BAR with the virtio structures: 32-bit, so that a guest without 64-bit addresses can place it.
pub(super) const REGISTER_BAR: u8 = 2;
pub(super) const REGISTER_BAR_SIZE: u64 = 0x4000;
/// BAR with the MSI-X table and pending bits.
pub(super) const MSIX_BAR: u8 = 4;
pub(super) const MSIX_BAR_SIZE: u64 = 0x1000;
const MSIX_PBA: u32 = 0x800;

/// Structures in the register BAR, each on its own page so that doorbells can be mapped alone.
pub(super) const COMMON: u64 = 0x0000;
pub(super) const ISR: u64 = 0x1000;
pub(super) const DEVICE: u64 = 0x2000;
pub(super) const NOTIFY: u64 = 0x3000;
/// Doorbells of the function itself end here.
pub(super) const NOTIFY_END: u64 = 0x3800;
/// In the PF's BAR: one 2-byte doorbell for each VF.
pub(super) const OWNER_DOORBELLS: u64 = NOTIFY_END;
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// VFs that have room for an owner doorbell.
pub(super) const MAX_VFS: usize = 255;

/// Subsystem id of a function that is not transitional: 0x40 or more (virtio 1.3, 4.1.2.1).
const SUBSYSTEM_ID: u16 = 0x1100;
/// Device ids of modern functions are this plus the device type.
const MODERN_DEVICE_ID: u16 = 0x1040;

/// The BARs of every function.
pub(super) fn region(bar: u8) -> Option<Region> {
    let size = match bar {
        REGISTER_BAR => REGISTER_BAR_SIZE,
        MSIX_BAR => MSIX_BAR_SIZE,
        _ => return None,
    };
    Some(Region { size, is_io: false, is_64bit: false, prefetchable: false })
}

/// Whether a doorbell of the function itself is at `offset` of the register BAR.
pub(super) fn is_doorbell(offset: u64) -> bool {
    (NOTIFY..NOTIFY_END).contains(&offset) && offset.is_multiple_of(2)
}

/// The modern device id of a device type.
pub(super) fn modern_device_id(device_type: u16) -> u16 {
    MODERN_DEVICE_ID + device_type
}

/// What a function's configuration space depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub device_type: u16,
    pub queues: u16,
    pub config_len: usize,
    pub vectors: u16,
}

/// A configuration space, and where in it things are that the function acts on.
pub(super) struct Config {
    pub space: ConfigSpace,
    pub express: u16,
    msix: u16,
    vectors: u16,
}

impl Config {
    /// The configuration space of a modern virtio function.
    pub(super) fn new(traits: &Traits) -> Result<Self, ConfigError> {
        let class_code = match traits.device_type {
            2 => [0x00, 0x00, 0x01],
            _ => [0x00, 0x00, 0x02],
        };
        let mut space = ConfigSpace::new(&Identity {
            vendor_id: VENDOR_ID,
            device_id: modern_device_id(traits.device_type),
            revision_id: 1,
            class_code,
            subsystem: Subsystem { vendor_id: VENDOR_ID, id: SUBSYSTEM_ID },
        });
        let kind = BarKind::Memory32 { prefetchable: false };
        space.add_bar(REGISTER_BAR, kind, REGISTER_BAR_SIZE)?;
        space.add_bar(MSIX_BAR, kind, MSIX_BAR_SIZE)?;
        let msix = add_msix(&mut space, traits.vectors)?;
        let express = add_express(&mut space)?;
        add_structures(&mut space, traits)?;
        Ok(Self { space, express, msix, vectors: traits.vectors })
    }

    /// Shows MSI-X as enabled or not. The bit is not writable: `set_msix` is the way to enable it.
    pub(super) fn show_msix(&mut self, enabled: bool) {
        let control = self.vectors.saturating_sub(1) | if enabled { spec_msix::ENABLE } else { 0 };
        self.space.patch(self.msix + spec_msix::CONTROL, crate::bus::Width::B2, control.into());
    }
}

fn add_msix(space: &mut ConfigSpace, vectors: u16) -> Result<u16, ConfigError> {
    let mut body = [0; 10];
    body[0..2].copy_from_slice(&vectors.saturating_sub(1).to_le_bytes());
    body[2..6].copy_from_slice(&u32::from(MSIX_BAR).to_le_bytes());
    body[6..10].copy_from_slice(&(MSIX_PBA | u32::from(MSIX_BAR)).to_le_bytes());
    space.add_capability(id::MSIX, &body, &[])
}

fn add_express(space: &mut ConfigSpace) -> Result<u16, ConfigError> {
    let mut body = [0; express::LEN - 2];
    body[0..2].copy_from_slice(&express::VERSION_2.to_le_bytes());
    body[2..6].copy_from_slice(&(express::ROLE_BASED_ERRORS | express::FLR_CAPABLE).to_le_bytes());
    let mut writable = [0; 8];
    writable[6..8].copy_from_slice(&(!express::INITIATE_FLR).to_le_bytes());
    space.add_capability(id::EXPRESS, &body, &writable)
}

fn add_structures(space: &mut ConfigSpace, traits: &Traits) -> Result<(), ConfigError> {
    let notify_len = u64::from(traits.queues) * u64::from(NOTIFY_MULTIPLIER);
    let structure = |kind: u8, offset: u64, len: u64| {
        let mut body = [0; 18];
        body[0] = 16;
        body[1] = kind;
        body[2] = REGISTER_BAR;
        body[6..10].copy_from_slice(&(offset as u32).to_le_bytes());
        body[10..14].copy_from_slice(&(len as u32).to_le_bytes());
        body
    };
    let common = structure(cfg_type::COMMON, COMMON, common::LEN as u64);
    space.add_capability(id::VENDOR, &common[..14], &[])?;
    let mut notify = structure(cfg_type::NOTIFY, NOTIFY, notify_len);
    notify[0] = 20;
    notify[14..18].copy_from_slice(&NOTIFY_MULTIPLIER.to_le_bytes());
    space.add_capability(id::VENDOR, &notify, &[])?;
    space.add_capability(id::VENDOR, &structure(cfg_type::ISR, ISR, 1)[..14], &[])?;
    let device = structure(cfg_type::DEVICE, DEVICE, traits.config_len as u64);
    space.add_capability(id::VENDOR, &device[..14], &[])?;
    Ok(())
}
