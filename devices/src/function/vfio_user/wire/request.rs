// SPDX-License-Identifier: Apache-2.0
//! Commands: understood by the side that is asked, made by the side that asks. Pure.

use super::{
    DmaAccess, DmaMap, DmaUnmap, Fields, MAX_MULTI, MULTI_LEN, RegionAccess, RegionInfo, SetIrqs, WireError, Writes,
    command, put_u32, put_u64, put_version,
};

/// A command as it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Agree on a version; the text is JSON, see [`super::version`].
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
        /// JSON, with or without a NUL at its end; may be empty.
        text: &'a [u8],
    },
    /// Map memory.
    DmaMap(DmaMap),
    /// Unmap memory.
    DmaUnmap(DmaUnmap),
    /// What the device is; the value is the most bytes of the reply.
    GetInfo(u32),
    /// What a region is.
    GetRegionInfo {
        /// Most bytes of the reply's payload.
        argsz: u32,
        /// Which region.
        index: u32,
    },
    /// Descriptors for accesses to a region.
    GetRegionIoFds {
        /// Most bytes of the reply's payload.
        argsz: u32,
        /// Which region.
        index: u32,
    },
    /// What interrupts there are.
    GetIrqInfo {
        /// As [`IrqInfo::index`].
        index: u32,
    },
    /// Set interrupts up.
    SetIrqs(SetIrqs<'a>),
    /// Read a region.
    RegionRead(RegionAccess),
    /// Write a region; there are as many bytes as `count` says.
    RegionWrite(RegionAccess, &'a [u8]),
    /// Several writes.
    RegionWriteMulti(Writes<'a>),
    /// Read the client's memory.
    DmaRead(DmaAccess),
    /// Write the client's memory; there are as many bytes as `count` says.
    DmaWrite(DmaAccess, &'a [u8]),
    /// Reset the device.
    Reset,
}

impl<'a> Request<'a> {
    /// Understands the payload of a command.
    pub fn decode(command: u16, payload: &'a [u8]) -> Result<Self, WireError> {
        let mut fields = Fields { left: payload, command };
        let f = &mut fields;
        Ok(match command {
            command::VERSION => Self::Version { major: f.u16()?, minor: f.u16()?, text: f.left },
            command::DMA_MAP => {
                let (_argsz, flags) = (f.u32()?, f.u32()?);
                Self::DmaMap(DmaMap { flags, offset: f.u64()?, address: f.u64()?, size: f.u64()? })
            }
            command::DMA_UNMAP => {
                Self::DmaUnmap(DmaUnmap { argsz: f.u32()?, flags: f.u32()?, address: f.u64()?, size: f.u64()? })
            }
            command::GET_INFO => Self::GetInfo(f.u32()?),
            command::GET_REGION_INFO | command::GET_REGION_IO_FDS | command::GET_IRQ_INFO => {
                let (argsz, _flags, index) = (f.u32()?, f.u32()?, f.u32()?);
                match command {
                    command::GET_REGION_INFO => Self::GetRegionInfo { argsz, index },
                    command::GET_REGION_IO_FDS => Self::GetRegionIoFds { argsz, index },
                    _ => Self::GetIrqInfo { index },
                }
            }
            command::SET_IRQS => {
                let (_argsz, flags, index) = (f.u32()?, f.u32()?, f.u32()?);
                Self::SetIrqs(SetIrqs { flags, index, start: f.u32()?, count: f.u32()?, data: f.left })
            }
            command::REGION_READ => Self::RegionRead(RegionAccess::decode(f)?),
            command::REGION_WRITE => {
                let access = RegionAccess::decode(f)?;
                Self::RegionWrite(access, f.bytes(access.count.into())?)
            }
            command::REGION_WRITE_MULTI => {
                let count = f.u64()?;
                let bytes = count.checked_mul(MULTI_LEN as u64).filter(|_| count <= MAX_MULTI as u64);
                Self::RegionWriteMulti(Writes(f.bytes(bytes.ok_or(WireError::Count { command, count })?)?))
            }
            command::DMA_READ => Self::DmaRead(DmaAccess::decode(f)?),
            command::DMA_WRITE => {
                let access = DmaAccess::decode(f)?;
                Self::DmaWrite(access, f.bytes(access.count)?)
            }
            command::RESET => Self::Reset,
            _ => return Err(WireError::Unknown { command }),
        })
    }

    /// The command's number.
    pub fn command(&self) -> u16 {
        match self {
            Self::Version { .. } => command::VERSION,
            Self::DmaMap(_) => command::DMA_MAP,
            Self::DmaUnmap(_) => command::DMA_UNMAP,
            Self::GetInfo(_) => command::GET_INFO,
            Self::GetRegionInfo { .. } => command::GET_REGION_INFO,
            Self::GetRegionIoFds { .. } => command::GET_REGION_IO_FDS,
            Self::GetIrqInfo { .. } => command::GET_IRQ_INFO,
            Self::SetIrqs(_) => command::SET_IRQS,
            Self::RegionRead(_) => command::REGION_READ,
            Self::RegionWrite(..) => command::REGION_WRITE,
            Self::RegionWriteMulti(_) => command::REGION_WRITE_MULTI,
            Self::DmaRead(_) => command::DMA_READ,
            Self::DmaWrite(..) => command::DMA_WRITE,
            Self::Reset => command::RESET,
        }
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Version { major, minor, text } => put_version(out, major, minor, text),
            Self::DmaMap(DmaMap { flags, offset, address, size }) => {
                put_u32(out, &[32, flags]);
                put_u64(out, &[offset, address, size]);
            }
            Self::DmaUnmap(unmap) => unmap.encode(out),
            Self::GetInfo(argsz) => put_u32(out, &[argsz, 0, 0, 0]),
            Self::GetRegionInfo { argsz, index } => {
                RegionInfo { argsz, index, ..RegionInfo::default() }.encode(out);
            }
            Self::GetRegionIoFds { argsz, index } => put_u32(out, &[argsz, 0, index, 0]),
            Self::GetIrqInfo { index } => put_u32(out, &[16, 0, index, 0]),
            Self::SetIrqs(SetIrqs { flags, index, start, count, data }) => {
                put_u32(out, &[20 + data.len() as u32, flags, index, start, count]);
                out.extend_from_slice(data);
            }
            Self::RegionRead(access) => access.encode(out),
            Self::RegionWrite(access, data) => {
                access.encode(out);
                out.extend_from_slice(data);
            }
            Self::RegionWriteMulti(writes) => {
                put_u64(out, &[writes.count()]);
                out.extend_from_slice(writes.0);
            }
            Self::DmaRead(DmaAccess { address, count }) => put_u64(out, &[address, count]),
            Self::DmaWrite(DmaAccess { address, count }, data) => {
                put_u64(out, &[address, count]);
                out.extend_from_slice(data);
            }
            Self::Reset => {}
        }
    }
}
