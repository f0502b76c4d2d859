// SPDX-License-Identifier: Apache-2.0
//! Payloads of replies: made by the side that is asked, understood by the side that asked. Pure.

use super::{DeviceInfo, Fields, IrqInfo, RegionAccess, RegionInfo, WireError, command, put_u32, put_u64, region_flag};

/// Appends a version and its JSON text.
pub fn put_version(out: &mut Vec<u8>, major: u16, minor: u16, text: &[u8]) {
    out.extend_from_slice(&major.to_le_bytes());
    out.extend_from_slice(&minor.to_le_bytes());
    out.extend_from_slice(text);
}

/// Understands the payload of a reply to VERSION.
pub fn version(payload: &[u8]) -> Result<(u16, u16, &[u8]), WireError> {
    let mut fields = Fields { left: payload, command: command::VERSION };
    Ok((fields.u16()?, fields.u16()?, fields.left))
}

impl DeviceInfo {
    /// Appends the payload of a reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, &[self.argsz, self.flags, self.regions, self.irqs]);
    }

    /// Understands a reply.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields { left: payload, command: command::GET_INFO };
        Ok(Self { argsz: f.u32()?, flags: f.u32()?, regions: f.u32()?, irqs: f.u32()? })
    }
}

impl IrqInfo {
    /// Appends the payload of a reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, &[self.argsz, self.flags, self.index, self.count]);
    }

    /// Understands a reply.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields { left: payload, command: command::GET_IRQ_INFO };
        Ok(Self { argsz: f.u32()?, flags: f.u32()?, index: f.u32()?, count: f.u32()? })
    }
}

/// A part of a region that can be mapped: offset in the region, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SparseArea {
    /// Bytes from the region's start.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// `VFIO_REGION_INFO_CAP_SPARSE_MMAP` of `linux/vfio.h`.
const CAP_SPARSE_MMAP: u16 = 1;
/// A list of more capabilities is a loop.
const MAX_CAPABILITIES: usize = 16;
/// More areas than this are no use.
const MAX_AREAS: u32 = 64;

impl RegionInfo {
    /// Bytes without capabilities.
    pub const LEN: usize = 32;

    /// Appends the payload of a request or a reply without capabilities.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, &[self.argsz, self.flags, self.index, self.cap_offset]);
        put_u64(out, &[self.size, self.offset]);
    }

    /// Appends the sparse-mmap capability, which belongs behind [`Self::encode`].
    pub fn encode_areas(areas: &[SparseArea], out: &mut Vec<u8>) {
        out.extend_from_slice(&CAP_SPARSE_MMAP.to_le_bytes());
        out.extend_from_slice(&1u16.to_le_bytes());
        put_u32(out, &[0, areas.len() as u32, 0]);
        areas.iter().for_each(|area| put_u64(out, &[area.offset, area.size]));
    }

    /// Bytes of [`Self::encode_areas`].
    pub fn areas_len(areas: usize) -> usize {
        16 + 16 * areas
    }

    /// Understands a reply, without its capabilities.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields { left: payload, command: command::GET_REGION_INFO };
        Ok(Self {
            argsz: f.u32()?,
            flags: f.u32()?,
            index: f.u32()?,
            cap_offset: f.u32()?,
            size: f.u64()?,
            offset: f.u64()?,
        })
    }

    /// The areas of a reply's sparse-mmap capability; `None` without one. They may be nonsense.
    pub fn decode_areas(&self, payload: &[u8]) -> Result<Option<Vec<SparseArea>>, WireError> {
        if self.flags & region_flag::CAPS == 0 {
            return Ok(None);
        }
        let command = command::GET_REGION_INFO;
        let mut at = self.cap_offset as usize;
        for _ in 0..MAX_CAPABILITIES {
            if at == 0 {
                return Ok(None);
            }
            let left = payload.get(at..).ok_or(WireError::Short { command })?;
            let mut f = Fields { left, command };
            let (id, _version, next) = (f.u16()?, f.u16()?, f.u32()?);
            if id == CAP_SPARSE_MMAP {
                let (count, _reserved) = (f.u32()?, f.u32()?);
                if count > MAX_AREAS {
                    return Err(WireError::Count { command, count: count.into() });
                }
                let areas = (0..count).map(|_| Ok(SparseArea { offset: f.u64()?, size: f.u64()? }));
                return areas.collect::<Result<_, _>>().map(Some);
            }
            at = next as usize;
        }
        Ok(None)
    }
}

/// Appends the part of a reply to a region access that comes before its data.
pub fn put_access(out: &mut Vec<u8>, access: &RegionAccess) {
    access.encode(out);
}

/// The data of a reply to REGION_READ, which must be for `asked` and complete.
pub fn read_data<'a>(payload: &'a [u8], asked: &RegionAccess) -> Result<&'a [u8], WireError> {
    let mut fields = Fields { left: payload, command: command::REGION_READ };
    let access = RegionAccess::decode(&mut fields)?;
    if access.count != asked.count {
        return Err(WireError::Count { command: command::REGION_READ, count: access.count.into() });
    }
    fields.bytes(access.count.into())
}

/// How many bytes a reply to REGION_WRITE says were written.
pub fn written(payload: &[u8]) -> Result<u32, WireError> {
    let mut fields = Fields { left: payload, command: command::REGION_WRITE };
    Ok(RegionAccess::decode(&mut fields)?.count)
}
