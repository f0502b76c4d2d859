// SPDX-License-Identifier: Apache-2.0
//! What the registers of one base address register look like. Pure; knows no configuration space.

use super::config_error::ConfigError;
use super::{BarKind, BarWindow};

/// Number of BAR registers of a type 0 header.
pub const BAR_COUNT: u8 = 6;
/// The number of the expansion ROM among the BARs.
pub const ROM_BAR: u8 = BAR_COUNT;
/// Bit 0 of the expansion ROM's register: the ROM can be read, if COMMAND lets memory be.
pub(super) const ROM_ENABLE: u32 = 1 << 0;
/// Ports: 64 KiB.
const IO_SPACE: u64 = 1 << 16;
const GIB_4: u64 = 1 << 32;

impl BarKind {
    /// Whether the BAR decodes I/O ports.
    pub const fn is_io(self) -> bool {
        matches!(self, Self::Io)
    }

    /// Number of 4-byte registers the BAR takes.
    pub const fn registers(self) -> u8 {
        if matches!(self, Self::Memory64 { .. }) { 2 } else { 1 }
    }

    /// The read-only low bits (PCI 3.0, 6.2.5.1).
    const fn flags(self) -> u64 {
        match self {
            Self::Io => 0x1,
            Self::Memory32 { prefetchable } => (prefetchable as u64) << 3,
            Self::Memory64 { prefetchable } => 0x4 | (prefetchable as u64) << 3,
        }
    }

    /// Sizes the kind can have, in bytes. 256 ports are the most that PCI lets a BAR have.
    const fn sizes(self) -> (u64, u64) {
        match self {
            Self::Io => (4, 256),
            Self::Memory32 { .. } => (16, 1 << 31),
            Self::Memory64 { .. } => (16, 1 << 62),
        }
    }
}

/// Kind and size of one BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BarLayout {
    kind: BarKind,
    size: u64,
}

impl BarLayout {
    pub(super) fn new(bar: u8, kind: BarKind, size: u64) -> Result<Self, ConfigError> {
        let (least, most) = kind.sizes();
        if !size.is_power_of_two() || size < least || size > most {
            return Err(ConfigError::BarSize { bar, size, least, most });
        }
        Ok(Self { kind, size })
    }

    pub(super) const fn kind(&self) -> BarKind {
        self.kind
    }

    /// Power-on register value, both registers of a 64-bit BAR in one number.
    pub(super) const fn power_on(&self) -> u64 {
        self.kind.flags()
    }

    /// Bits a guest can write: sizing is nothing but reading them back.
    pub(super) const fn writable(&self) -> u64 {
        let mask = !(self.size - 1);
        // I/O BARs keep all 16 upper bits writable, so that sizing reads ones there as on QEMU's and
        // most hardware functions.
        if self.kind.registers() == 2 { mask } else { mask & 0xffff_ffff }
    }

    /// The window for the register value `value`.
    pub(super) const fn window(&self, bar: u8, value: u64) -> BarWindow {
        BarWindow { bar, kind: self.kind, base: value & self.writable(), size: self.size }
    }
}

impl BarWindow {
    /// Whether the base is one that a function decodes when COMMAND says so. Not decoded are 0
    /// ("unassigned"), whatever passes the end of the address space, and the very top of the 4 GiB:
    /// guests that size BARs without clearing COMMAND write all ones for a moment.
    pub const fn is_placed(&self) -> bool {
        let Some(end) = self.base.checked_add(self.size) else { return false };
        if self.base == 0 {
            return false;
        }
        match self.kind {
            BarKind::Io => end <= IO_SPACE,
            BarKind::Memory32 { .. } => end < GIB_4,
            BarKind::Memory64 { .. } => end != GIB_4,
        }
    }
}
