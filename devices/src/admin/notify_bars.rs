// SPDX-License-Identifier: Apache-2.0
//! Where in the BARs of a function queue notifications can be stored: not where one of its structures lies.
//! What a device says about that is not trusted: a guest's kick, which is a number that the guest chooses, must
//! not become a write to the device's status. Reads configuration space, writes nothing.

use std::ops::Range;

use crate::function::capabilities::{CapabilityList, MsixStructures, VirtioCapability};
use crate::function::{Configuration, FunctionError, PciFunction};
use crate::spec::pci::id;
use crate::spec::virtio::cfg_type;

/// What has registers or memory that are not doorbells.
const STRUCTURES: [(u8, &str); 4] = [
    (cfg_type::COMMON, "in the common configuration"),
    (cfg_type::ISR, "in the interrupt status"),
    (cfg_type::DEVICE, "in the device configuration"),
    (cfg_type::SHARED_MEMORY, "in shared memory"),
];

/// Something that is not a doorbell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    bar: u8,
    bytes: Range<u64>,
    what: &'static str,
}

/// The BARs of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyBars {
    sizes: [Option<u64>; 6],
    taken: Vec<Taken>,
}

impl NotifyBars {
    /// BARs of these sizes, in bytes, with nothing known of what is in them.
    pub fn of_sizes(sizes: &[Option<u64>]) -> Self {
        let mut bars = Self::default();
        bars.sizes.iter_mut().zip(sizes).for_each(|(to, from)| *to = *from);
        bars
    }

    /// The BARs of `function`, as its capabilities describe them.
    ///
    /// # Errors
    /// When configuration space cannot be read.
    pub fn of(function: &dyn PciFunction) -> Result<Self, FunctionError> {
        let sizes: Vec<_> = (0..6).map(|bar| function.region(bar).map(|region| region.size)).collect();
        let mut bars = Self::of_sizes(&sizes);
        for capability in CapabilityList::read(function)?.found {
            match capability.id {
                id::VENDOR => bars.take_virtio(function, capability.offset)?,
                id::MSIX => bars.take_msix(function, capability.offset)?,
                _ => {}
            }
        }
        Ok(bars)
    }

    /// `len` bytes from `offset` of BAR `bar` are not a doorbell for anybody else: they are `what`.
    pub(super) fn take(&mut self, bar: u8, offset: u64, len: u64, what: &'static str) {
        self.taken.push(Taken { bar, bytes: offset..offset.saturating_add(len), what });
    }

    fn take_virtio(&mut self, function: &dyn Configuration, at: u8) -> Result<(), FunctionError> {
        let Some(found) = VirtioCapability::read(function, at)? else { return Ok(()) };
        if let Some((_, what)) = STRUCTURES.iter().find(|(cfg_type, _)| *cfg_type == found.cfg_type) {
            self.take(found.bar, found.offset.into(), found.length.into(), what);
        }
        Ok(())
    }

    fn take_msix(&mut self, function: &dyn Configuration, at: u8) -> Result<(), FunctionError> {
        let MsixStructures { table, pending } = MsixStructures::read(function, at)?;
        for ((bar, bytes), what) in [(table, "in the MSI-X table"), (pending, "in the MSI-X pending bits")] {
            self.taken.push(Taken { bar, bytes, what });
        }
        Ok(())
    }

    /// Whether 2 bytes can be stored at `offset` of BAR `bar`.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, bar: u8, offset: u64) -> Result<(), &'static str> {
        let size = self.sizes.get(usize::from(bar)).copied().flatten().ok_or("the function has no such BAR")?;
        let end = offset.checked_add(2).filter(|end| *end <= size).ok_or("offset outside the BAR")?;
        let overlaps = |taken: &&Taken| taken.bar == bar && offset < taken.bytes.end && taken.bytes.start < end;
        self.taken.iter().find(overlaps).map_or(Ok(()), |taken| Err(taken.what))
    }
}
