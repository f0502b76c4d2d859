// SPDX-License-Identifier: Apache-2.0
//! Group administration commands, as the device that owns the group carries them out (virtio 1.3,
//! 2.13). Works on bytes; the caller knows where they come from.

use std::sync::Arc;
use std::time::Duration;

use super::layout::{NOTIFY, OWNER_DOORBELLS, REGISTER_BAR};
use super::quirks::{NotifyQuirk, Quirks};
use super::report::CommandCounts;
use super::sriov::EnabledVfs;
use super::vf::{MemberError, Vf};
use crate::admin::opcode::{self, qualifier, status};
use crate::admin::wire::{
    CommandList, LegacyRead, LegacyWrite, MAX_RESULT, NotifyEntry, NotifyInfo, REPLY_LEN, ReplyHeader, RequestHeader,
};

/// Most bytes of a request that can matter: a list of all 65536 opcodes after the header.
pub(super) const MAX_REQUEST: usize = 24 + 65536 / 8;
/// How long the PF waits for a member that is busy before it answers EAGAIN. Others wait meanwhile.
const MEMBER_PATIENCE: Duration = Duration::from_millis(5);
/// Widest legacy field.
const MAX_WIDTH: u64 = 8;

/// A command as the virtqueue carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The device-readable bytes, at most [`MAX_REQUEST`] of them.
    pub bytes: &'a [u8],
    /// Bytes the device can write.
    pub writable: u64,
}

/// Status, and how many bytes of the result are to be written.
pub(super) type Answer = Result<usize, ReplyHeader>;

const fn invalid(qualifier: u16) -> ReplyHeader {
    ReplyHeader { status: status::EINVAL, qualifier }
}

const AGAIN: ReplyHeader = ReplyHeader { status: status::EAGAIN, qualifier: qualifier::TRYAGAIN };

impl From<MemberError> for ReplyHeader {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::NoSuchField => invalid(qualifier::INVALID_FIELD),
            MemberError::Busy => AGAIN,
        }
    }
}

/// The owner's side of both groups.
pub(super) struct Commands {
    vfs: Vec<Arc<Vf>>,
    enabled: Arc<EnabledVfs>,
    used_self: CommandList,
    used_sriov: CommandList,
    counts: Arc<CommandCounts>,
    /// Member commands so far, for [`ReplyQuirks::busy_every`](super::quirks::ReplyQuirks::busy_every).
    count: u32,
    /// How long the next command waits for a member that is busy.
    patience: Duration,
}

impl Commands {
    /// The owner of `vfs`; member 1 is the first.
    pub(super) fn new(vfs: Vec<Arc<Vf>>, enabled: Arc<EnabledVfs>) -> Self {
        let counts = Arc::default();
        let initial = CommandList::from_word(opcode::MASK_LIST);
        Self { vfs, enabled, used_self: initial, used_sriov: initial, counts, count: 0, patience: MEMBER_PATIENCE }
    }

    /// Before a series of commands, which waits for busy members once.
    pub(super) fn begin_series(&mut self) {
        self.patience = MEMBER_PATIENCE;
    }

    /// After a reset only the two list commands may be used.
    pub(super) fn reset(&mut self) {
        self.used_self = CommandList::from_word(opcode::MASK_LIST);
        self.used_sriov = self.used_self;
    }

    /// What was asked so far.
    pub(super) fn counts(&self) -> Arc<CommandCounts> {
        self.counts.clone()
    }

    /// Carries out one command. `result` takes the command-specific result. Whatever is refused has
    /// changed nothing.
    pub(super) fn execute(&mut self, request: &Request<'_>, quirks: &Quirks, result: &mut [u8; MAX_RESULT]) -> Answer {
        let (header, data) = RequestHeader::parse(request.bytes);
        let answer = self.carry_out(&header, data, request, quirks, result);
        if answer == Err(AGAIN) {
            self.patience = Duration::ZERO;
        }
        self.counts.count(header.opcode, answer.is_ok());
        answer
    }

    fn carry_out(
        &mut self,
        header: &RequestHeader,
        data: &[u8],
        request: &Request<'_>,
        quirks: &Quirks,
        result: &mut [u8; MAX_RESULT],
    ) -> Answer {
        // The order of the checks is the standard's: group, opcode, member.
        let is_sriov = header.group_type == opcode::GROUP_SRIOV;
        let used = match header.group_type {
            opcode::GROUP_SELF => &mut self.used_self,
            _ if is_sriov && (self.enabled.get() > 0 || asks_list_early(quirks, header)) => &mut self.used_sriov,
            _ => return Err(invalid(qualifier::INVALID_GROUP)),
        };
        if !used.contains(header.opcode) {
            return Err(invalid(qualifier::INVALID_OPCODE));
        }
        let supported = || if is_sriov { supported_sriov(quirks) } else { CommandList::from_word(opcode::MASK_LIST) };
        match header.opcode {
            opcode::LIST_QUERY => {
                let supported = supported();
                *result = supported.encode();
                Ok(supported.encoded_len())
            }
            opcode::LIST_USE => {
                let supported = supported();
                let list = CommandList::parse(data).filter(|list| list.is_subset(&supported) && is_consistent(list));
                *used = list.ok_or(invalid(qualifier::INVALID_FIELD))?;
                Ok(0)
            }
            _ => self.member_command(header, data, request, quirks, result),
        }
    }

    fn member_command(
        &mut self,
        header: &RequestHeader,
        data: &[u8],
        request: &Request<'_>,
        quirks: &Quirks,
        result: &mut [u8; MAX_RESULT],
    ) -> Answer {
        let index = header.member_id.checked_sub(1).filter(|index| *index < u64::from(self.enabled.get()));
        let vf = index.and_then(|index| self.vfs.get(usize::try_from(index).ok()?));
        let (Some(vf), Some(index)) = (vf, index) else { return Err(invalid(qualifier::INVALID_MEMBER)) };
        self.count = self.count.wrapping_add(1);
        if quirks.reply.busy_every != 0 && self.count.is_multiple_of(quirks.reply.busy_every) {
            return Err(AGAIN);
        }
        if let Some((status, qualifier)) = quirks.reply.answer {
            return Err(ReplyHeader { status, qualifier });
        }
        match header.opcode {
            opcode::LEGACY_COMMON_CFG_WRITE => {
                let write = LegacyWrite::parse(data);
                vf.legacy_write(write.offset, write.data, self.patience)?;
                Ok(0)
            }
            opcode::LEGACY_DEV_CFG_WRITE => {
                let write = LegacyWrite::parse(data);
                vf.legacy_config_write(write.offset, write.data, self.patience)?;
                Ok(0)
            }
            opcode::LEGACY_COMMON_CFG_READ => {
                let out = read_width(request, result)?;
                vf.legacy_read(LegacyRead::parse(data).offset, out, self.patience)?;
                Ok(out.len())
            }
            opcode::LEGACY_DEV_CFG_READ => {
                let out = read_width(request, result)?;
                vf.legacy_config_read(LegacyRead::parse(data).offset, out, self.patience)?;
                Ok(out.len())
            }
            opcode::LEGACY_NOTIFY_INFO => {
                let info = notify_info(quirks, index).encode();
                result[..info.len()].copy_from_slice(&info);
                Ok(info.len())
            }
            // The extra opcode of the quirks: supported, and does nothing.
            _ => Ok(0),
        }
    }
}

/// The width of a read is the room for its result. No field is wider than 8 bytes, so wider reads
/// are refused here.
fn read_width<'a>(request: &Request<'_>, result: &'a mut [u8; MAX_RESULT]) -> Result<&'a mut [u8], ReplyHeader> {
    let width = request.writable.saturating_sub(REPLY_LEN as u64);
    if width == 0 || width > MAX_WIDTH {
        return Err(invalid(qualifier::INVALID_FIELD));
    }
    Ok(&mut result[..width as usize])
}

/// Linux asks for the list before VFs exist; by the letter of the standard that must fail.
fn asks_list_early(quirks: &Quirks, header: &RequestHeader) -> bool {
    quirks.list.before_vf_enable && matches!(header.opcode, opcode::LIST_QUERY | opcode::LIST_USE)
}

fn supported_sriov(quirks: &Quirks) -> CommandList {
    let notify = if quirks.notify == NotifyQuirk::Unsupported { 0 } else { opcode::MASK_NOTIFY_INFO };
    let mut list = CommandList::from_word(opcode::MASK_LIST | opcode::MASK_LEGACY_ACCESS | notify);
    if let Some(extra) = quirks.list.extra_opcode {
        list.insert(extra);
    }
    list
}

/// The four legacy accesses come together, and the notify addresses are of no use without them.
fn is_consistent(list: &CommandList) -> bool {
    let access = list.word() & opcode::MASK_LEGACY_ACCESS;
    let notify = list.word() & opcode::MASK_NOTIFY_INFO;
    access == opcode::MASK_LEGACY_ACCESS || (access == 0 && notify == 0)
}

/// Where the VF with this index, from 0, takes queue notifications.
fn notify_info(quirks: &Quirks, index: u64) -> NotifyInfo {
    let mut info = NotifyInfo::default();
    info.entries[0] = NotifyEntry { flags: NotifyEntry::MEMBER, bar: REGISTER_BAR, offset: NOTIFY };
    match &quirks.notify {
        NotifyQuirk::Owner => {
            let offset = OWNER_DOORBELLS + 2 * index;
            info.entries[0] = NotifyEntry { flags: NotifyEntry::OWNER, bar: REGISTER_BAR, offset };
        }
        NotifyQuirk::Entries(entries) => info.entries.iter_mut().zip(entries).for_each(|(to, from)| *to = *from),
        NotifyQuirk::Member | NotifyQuirk::Unsupported => {}
    }
    info
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
