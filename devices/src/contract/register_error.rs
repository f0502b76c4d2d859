// SPDX-License-Identifier: Apache-2.0
//! Why an access to a legacy register has no result. Each back end maps its own errors into this one, so
//! that nobody above has to know status codes of commands or error numbers of the kernel.

use std::fmt;

use thiserror::Error;

use super::area::Area;
use super::failure::FailureKind;
use super::wait::WaitOver;

/// What a device said when it refused, for messages. Only the back end knows what the numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status, a Linux error number.
    pub status: u16,
    /// Status qualifier; 0 where the back end does not learn it.
    pub qualifier: u16,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {:#x}, qualifier {:#x}", self.status, self.qualifier)
    }
}

/// Why a register access has no result. Making one allocates nothing, [`Self::Function`] apart.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RegisterError {
    /// The device refused this access. It changed nothing, and another access may work.
    #[error("the device refused the command: {0}")]
    Refused(Answer),
    /// The device was busy until the deadline. Asking in another way would wait as long again.
    #[error("the device refused the command: {0}")]
    Busy(Answer),
    /// The device is not there any more.
    #[error("the device refused the command: {0}")]
    Gone(Answer),
    /// The deadline passed. The device may still act on the access.
    #[error("the device did not answer within the deadline")]
    Timeout,
    /// The VM stops.
    #[error("the command was cancelled because the virtual machine stops")]
    Cancelled,
    /// The answer has too few bytes.
    #[error("the device answered with {got} bytes where {wanted} are due")]
    Short {
        /// Bytes that came.
        got: usize,
        /// Bytes that were due.
        wanted: usize,
    },
    /// There was no room for the access until the deadline. Nothing was sent.
    #[error("no free slot in the admin virtqueue within the deadline")]
    Full,
    /// The way to the device is lost, for this reason.
    #[error("the admin virtqueue is dead: {0}")]
    Dead(&'static str),
    /// The back end has no such register, or cannot carry an access of that width.
    #[error("the back end has no {width}-byte register at {area:?} offset {offset}")]
    NoSuchRegister {
        /// Part of the register space.
        area: Area,
        /// Offset in it.
        offset: u8,
        /// Bytes.
        width: usize,
    },
    /// A device function refused, as text because its cause cannot be cloned.
    #[error("{0}")]
    Function(String),
}

impl RegisterError {
    /// What it counts as.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Refused(_) | Self::Busy(_) | Self::Gone(_) => FailureKind::Refused,
            Self::Timeout => FailureKind::Timeout,
            Self::Cancelled => FailureKind::Cancelled,
            Self::Short { .. } => FailureKind::Short,
            Self::Full => FailureKind::Full,
            Self::Dead(_) => FailureKind::Dead,
            Self::NoSuchRegister { .. } => FailureKind::NoRegister,
            Self::Function(_) => FailureKind::Function,
        }
    }
}

impl From<WaitOver> for RegisterError {
    fn from(over: WaitOver) -> Self {
        match over {
            WaitOver::Timeout => Self::Timeout,
            WaitOver::Cancelled => Self::Cancelled,
        }
    }
}
