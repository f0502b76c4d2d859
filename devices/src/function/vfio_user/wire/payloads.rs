// SPDX-License-Identifier: Apache-2.0
//! What messages carry: one structure for each kind of payload. Pure.

use super::{Fields, MAX_DATA, MULTI_LEN, WireError, command, put_u32, put_u64};

/// Bits of [`DmaMap::flags`].
pub mod dma_flag {
    /// The device may read the memory.
    pub const READ: u32 = 1;
    /// The device may write it.
    pub const WRITE: u32 = 2;
    /// Of an unmap: everything. Address and size are 0.
    pub const UNMAP_ALL: u32 = 2;
}

/// Memory for DMA. The file comes as a descriptor, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaMap {
    /// [`dma_flag`]
    pub flags: u32,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Where the device sees it.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// The end of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaUnmap {
    /// Most bytes of the reply's payload.
    pub argsz: u32,
    /// [`dma_flag::UNMAP_ALL`] or 0.
    pub flags: u32,
    /// Where the device saw it.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// What the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Request: most bytes of the reply's payload. Reply: bytes that it needs.
    pub argsz: u32,
    /// Bit 0: has a reset, bit 1: is a PCI device.
    pub flags: u32,
    /// Regions.
    pub regions: u32,
    /// Kinds of interrupts.
    pub irqs: u32,
}

/// What a region is. Capabilities may follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionInfo {
    /// Request: most bytes of the reply's payload. Reply: bytes that it needs.
    pub argsz: u32,
    /// [`region_flag`]
    pub flags: u32,
    /// Which region.
    pub index: u32,
    /// Where capabilities begin, from the start of the payload.
    pub cap_offset: u32,
    /// Bytes of the region.
    pub size: u64,
    /// Where the region begins in the file.
    pub offset: u64,
}

/// Bits of [`RegionInfo::flags`].
pub mod region_flag {
    /// Can be read.
    pub const READ: u32 = 1;
    /// Can be written.
    pub const WRITE: u32 = 2;
    /// A file comes with it that can be mapped.
    pub const MMAP: u32 = 4;
    /// Capabilities follow.
    pub const CAPS: u32 = 8;
}

/// What interrupts of one kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqInfo {
    /// Request: most bytes of the reply's payload. Reply: bytes that it needs.
    pub argsz: u32,
    /// [`irq_flag`]
    pub flags: u32,
    /// Which kind: 0 INTx, 1 MSI, 2 MSI-X, 3 error, 4 request.
    pub index: u32,
    /// How many.
    pub count: u32,
}

/// Bits of [`IrqInfo::flags`].
pub mod irq_flag {
    /// Signalled by eventfds.
    pub const EVENTFD: u32 = 1;
    /// Can be masked and unmasked by [`super::SetIrqs`].
    pub const MASKABLE: u32 = 2;
    /// Is masked when it was signalled.
    pub const AUTOMASKED: u32 = 4;
}

/// Bits of [`SetIrqs::flags`]: one of the first three, one of the others.
pub mod set_irqs_flag {
    /// No data.
    pub const NONE: u32 = 1;
    /// One byte for each interrupt: whether it is meant.
    pub const BOOL: u32 = 2;
    /// One file descriptor for each interrupt, or none at all.
    pub const EVENTFD: u32 = 4;
    /// Mask.
    pub const MASK: u32 = 8;
    /// Unmask.
    pub const UNMASK: u32 = 16;
    /// Signal, or say what is signalled.
    pub const TRIGGER: u32 = 32;
}

/// Sets interrupts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetIrqs<'a> {
    /// [`set_irqs_flag`]
    pub flags: u32,
    /// As [`IrqInfo::index`].
    pub index: u32,
    /// The lowest interrupt meant.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// Whatever follows.
    pub data: &'a [u8],
}

/// Part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionAccess {
    /// Bytes from the region's start.
    pub offset: u64,
    /// 0..=5 are BARs, 7 is configuration space.
    pub region: u32,
    /// Bytes; at most [`MAX_DATA`].
    pub count: u32,
}

impl RegionAccess {
    /// Bytes of the encoding.
    pub const LEN: usize = 16;

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let access = Self { offset: fields.u64()?, region: fields.u32()?, count: fields.u32()? };
        if access.count as usize > MAX_DATA {
            return Err(WireError::Count { command: fields.command, count: access.count.into() });
        }
        Ok(access)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        put_u32(out, &[self.region, self.count]);
    }
}

/// Part of the client's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaAccess {
    /// Where the device sees it.
    pub address: u64,
    /// Bytes; at most [`MAX_DATA`].
    pub count: u64,
}

impl DmaAccess {
    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let access = Self { address: fields.u64()?, count: fields.u64()? };
        if access.count > MAX_DATA as u64 {
            return Err(WireError::Count { command: fields.command, count: access.count });
        }
        Ok(access)
    }
}

/// The writes of a `REGION_WRITE_MULTI`, in order; each with at most 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes<'a>(pub(super) &'a [u8]);

impl<'a> Writes<'a> {
    /// How many.
    pub fn count(&self) -> u64 {
        (self.0.len() / MULTI_LEN) as u64
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Result<(RegionAccess, &'a [u8]), WireError>> {
        self.0.chunks_exact(MULTI_LEN).map(|chunk| {
            let mut fields = Fields { left: chunk, command: command::REGION_WRITE_MULTI };
            let access = RegionAccess::decode(&mut fields)?;
            Ok((access, fields.bytes(access.count.into())?))
        })
    }
}

impl DmaUnmap {
    /// Appends the payload, of a request or of a reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, &[self.argsz, self.flags]);
        put_u64(out, &[self.address, self.size]);
    }
}
