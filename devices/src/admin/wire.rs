// SPDX-License-Identifier: Apache-2.0
//! Bytes of group administration commands, both directions: a PF driver encodes requests and parses
//! replies, a device model parses requests and encodes replies. Pure: no I/O and no allocation.
//!
//! A command is one buffer. Its device-readable part is a 24-byte header and command-specific data,
//! its device-writable part an 8-byte status and the command-specific result. All fields are
//! little-endian. Missing bytes of either part read as zero (virtio 1.4, "Group administration
//! commands"), so no parser here can fail on a short part.

use super::opcode;
use super::{AdminError, Command};

/// Bytes of the request header.
pub const HEADER_LEN: usize = 24;
/// Bytes of the reply before the command-specific result.
pub const REPLY_LEN: usize = 8;
/// Bytes of command-specific data that a request of ours can carry.
pub const MAX_DATA: usize = 64;
/// Bytes of command-specific result that a reply to us can carry.
pub const MAX_RESULT: usize = 128;
/// Entries of a LEGACY_NOTIFY_INFO result.
pub const NOTIFY_ENTRIES: usize = 4;
/// Bytes of one of these entries.
pub const NOTIFY_ENTRY_LEN: usize = 16;
/// Bytes of the whole LEGACY_NOTIFY_INFO result.
pub const NOTIFY_INFO_LEN: usize = NOTIFY_ENTRIES * NOTIFY_ENTRY_LEN;
/// Bytes of legacy write data before the value: offset and 7 reserved bytes.
pub const LEGACY_WRITE_PREFIX: usize = 8;

/// `N` bytes from `offset` on; those that `bytes` does not have are zero.
#[inline]
fn padded<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    if let Some(whole) = bytes.get(offset..).and_then(|rest| rest.first_chunk()) {
        return *whole;
    }
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(bytes.iter().skip(offset)) {
        *to = *from;
    }
    field
}

/// Header of the device-readable part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Opcode, see [`opcode`].
    pub opcode: u16,
    /// Group type: 0 self, 1 SR-IOV.
    pub group_type: u16,
    /// Member id: VF number in the SR-IOV group.
    pub member_id: u64,
}

impl RequestHeader {
    /// The 24 bytes; reserved ones are zero.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..2].copy_from_slice(&self.opcode.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.group_type.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.member_id.to_le_bytes());
        bytes
    }

    /// Header and command-specific data of a device-readable part of any length.
    pub fn parse(readable: &[u8]) -> (Self, &[u8]) {
        let header = Self {
            opcode: u16::from_le_bytes(padded(readable, 0)),
            group_type: u16::from_le_bytes(padded(readable, 2)),
            member_id: u64::from_le_bytes(padded(readable, 16)),
        };
        (header, readable.get(HEADER_LEN..).unwrap_or_default())
    }
}

/// A device-readable part, encoded to the byte: header and data without padding, because the length
/// of a legacy access is its width.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    bytes: [u8; HEADER_LEN + MAX_DATA],
    len: usize,
}

impl Request {
    /// Encodes `command`; `None` if its data is longer than [`MAX_DATA`].
    pub fn encode(command: &Command<'_>) -> Option<Self> {
        let header =
            RequestHeader { opcode: command.opcode, group_type: command.group_type, member_id: command.member_id };
        let mut bytes = [0; HEADER_LEN + MAX_DATA];
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        let len = HEADER_LEN + command.data.len();
        bytes.get_mut(HEADER_LEN..len)?.copy_from_slice(command.data);
        Some(Self { bytes, len })
    }

    /// The encoded bytes, 24 to 88 of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Status words of the device-writable part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyHeader {
    /// Status as the device wrote it, see [`opcode::status`].
    pub status: u16,
    /// Status qualifier as the device wrote it, see [`opcode::qualifier`].
    pub qualifier: u16,
}

impl ReplyHeader {
    /// Status OK.
    pub const OK: Self = Self { status: opcode::status::OK, qualifier: opcode::qualifier::OK };

    /// The 8 bytes; reserved ones are zero.
    pub fn encode(&self) -> [u8; REPLY_LEN] {
        let mut bytes = [0; REPLY_LEN];
        bytes[0..2].copy_from_slice(&self.status.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.qualifier.to_le_bytes());
        bytes
    }

    /// Status words of what the device wrote, cut at the used length. A used length below 4 leaves
    /// no status at all: the caller must not take that for OK.
    pub fn parse(written: &[u8]) -> Self {
        Self { status: u16::from_le_bytes(padded(written, 0)), qualifier: u16::from_le_bytes(padded(written, 2)) }
    }
}

/// Splits what the device wrote into status and result. `written` is cut at the used length and at
/// the length of the buffer; `used` is the used length as reported. Result bytes that did not come
/// are zero, and the answer then is [`AdminError::Short`].
pub(super) fn take_reply(written: &[u8], used: usize, result: &mut [u8]) -> Result<(), AdminError> {
    let short = AdminError::Short { got: used, wanted: REPLY_LEN + result.len() };
    // Without a status there is no answer; bytes that read as zero would spell OK.
    if used < 4 {
        return Err(short);
    }
    let reply = ReplyHeader::parse(written);
    if reply.status != opcode::status::OK {
        let (status, qualifier) = opcode::normalize(reply.status, reply.qualifier);
        return Err(AdminError::Refused { status, qualifier });
    }
    let from = written.get(REPLY_LEN..).unwrap_or_default();
    result.fill(0);
    for (to, from) in result.iter_mut().zip(from) {
        *to = *from;
    }
    if from.len() < result.len() { Err(short) } else { Ok(()) }
}

/// Data of LEGACY_COMMON_CFG_WRITE and LEGACY_DEV_CFG_WRITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyWrite<'a> {
    /// Bytes into the common or the device-specific structure.
    pub offset: u8,
    /// The value, little-endian; its length is the access width.
    pub data: &'a [u8],
}

impl<'a> LegacyWrite<'a> {
    /// The data of a request, and how many of its bytes count; `None` if the value has more than 8 bytes.
    pub fn encode(&self) -> Option<([u8; LEGACY_WRITE_PREFIX + 8], usize)> {
        let mut bytes = [0; LEGACY_WRITE_PREFIX + 8];
        let len = LEGACY_WRITE_PREFIX + self.data.len();
        bytes.get_mut(LEGACY_WRITE_PREFIX..len)?.copy_from_slice(self.data);
        bytes[0] = self.offset;
        Some((bytes, len))
    }

    /// Parses command-specific data; a short one has offset 0 or an empty value.
    pub fn parse(data: &'a [u8]) -> Self {
        Self { offset: data.first().copied().unwrap_or(0), data: data.get(LEGACY_WRITE_PREFIX..).unwrap_or_default() }
    }
}

/// Data of LEGACY_COMMON_CFG_READ and LEGACY_DEV_CFG_READ. The width is the length of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyRead {
    /// Bytes into the common or the device-specific structure.
    pub offset: u8,
}

impl LegacyRead {
    /// The data of a request.
    pub fn encode(&self) -> [u8; 1] {
        [self.offset]
    }

    /// Parses command-specific data; bytes after the offset are ignored.
    pub fn parse(data: &[u8]) -> Self {
        Self { offset: data.first().copied().unwrap_or(0) }
    }
}

/// One entry of a LEGACY_NOTIFY_INFO result, as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyEntry {
    /// 0 end of list, 1 BAR of the owner (PF), 2 BAR of the member (VF); others are reserved.
    pub flags: u8,
    /// BAR number; 1..=5 are valid.
    pub bar: u8,
    /// Bytes into the BAR; valid ones are even.
    pub offset: u64,
}

impl NotifyEntry {
    /// Ends the list.
    pub const END: u8 = 0;
    /// The address is in a BAR of the PF.
    pub const OWNER: u8 = 1;
    /// The address is in a BAR of the VF.
    pub const MEMBER: u8 = 2;

    fn encode(&self) -> [u8; NOTIFY_ENTRY_LEN] {
        let mut bytes = [0; NOTIFY_ENTRY_LEN];
        bytes[0] = self.flags;
        bytes[1] = self.bar;
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }
}

/// Result of LEGACY_NOTIFY_INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyInfo {
    /// Entries in the device's order of preference.
    pub entries: [NotifyEntry; NOTIFY_ENTRIES],
}

impl NotifyInfo {
    /// The 64 bytes; padding is zero.
    pub fn encode(&self) -> [u8; NOTIFY_INFO_LEN] {
        let mut bytes = [0; NOTIFY_INFO_LEN];
        for (to, entry) in bytes.chunks_exact_mut(NOTIFY_ENTRY_LEN).zip(&self.entries) {
            to.copy_from_slice(&entry.encode());
        }
        bytes
    }

    /// Parses a result; entries that are missing read as the end of the list.
    pub fn parse(result: &[u8]) -> Self {
        let mut info = Self::default();
        for (entry, at) in info.entries.iter_mut().zip((0..).step_by(NOTIFY_ENTRY_LEN)) {
            let [flags, bar] = padded(result, at);
            *entry = NotifyEntry { flags, bar, offset: u64::from_le_bytes(padded(result, at + 8)) };
        }
        info
    }
}

/// Words of a [`CommandList`].
const WORDS: usize = MAX_RESULT / 8;

/// The bitmap of LIST_QUERY and LIST_USE: opcode `n` is bit `n % 64` of little-endian word `n / 64`.
/// It holds opcodes below 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandList {
    words: [u64; WORDS],
}

impl CommandList {
    /// The list with opcodes 0 to 63 from `word`.
    pub const fn from_word(word: u64) -> Self {
        let mut words = [0; WORDS];
        words[0] = word;
        Self { words }
    }

    /// Opcodes 0 to 63.
    pub const fn word(&self) -> u64 {
        self.words[0]
    }

    /// Whether `opcode` is in the list.
    pub fn contains(&self, opcode: u16) -> bool {
        self.words.get(usize::from(opcode / 64)).is_some_and(|word| word >> (opcode % 64) & 1 == 1)
    }

    /// Adds `opcode`; false if it is too large for this list.
    pub fn insert(&mut self, opcode: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(opcode / 64)) else { return false };
        *word |= 1 << (opcode % 64);
        true
    }

    /// Whether every opcode of this list is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// Bytes that the list takes: largest opcode plus one, divided by 64 and rounded up, in 8-byte
    /// words. The formula in the standard's text drops the "plus one"; its sentence has it.
    pub fn encoded_len(&self) -> usize {
        let used = self.words.iter().rposition(|word| *word != 0).map_or(1, |last| last + 1);
        used * 8
    }

    /// All words; the first [`Self::encoded_len`] bytes are the shortest legal encoding.
    pub fn encode(&self) -> [u8; MAX_RESULT] {
        let mut bytes = [0; MAX_RESULT];
        for (to, word) in bytes.chunks_exact_mut(8).zip(&self.words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Parses a list of any length. Missing bytes are zero, and so may be extra ones; `None` if the
    /// list names an opcode of 1024 or more.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.iter().skip(MAX_RESULT).any(|byte| *byte != 0) {
            return None;
        }
        let mut list = Self::default();
        for (word, chunk) in list.words.iter_mut().zip(bytes.chunks(8)) {
            *word = u64::from_le_bytes(padded(chunk, 0));
        }
        Some(list)
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
