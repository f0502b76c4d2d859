// SPDX-License-Identifier: Apache-2.0
//! The SR-IOV extended capability (PCI Express Base 5.0, 9.3.3): its registers, and what they say.

use std::sync::atomic::{AtomicU16, Ordering};

use super::layout::{MSIX_BAR, MSIX_BAR_SIZE, REGISTER_BAR, REGISTER_BAR_SIZE};
use crate::bus::Width;
use crate::pci::{ConfigError, ConfigSpace};
use crate::spec::pci::id;

/// Offsets from the capability's header.
mod at {
    pub(super) const CONTROL: u16 = 0x08;
    pub(super) const INITIAL_VFS: usize = 0x0c;
    pub(super) const TOTAL_VFS: usize = 0x0e;
    pub(super) const NUM_VFS: u16 = 0x10;
    pub(super) const FIRST_VF_OFFSET: usize = 0x14;
    pub(super) const VF_STRIDE: usize = 0x16;
    pub(super) const VF_DEVICE_ID: usize = 0x1a;
    pub(super) const SUPPORTED_PAGE_SIZES: usize = 0x1c;
    pub(super) const SYSTEM_PAGE_SIZE: u16 = 0x20;
    pub(super) const VF_BAR0: u16 = 0x24;
}
const LEN: usize = 0x40;
const HEADER: usize = 4;

const VF_ENABLE: u16 = 1 << 0;
const VF_MEMORY_SPACE_ENABLE: u16 = 1 << 3;
/// Routing ids beyond the slot may be used. Kept for the host; VFs are where they are either way.
const ARI_CAPABLE_HIERARCHY: u16 = 1 << 4;
/// Bit n of the page size registers is a page of 2^(12 + n) bytes. The ones that every PF must support (9.3.3.12).
const PAGE_SIZES: u32 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;
/// 4 KiB, as after power-on.
const PAGE_4K: u32 = 1;
const PAGE_SHIFT: u32 = 12;
/// The BARs that VFs have, with their sizes.
const VF_BARS: [(u8, u64); 2] = [(REGISTER_BAR, REGISTER_BAR_SIZE), (MSIX_BAR, MSIX_BAR_SIZE)];
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
    put(at::SUPPORTED_PAGE_SIZES, &PAGE_SIZES.to_le_bytes());
    put(at::SYSTEM_PAGE_SIZE.into(), &PAGE_4K.to_le_bytes());
    let mut allow = |offset: usize, bits: &[u8]| writable[offset..offset + bits.len()].copy_from_slice(bits);
    allow(at::CONTROL.into(), &(VF_ENABLE | VF_MEMORY_SPACE_ENABLE | ARI_CAPABLE_HIERARCHY).to_le_bytes());
    allow(at::NUM_VFS.into(), &u16::MAX.to_le_bytes());
    allow(at::SYSTEM_PAGE_SIZE.into(), &PAGE_SIZES.to_le_bytes());
    for (bar, size) in VF_BARS {
        allow(usize::from(vf_bar(bar)), &(!(size as u32 - 1)).to_le_bytes());
    }
    space.add_extended_capability(id::EXTENDED_SRIOV, 1, &registers[HEADER..], &writable[HEADER..])
}

/// Register of a VF BAR, from the capability's header.
const fn vf_bar(bar: u8) -> u16 {
    at::VF_BAR0 + 4 * bar as u16
}

/// What the registers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vfs {
    /// VFs that exist: NumVFs while VF Enable is set, else 0.
    pub enabled: u16,
    /// VF Memory Space Enable.
    pub memory: bool,
    /// System Page Size: one bit.
    page: u32,
}

impl Default for Vfs {
    fn default() -> Self {
        Self { enabled: 0, memory: false, page: PAGE_4K }
    }
}

/// Makes the registers consistent after a write and says what they mean now. `before` is what they
/// meant. NumVFs and the page size cannot change while VFs are enabled, more VFs than there are cannot be enabled,
/// and a page size that is not one of the supported ones is not taken.
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
    let page = settle_page(space, capability, before.page, enable && before.enabled != 0);
    Vfs { enabled: if enable { wanted } else { 0 }, memory: control & VF_MEMORY_SPACE_ENABLE != 0, page }
}

/// Decides which page size counts, and lets VF BARs show it: no VF's part of one is smaller than a page (9.3.3.14).
fn settle_page(space: &mut ConfigSpace, capability: u16, before: u32, fixed: bool) -> u32 {
    let mut page = space.read(capability + at::SYSTEM_PAGE_SIZE, Width::B4);
    if fixed || page & PAGE_SIZES != page || page.count_ones() != 1 {
        page = before;
        space.patch(capability + at::SYSTEM_PAGE_SIZE, Width::B4, page);
    }
    let bytes = 1_u64 << (PAGE_SHIFT + page.trailing_zeros());
    for (bar, size) in VF_BARS {
        let register = capability + vf_bar(bar);
        let value = space.read(register, Width::B4);
        space.patch(register, Width::B4, value & !(size.max(bytes) as u32 - 1));
    }
    page
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
