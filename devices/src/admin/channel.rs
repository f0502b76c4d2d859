// SPDX-License-Identifier: Apache-2.0
//! Runs one administration command, over any channel.

use std::fmt;

use crate::contract::{Answer, FailureKind, RegisterError, Wait, WaitOver};

/// One command: what the header says and the command-specific data, both exact to the byte. For the
/// legacy access commands the length of data and result *is* the access width, so nothing is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// Opcode, see [`super::opcode`].
    pub opcode: u16,
    /// Group type: 0 self, 1 SR-IOV.
    pub group_type: u16,
    /// Member id: VF number (1..=NumVFs) in the SR-IOV group, 0 where unused.
    pub member_id: u64,
    /// Command-specific data, at most 64 bytes.
    pub data: &'a [u8],
}

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// The device answered with an error. Unknown numbers are already mapped as the standard says.
    Refused {
        /// Status, a Linux errno number (22 = EINVAL).
        status: u16,
        /// Status qualifier (2 = INVALID_OPCODE, 5 = INVALID_MEMBER, ...).
        qualifier: u16,
    },
    /// The deadline passed. The device may still complete the command: its buffers stay quarantined.
    Timeout,
    /// The VM is stopping.
    Cancelled,
    /// The device wrote fewer bytes than the command's answer has.
    Short {
        /// Used length the device reported.
        got: usize,
        /// Bytes that were due.
        wanted: usize,
    },
    /// All buffers were quarantined or in use until the deadline, or a LIST_USE held back all other
    /// commands. Nothing was sent.
    Full,
    /// The command does not fit the buffers of the channel. Nothing was sent.
    TooLong {
        /// Bytes of command-specific data.
        data: usize,
        /// Bytes of command-specific result.
        result: usize,
    },
    /// The channel is dead: the PF was reset or removed, or broke the protocol.
    Dead(&'static str),
}

impl AdminError {
    /// What it counts as.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Refused { .. } => FailureKind::Refused,
            Self::Timeout => FailureKind::Timeout,
            Self::Cancelled => FailureKind::Cancelled,
            Self::Short { .. } => FailureKind::Short,
            Self::Full => FailureKind::Full,
            Self::TooLong { .. } => FailureKind::TooLong,
            Self::Dead(_) => FailureKind::Dead,
        }
    }
}

/// In the words of the register access that comes to nothing for it.
impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_an_access = match *self {
            Self::TooLong { data, result } => {
                return write!(
                    f,
                    "{data} bytes of data or {result} bytes of result exceed the channel's limits of 64 and 128"
                );
            }
            Self::Refused { status, qualifier } => RegisterError::Refused(Answer { status, qualifier }),
            Self::Timeout => RegisterError::Timeout,
            Self::Cancelled => RegisterError::Cancelled,
            Self::Short { got, wanted } => RegisterError::Short { got, wanted },
            Self::Full => RegisterError::Full,
            Self::Dead(reason) => RegisterError::Dead(reason),
        };
        of_an_access.fmt(f)
    }
}

impl std::error::Error for AdminError {}

impl From<WaitOver> for AdminError {
    fn from(over: WaitOver) -> Self {
        match over {
            WaitOver::Timeout => Self::Timeout,
            WaitOver::Cancelled => Self::Cancelled,
        }
    }
}

/// Carries administration commands to a device that owns the group.
pub trait AdminChannel: Send + Sync {
    /// Runs one command and waits for its end. On success exactly `result.len()` bytes of
    /// command-specific result are in `result`. EAGAIN and ENOMEM are retried inside, within the
    /// deadline. The caller sees to it that one member has one command at a time.
    fn execute(&self, command: &Command<'_>, result: &mut [u8], wait: &Wait<'_>) -> Result<(), AdminError>;
}
