// SPDX-License-Identifier: Apache-2.0
//! The SR-IOV extended capability (PCI Express Base 5.0, 9.3.3): its registers, and what they say.

use std::sync::atomic::{AtomicU16, Ordering};

use super::layout::{MSIX_BAR, MSIX_BAR_SIZE, REGISTER_BAR, REGISTER_BAR_SIZE};
use crate::bus::Width;
use crate::pci::{ConfigError, ConfigSpace, capability::id};

/// Offsets from the capability's header.
mod at {
    pub const CONTROL: u16 = 0x08;
    pub const INITIAL_VFS: usize = 0x0c;
    pub const TOTAL_VFS: usize = 0x0e;
    pub const NUM_VFS: u16 = 0x10;
    pub const FIRST_VF_OFFSET: usize = 0x14;
    pub const VF_STRIDE: usize = 0x16;
    pub const VF_DEVICE_ID: usize = 0x1a;
    pub const SUPPORTED_PAGE_SIZES: usize = 0x1c;
    pub const SYSTEM_PAGE_SIZE: usize = 0x20;
    pub const VF_BAR0: usize = 0x24;
}
const LEN: usize = 0x40;
const HEADER: usize = 4;

const VF_ENABLE: u16 = 1 << 0;
const VF_MEMORY_SPACE_ENABLE: u16 = 1 << 3;
/// Page size bit 0: 4 KiB.
const PAGE_4K: u32 = 1;
/// VFs follow their PF, one routing id after the other.
const FIRST_VF_OFFSET: u16 = 1;
const VF_STRIDE: u16 = 1;

/// Adds the capability; returns where. VF BAR 0 is 0 and read-only, others can be sized and placed.
pub(super) fn add(space: &mut ConfigSpace, total: u16, vf_device_id: u16) -> Result<u16, ConfigError> {
    let (mut registers, mut writable) = ([0; LEN], [0; LEN]);
    let mut put = |offset: usize, value: &[u8]| registers[offset..offset + value.len()].copy_from_slice(value);
    put(at::INITIAL_VFS, &total.to_le_bytes());
    put(at::TOTAL_VFS, &total.to_le_bytes());
    put(at::FIRST_VF_OFFSET, &FIRST_VF_OFFSET.to_le_bytes());
    put(at::VF_STRIDE, &VF_STRIDE.to_le_bytes());
    put(at::VF_DEVICE_ID, &vf_device_id.to_le_bytes());
    put(at::SUPPORTED_PAGE_SIZES, &PAGE_4K.to_le_bytes());
    put(at::SYSTEM_PAGE_SIZE, &PAGE_4K.to_le_bytes());
    let mut allow = |offset: usize, bits: &[u8]| writable[offset..offset + bits.len()].copy_from_slice(bits);
    allow(at::CONTROL.into(), &(VF_ENABLE | VF_MEMORY_SPACE_ENABLE).to_le_bytes());
    allow(at::NUM_VFS.into(), &u16::MAX.to_le_bytes());
    for (bar, size) in [(REGISTER_BAR, REGISTER_BAR_SIZE), (MSIX_BAR, MSIX_BAR_SIZE)] {
        allow(at::VF_BAR0 + 4 * usize::from(bar), &(!(size as u32 - 1)).to_le_bytes());
    }
    space.add_extended_capability(id::EXTENDED_SRIOV, 1, &registers[HEADER..], &writable[HEADER..])
}

/// What the registers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vfs {
    /// VFs that exist: NumVFs while VF Enable is set, else 0.
    pub enabled: u16,
    /// VF Memory Space Enable.
    pub memory: bool,
}

/// Makes the registers consistent after a write and says what they mean now. `before` is what they
/// meant. NumVFs cannot change while VFs are enabled, and more VFs than there are cannot be enabled.
pub(super) fn settle(space: &mut ConfigSpace, capability: u16, total: u16, before: Vfs) -> Vfs {
    let control = space.read(capability + at::CONTROL, Width::B2) as u16;
    let mut enable = control & VF_ENABLE != 0;
    if enable && before.enabled != 0 {
        space.patch(capability + at::NUM_VFS, Width::B2, before.enabled.into());
    }
    let wanted = space.read(capability + at::NUM_VFS, Width::B2) as u16;
    if enable && wanted > total {
        enable = false;
        space.patch(capability + at::CONTROL, Width::B2, (control & !VF_ENABLE).into());
    }
    Vfs { enabled: if enable { wanted } else { 0 }, memory: control & VF_MEMORY_SPACE_ENABLE != 0 }
}

/// Configuration writes, 2 bytes each, that disable all VFs and then enable `count` with memory
/// decoding.
pub(super) fn enable_writes(capability: u16, count: u16) -> [(u16, u16); 3] {
    let control = if count == 0 { 0 } else { VF_ENABLE | VF_MEMORY_SPACE_ENABLE };
    [(capability + at::CONTROL, 0), (capability + at::NUM_VFS, count), (capability + at::CONTROL, control)]
}

/// How many VFs exist, for the administration commands.
#[derive(Default)]
pub(super) struct EnabledVfs(AtomicU16);

impl EnabledVfs {
    /// VFs that exist; 0 while VF Enable is clear.
    pub(super) fn get(&self) -> u16 {
        self.0.load(Ordering::Acquire)
    }

    /// Says how many there are.
    pub(super) fn set(&self, count: u16) {
        self.0.store(count, Ordering::Release);
    }
}
