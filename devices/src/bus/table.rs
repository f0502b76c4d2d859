// SPDX-License-Identifier: Apache-2.0
//! The table of one address space. A lookup loads a snapshot: no lock, no allocation, no reference
//! count shared between vCPUs. Only a change of the table takes a lock.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use thiserror::Error;

use super::{Access, Effect, IoDevice, Width};

/// A non-empty range of bus addresses that does not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    base: u64,
    last: u64,
}

impl Range {
    /// `size` addresses from `base`; `None` if that is empty or passes the end of the address space.
    pub const fn new(base: u64, size: u64) -> Option<Self> {
        if size == 0 {
            return None;
        }
        match base.checked_add(size - 1) {
            Some(last) => Some(Self { base, last }),
            None => None,
        }
    }

    /// First address.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Last address, inclusive.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Whether the two have an address in common.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.base <= other.last && other.base <= self.last
    }

    /// Offset of an access of `bytes` bytes at `address`, if it lies in the range with all its bytes.
    fn offset_of(&self, address: u64, bytes: u64) -> Option<u64> {
        let end = address.checked_add(bytes - 1)?;
        (address >= self.base && end <= self.last).then(|| address - self.base)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.base, self.last)
    }
}

/// A device and the addresses it wants.
#[derive(Clone)]
pub struct Claim {
    /// The addresses.
    pub range: Range,
    /// Who answers there.
    pub device: Arc<dyn IoDevice>,
}

/// Why a fixed device could not be put on the bus.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BusError {
    /// Two fixed devices want the same address: a bug in the machine's assembly.
    #[error("{name} at {range} overlaps {other} at {other_range}")]
    Overlap {
        /// The device that came second.
        name: String,
        /// Its range.
        range: Range,
        /// The device that was there.
        other: String,
        /// Its range.
        other_range: Range,
    },
}

/// One address space: fixed devices, and windows that the guest moves around.
pub struct Bus {
    name: &'static str,
    fixed: Mutex<Vec<Claim>>,
    /// Sorted by base, free of overlaps.
    table: ArcSwap<Vec<Claim>>,
}

impl Bus {
    /// An empty bus; `name` is for logs.
    pub fn new(name: &'static str) -> Self {
        Self { name, fixed: Mutex::default(), table: ArcSwap::default() }
    }

    /// Puts a device at an address that never changes. Do this before [`Self::set_windows`].
    pub fn insert(&self, range: Range, device: Arc<dyn IoDevice>) -> Result<(), BusError> {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = fixed.iter().find(|c| c.range.overlaps(&range)) {
            return Err(BusError::Overlap {
                name: device.name().to_owned(),
                range,
                other: other.device.name().to_owned(),
                other_range: other.range,
            });
        }
        fixed.push(Claim { range, device });
        let mut table = fixed.clone();
        table.sort_by_key(|c| c.range);
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// Replaces all movable windows. A window that overlaps a fixed device or an earlier window is
    /// left out, so that a guest that puts BARs onto each other gets the same answer every time.
    /// Returns for each window whether it is decoded.
    pub fn set_windows(&self, windows: &[Claim]) -> Vec<bool> {
        let fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = fixed.clone();
        let placed = windows
            .iter()
            .map(|window| {
                let free = !table.iter().any(|c| c.range.overlaps(&window.range));
                if free {
                    table.push(window.clone());
                } else {
                    tracing::debug!(bus = self.name, window = window.device.name(), range = %window.range, "window overlaps another, not decoded");
                }
                free
            })
            .collect();
        table.sort_by_key(|c| c.range);
        self.table.store(Arc::new(table));
        placed
    }

    /// Reads; all ones where nobody answers. The result has no bits above `width`.
    pub fn read(&self, address: u64, width: Width, vcpu: u16) -> u64 {
        let table = self.table.load();
        match find(&table, address, width) {
            Some((claim, offset)) => width.truncate(claim.device.read(Access { offset, width, vcpu })),
            None => width.all_ones(),
        }
    }

    /// Writes; dropped where nobody answers.
    pub fn write(&self, address: u64, width: Width, value: u64, vcpu: u16) -> Effect {
        let table = self.table.load();
        match find(&table, address, width) {
            Some((claim, offset)) => claim.device.write(Access { offset, width, vcpu }, width.truncate(value)),
            None => Effect::None,
        }
    }
}

/// An access that is only partly inside a range belongs to nobody, as on a real bus it would be
/// split by the bridge into parts that this machine has no use for.
fn find(table: &[Claim], address: u64, width: Width) -> Option<(&Claim, u64)> {
    let after = table.partition_point(|c| c.range.base <= address);
    let claim = table.get(after.checked_sub(1)?)?;
    Some((claim, claim.range.offset_of(address, width.bytes() as u64)?))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
