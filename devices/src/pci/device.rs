// SPDX-License-Identifier: Apache-2.0
//! A guest-visible PCI function on the root bus.

use crate::bus::{Access, Effect, Width};
use crate::function::MappableArea;

/// What a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports, 4 to 256 bytes.
    Io,
    /// Memory below 4 GiB.
    Memory32 {
        /// Reads have no side effects.
        prefetchable: bool,
    },
    /// Memory anywhere; takes two BAR registers.
    Memory64 {
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

/// A BAR with the addresses it decodes at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarWindow {
    /// BAR number, 0..=5; [`super::ROM_BAR`] is the expansion ROM.
    pub bar: u8,
    /// I/O or memory.
    pub kind: BarKind,
    /// First address. Never 0: a BAR at 0 is not decoded.
    pub base: u64,
    /// Bytes; a power of two.
    pub size: u64,
}

/// A PCI function of the guest. Called from all vCPUs at once: locking is the function's own. What is said of BARs by
/// default is true of a function without any.
pub trait PciDevice: Send + Sync {
    /// The id from the configuration, for logs and reports.
    fn name(&self) -> &str;

    /// Reads configuration space; `offset` is aligned to `width` and below 256 (mechanism 1).
    fn config_read(&self, offset: u16, width: Width) -> u32;
    /// Writes configuration space. Returns [`Effect::Remap`] when [`Self::windows`] changed.
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect;

    /// The windows that COMMAND and the BARs decode now. Windows can overlap those of others: the
    /// bus decides, and says so by [`Self::placed`].
    fn windows(&self) -> Vec<BarWindow> {
        Vec::new()
    }
    /// Which windows the bus really decodes. Called after each remap, one call at a time.
    fn placed(&self, _windows: &[BarWindow]) {}

    /// The parts of memory BAR `bar` that the guest may reach without an exit. Asked at each remap; what
    /// is in none of them comes to [`Self::bar_read`] and [`Self::bar_write`], and so does everything
    /// where the platform cannot map.
    fn mappable(&self, _bar: u8) -> Vec<MappableArea> {
        Vec::new()
    }

    /// Sets a BAR's base as firmware would; the machine does this before the guest starts.
    fn place_bar(&self, _bar: u8, _base: u64) {}
    /// All BARs of the function with base 0, whether decoded or not: what there is to place.
    fn bars(&self) -> Vec<BarWindow> {
        Vec::new()
    }

    /// Reads a BAR.
    fn bar_read(&self, _bar: u8, access: Access) -> u64 {
        access.width.all_ones()
    }
    /// Writes a BAR.
    fn bar_write(&self, _bar: u8, _access: Access, _value: u64) -> Effect {
        Effect::None
    }
}
