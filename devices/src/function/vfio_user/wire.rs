// SPDX-License-Identifier: Apache-2.0
//! The bytes of vfio-user messages (QEMU `docs/interop/vfio-user.rst`, protocol 0.x): headers, requests
//! and replies, both ways. Pure: no socket, no file, and nothing is allocated by a number that a peer
//! chose. Integers have the host's byte order, which is little-endian here.

use thiserror::Error;

/// Bytes of a message header.
pub const HEADER_LEN: usize = 16;
/// Most bytes of the data of one region or DMA access that this side takes, told to peers as
/// `max_data_xfer_size`.
pub const MAX_DATA: usize = 64 * 1024;
/// Most bytes of a message that this side takes: the largest fixed part and the data.
pub const MAX_MESSAGE: usize = MAX_DATA + 256;
/// Most writes in one `REGION_WRITE_MULTI`.
pub const MAX_MULTI: usize = MAX_DATA / MULTI_LEN;
const MULTI_LEN: usize = 24;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// The message ends before its fields do.
    #[error("a message of command {command} is too short")]
    Short {
        /// Its command.
        command: u16,
    },
    /// The size in the header is less than a header, or more than this side takes.
    #[error("a message says that it has {size} bytes; {HEADER_LEN} to {MAX_MESSAGE} are possible")]
    Size {
        /// What the header says.
        size: u32,
    },
    /// Neither a command nor a reply.
    #[error("a message has the flags {flags:#x}, which is neither a command nor a reply")]
    Kind {
        /// The header's flags.
        flags: u32,
    },
    /// A count in the message does not fit the message, or is more than this side takes.
    #[error("a message of command {command} has the count {count}, which does not fit")]
    Count {
        /// Its command.
        command: u16,
        /// The count.
        count: u64,
    },
    /// No such command.
    #[error("command {command} is not known")]
    Unknown {
        /// The number.
        command: u16,
    },
}

/// Commands.
pub mod command {
    /// Agree on a version.
    pub const VERSION: u16 = 1;
    /// Memory for DMA.
    pub const DMA_MAP: u16 = 2;
    /// Ends [`DMA_MAP`].
    pub const DMA_UNMAP: u16 = 3;
    /// What the device is.
    pub const GET_INFO: u16 = 4;
    /// What a region is.
    pub const GET_REGION_INFO: u16 = 5;
    /// File descriptors that stand for accesses to a region.
    pub const GET_REGION_IO_FDS: u16 = 6;
    /// What interrupts there are.
    pub const GET_IRQ_INFO: u16 = 7;
    /// Set interrupts up.
    pub const SET_IRQS: u16 = 8;
    /// Read a region.
    pub const REGION_READ: u16 = 9;
    /// Write a region.
    pub const REGION_WRITE: u16 = 10;
    /// Server to client: read memory.
    pub const DMA_READ: u16 = 11;
    /// Server to client: write memory.
    pub const DMA_WRITE: u16 = 12;
    /// Reset the device.
    pub const RESET: u16 = 13;
    /// Several small region writes.
    pub const REGION_WRITE_MULTI: u16 = 15;
}

/// Header flags.
mod header_flag {
    pub const KIND: u32 = 0xf;
    pub const REPLY: u32 = 1;
    pub const NO_REPLY: u32 = 0x10;
    pub const ERROR: u32 = 0x20;
}

/// A message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by the sender of the command, the same in the reply.
    pub id: u16,
    /// See [`command`].
    pub command: u16,
    /// Bytes of the message, header and all.
    pub size: u32,
    flags: u32,
    error: u32,
}

impl Header {
    /// A command with `payload` bytes behind the header.
    pub fn request(id: u16, command: u16, payload: usize) -> Self {
        Self { id, command, size: message_size(payload), flags: 0, error: 0 }
    }

    /// The reply to the command `self`.
    pub fn reply(self, payload: usize) -> Self {
        Self { size: message_size(payload), flags: header_flag::REPLY, error: 0, ..self }
    }

    /// The reply that says that the command `self` failed with this errno.
    pub fn failure(self, errno: i32) -> Self {
        let flags = header_flag::REPLY | header_flag::ERROR;
        Self { size: message_size(0), flags, error: errno.unsigned_abs(), ..self }
    }

    /// Whether it is a reply.
    pub fn is_reply(&self) -> bool {
        self.flags & header_flag::KIND == header_flag::REPLY
    }

    /// Whether the sender of this command wants no reply.
    pub fn no_reply(&self) -> bool {
        self.flags & header_flag::NO_REPLY != 0
    }

    /// The errno of an error reply; 0 if the peer gives no reason.
    pub fn error(&self) -> Option<u32> {
        (self.flags & header_flag::ERROR != 0).then_some(self.error)
    }

    /// Bytes behind the header.
    pub fn payload(&self) -> usize {
        (self.size as usize).saturating_sub(HEADER_LEN)
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.error.to_le_bytes());
        bytes
    }

    /// Checks what every message must have: a possible size, and a kind.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, WireError> {
        let mut fields = Fields { left: bytes, command: 0 };
        let (id, command) = (fields.u16()?, fields.u16()?);
        let header = Self { id, command, size: fields.u32()?, flags: fields.u32()?, error: fields.u32()? };
        if !(HEADER_LEN..=MAX_MESSAGE).contains(&(header.size as usize)) {
            return Err(WireError::Size { size: header.size });
        }
        if header.flags & header_flag::KIND > header_flag::REPLY {
            return Err(WireError::Kind { flags: header.flags });
        }
        Ok(header)
    }
}

fn message_size(payload: usize) -> u32 {
    u32::try_from(HEADER_LEN + payload).unwrap_or(u32::MAX)
}

/// Takes fields off the front of a payload.
struct Fields<'a> {
    left: &'a [u8],
    command: u16,
}

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (field, left) = self.left.split_first_chunk().ok_or(WireError::Short { command: self.command })?;
        self.left = left;
        Ok(*field)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `count` bytes.
    fn bytes(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let error = WireError::Count { command: self.command, count };
        let count = usize::try_from(count).map_err(|_| error)?;
        let (bytes, left) = self.left.split_at_checked(count).ok_or(error)?;
        self.left = left;
        Ok(bytes)
    }
}

/// Bits of [`DmaMap::flags`].
pub mod dma_flag {
    /// The device may read the memory.
    pub const READ: u32 = 1;
    /// The device may write it.
    pub const WRITE: u32 = 2;
    /// Of an unmap: everything. Address and size are 0.
    pub const UNMAP_ALL: u32 = 2;
}

/// Memory for DMA. The file comes along as a descriptor, or not at all.
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
    /// Where the region begins in the file that comes along.
    pub offset: u64,
}

/// Bits of [`RegionInfo::flags`].
pub mod region_flag {
    /// Can be read.
    pub const READ: u32 = 1;
    /// Can be written.
    pub const WRITE: u32 = 2;
    /// A file comes along that can be mapped.
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

    fn decode(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let access = Self { offset: fields.u64()?, region: fields.u32()?, count: fields.u32()? };
        if access.count as usize > MAX_DATA {
            return Err(WireError::Count { command: fields.command, count: access.count.into() });
        }
        Ok(access)
    }

    fn encode(&self, out: &mut Vec<u8>) {
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
    fn decode(fields: &mut Fields<'_>) -> Result<Self, WireError> {
        let access = Self { address: fields.u64()?, count: fields.u64()? };
        if access.count > MAX_DATA as u64 {
            return Err(WireError::Count { command: fields.command, count: access.count });
        }
        Ok(access)
    }
}

/// The writes of a `REGION_WRITE_MULTI`, in order; each with at most 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes<'a>(&'a [u8]);

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

impl DmaUnmap {
    /// Appends the payload, of a request or of a reply.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, &[self.argsz, self.flags]);
        put_u64(out, &[self.address, self.size]);
    }
}

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

/// What one descriptor of GET_REGION_IO_FDS stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoFd {
    /// Bytes from the region's start.
    pub offset: u64,
    /// Width of the access in bytes; 0 for any.
    pub size: u64,
    /// Which of the descriptors that came along.
    pub fd_index: u32,
    /// 0 for an ioeventfd.
    pub kind: u32,
    /// Bit 0: `value` must match (`KVM_IOEVENTFD_FLAG_DATAMATCH`).
    pub flags: u32,
    /// Value to match.
    pub value: u64,
}

const IO_FD_LEN: usize = 40;

/// Understands a reply to GET_REGION_IO_FDS.
pub fn io_fds(payload: &[u8]) -> Result<Vec<IoFd>, WireError> {
    let command = command::GET_REGION_IO_FDS;
    let mut f = Fields { left: payload, command };
    let (_argsz, _flags, _index, count) = (f.u32()?, f.u32()?, f.u32()?, f.u32()?);
    if count as usize > f.left.len() / IO_FD_LEN {
        return Err(WireError::Count { command, count: count.into() });
    }
    let one = |f: &mut Fields<'_>| {
        let (offset, size, fd_index, kind, flags) = (f.u64()?, f.u64()?, f.u32()?, f.u32()?, f.u32()?);
        let _padding = f.u32()?;
        Ok(IoFd { offset, size, fd_index, kind, flags, value: f.u64()? })
    };
    (0..count).map(|_| one(&mut f)).collect()
}

fn put_u32(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// Appends these numbers.
pub fn put_u64(out: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
