// SPDX-License-Identifier: Apache-2.0
//! The PCI capability list of a function, the virtio structures that its vendor capabilities
//! describe (virtio 1.4, "Virtio Structure PCI Capabilities"), and where its MSI-X structures lie (PCI 3.0,
//! 6.8.2). Reads configuration space, writes nothing, and trusts nothing that it finds there.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::{Bars, Configuration, Result};
use crate::bus::Width;
use crate::spec::pci::{CAPABILITIES_POINTER, STATUS, id, status};

/// Capabilities are behind the header.
const FIRST: u8 = 0x40;
/// The first 256 bytes, which hold the list.
const SPACE: usize = 256;

/// What KVM and mmap know.
const PAGE: u64 = 4096;

/// Bytes of `struct virtio_pci_cap`, without what some types add.
pub const VIRTIO_CAP_LEN: u8 = 16;

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Capability id.
    pub id: u8,
    /// Where its header is, 0x40 to 0xfc.
    pub offset: u8,
}

/// A capability list, as far as it can be followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapabilityList {
    /// In the order of the list.
    pub found: Vec<Capability>,
    /// Where the list leads that it must not: back to itself, or into the header.
    pub broken_at: Option<u8>,
}

impl CapabilityList {
    /// Follows the list of `function`.
    pub fn read(function: &dyn Configuration) -> Result<Self> {
        Self::walk(|offset, width| function.config_read(offset, width))
    }

    /// Follows the list in the configuration space that `read` reads.
    pub fn walk<E>(read: impl Fn(u16, Width) -> std::result::Result<u32, E>) -> std::result::Result<Self, E> {
        let mut list = Self::default();
        if read(STATUS, Width::B2)? & u32::from(status::CAPABILITIES) == 0 {
            return Ok(list);
        }
        let mut seen = [false; SPACE];
        let mut offset = pointer(read(CAPABILITIES_POINTER, Width::B1)?);
        while offset != 0 {
            match seen.get_mut(usize::from(offset)) {
                Some(seen) if offset >= FIRST && !*seen => *seen = true,
                _ => {
                    list.broken_at = Some(offset);
                    break;
                }
            }
            let header = read(offset.into(), Width::B2)?;
            list.found.push(Capability { id: header as u8, offset });
            offset = pointer(header >> 8);
        }
        Ok(list)
    }
}

/// A capability pointer; its two lowest bits are reserved.
fn pointer(raw: u32) -> u8 {
    raw as u8 & 0xfc
}

/// What a virtio vendor capability says. Nothing of it is checked against the BAR yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioCapability {
    /// Bytes of the capability, its 2-byte header included; at least [`VIRTIO_CAP_LEN`], all inside
    /// the 256-byte space.
    pub len: u8,
    /// Type of the structure.
    pub cfg_type: u8,
    /// BAR number as it stands there; 0 to 5 are possible.
    pub bar: u8,
    /// Bytes into the BAR.
    pub offset: u32,
    /// Bytes of the structure.
    pub length: u32,
}

impl VirtioCapability {
    /// Reads the vendor capability at `at`; `None` if it is too short or leaves the space.
    pub fn read(function: &dyn Configuration, at: u8) -> Result<Option<Self>> {
        let base = u16::from(at);
        let len = function.config_read(base + 2, Width::B1)? as u8;
        if len < VIRTIO_CAP_LEN || usize::from(at) + usize::from(len) > SPACE {
            return Ok(None);
        }
        Ok(Some(Self {
            len,
            cfg_type: function.config_read(base + 3, Width::B1)? as u8,
            bar: function.config_read(base + 4, Width::B1)? as u8,
            offset: function.config_read(base + 8, Width::B4)?,
            length: function.config_read(base + 12, Width::B4)?,
        }))
    }

    /// Whether the function has that BAR, and the structure lies in it with all its bytes.
    pub fn is_inside(&self, function: &dyn Bars) -> bool {
        let end = u64::from(self.offset) + u64::from(self.length);
        self.bar <= 5 && function.region(self.bar).is_some_and(|region| end <= region.size)
    }
}

/// Where the structures of an MSI-X capability are: numbers of BARs, and bytes in them. Nothing of it is checked against
/// the BARs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsixStructures {
    /// The vector table.
    pub table: (u8, Range<u64>),
    /// The pending bits.
    pub pending: (u8, Range<u64>),
}

impl MsixStructures {
    /// Those of `function`, if it has MSI-X.
    pub fn find(function: &dyn Configuration) -> Result<Option<Self>> {
        let list = CapabilityList::read(function)?;
        let msix = list.found.iter().find(|capability| capability.id == id::MSIX);
        msix.map(|capability| Self::read(function, capability.offset)).transpose()
    }

    /// Reads the MSI-X capability at `at`.
    pub fn read(function: &dyn Configuration, at: u8) -> Result<Self> {
        let at = u16::from(at);
        let control = function.config_read(at + 2, Width::B2)?;
        Ok(Self::new(
            control as u16,
            function.config_read(at + 4, Width::B4)?,
            function.config_read(at + 8, Width::B4)?,
        ))
    }

    /// From the capability's message control, table and PBA registers.
    pub fn new(control: u16, table: u32, pending: u32) -> Self {
        let vectors = u64::from(control & 0x7ff) + 1;
        // 3 bits of BAR number below the offset.
        let place = |register: u32, len: u64| {
            let offset = u64::from(register & !7);
            ((register & 7) as u8, offset..offset + len)
        };
        Self { table: place(table, vectors * 16), pending: place(pending, vectors.div_ceil(64) * 8) }
    }

    /// The pages that must not be mapped in `bar`.
    pub fn holes(&self, bar: u8) -> impl Iterator<Item = Range<u64>> {
        let here = [&self.table, &self.pending].into_iter().filter(move |(in_bar, _)| *in_bar == bar);
        here.map(|(_, bytes)| bytes.start / PAGE * PAGE..bytes.end.next_multiple_of(PAGE))
    }
}
