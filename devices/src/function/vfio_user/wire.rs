// SPDX-License-Identifier: Apache-2.0
//! The bytes of vfio-user messages (QEMU `docs/interop/vfio-user.rst`, protocol 0.x): headers, requests
//! and replies, both ways. Pure: no socket, no file, and nothing is allocated by a number that a peer
//! chose. Integers have the host's byte order, which is little-endian here.

mod payloads;
mod replies;
mod request;

use thiserror::Error;

pub use payloads::*;
pub use replies::*;
pub use request::Request;

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

/// Why bytes are not a message.
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
    pub(super) const KIND: u32 = 0xf;
    pub(super) const REPLY: u32 = 1;
    pub(super) const NO_REPLY: u32 = 0x10;
    pub(super) const ERROR: u32 = 0x20;
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
