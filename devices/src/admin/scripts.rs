// SPDX-License-Identifier: Apache-2.0
//! What a scripted PF answers: the kinds of answers, and a tiny device that answers properly.

use super::opcode::{self, qualifier, status};
use super::wire::{CommandList, LegacyRead, LegacyWrite, ReplyHeader, RequestHeader};

/// What to do with a command.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Write these bytes, as far as they fit, and return the buffer.
    Reply(Vec<u8>),
    /// The same with a false used length.
    Lie(Vec<u8>, u32),
    /// Keep the buffer until [`ScriptedPf::release`], which writes these bytes.
    Hold(Vec<u8>),
    /// Return the buffer under another descriptor number.
    WrongId(u32),
    /// Return the buffer, and once more.
    Twice(Vec<u8>),
    /// Set used.idx to this.
    UsedIndex(u16),
}

/// A reply with status, qualifier and result.
pub(super) fn reply(status: u16, qualifier: u16, result: &[u8]) -> Vec<u8> {
    let mut bytes = ReplyHeader { status, qualifier }.encode().to_vec();
    bytes.extend_from_slice(result);
    bytes
}

/// One command as the device got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub readable: Vec<u8>,
    pub writable: usize,
}

impl Seen {
    pub(super) fn header(&self) -> RequestHeader {
        RequestHeader::parse(&self.readable).0
    }
}

pub(super) type Script = Box<dyn FnMut(&Seen) -> Answer + Send>;

/// A tiny device that knows the list commands and the legacy ones, of members 1 to 8, each with 24 and
/// 256 bytes of registers.
pub(super) fn legacy_device() -> Script {
    let mut registers = vec![[[0u8; 256]; 2]; 9];
    let mut used = CommandList::from_word(3);
    Box::new(move |seen| {
        let (header, data) = RequestHeader::parse(&seen.readable);
        let invalid = |qualifier| Answer::Reply(reply(status::EINVAL, qualifier, &[]));
        if !used.contains(header.opcode) {
            return invalid(qualifier::INVALID_OPCODE);
        }
        if header.opcode == opcode::LIST_QUERY {
            return Answer::Reply(reply(0, 0, &CommandList::from_word(0x3_007f).encode()[..8]));
        }
        if header.opcode == opcode::LIST_USE {
            used = CommandList::parse(data).unwrap();
            return Answer::Reply(reply(0, 0, &[]));
        }
        let area = usize::from(header.opcode >= opcode::LEGACY_DEV_CFG_WRITE);
        let member = usize::try_from(header.member_id).ok().filter(|member| *member != 0);
        let Some(registers) = member.and_then(|member| registers.get_mut(member)) else {
            return invalid(qualifier::INVALID_MEMBER);
        };
        let registers = &mut registers[area];
        match header.opcode {
            opcode::LEGACY_COMMON_CFG_WRITE | opcode::LEGACY_DEV_CFG_WRITE => {
                let LegacyWrite { offset, data } = LegacyWrite::parse(data);
                let at = usize::from(offset);
                registers[at..at + data.len()].copy_from_slice(data);
                Answer::Reply(reply(0, 0, &[]))
            }
            opcode::LEGACY_COMMON_CFG_READ | opcode::LEGACY_DEV_CFG_READ => {
                let at = usize::from(LegacyRead::parse(data).offset);
                Answer::Reply(reply(0, 0, &registers[at..at + seen.writable - 8]))
            }
            _ => Answer::Reply(reply(0, 0, &[0; 64])),
        }
    })
}
