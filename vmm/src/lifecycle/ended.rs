// SPDX-License-Identifier: Apache-2.0
//! How the engine's work came to its end.

use std::fmt;
use std::sync::Arc;

use crate::vcpu::CrashReport;

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest reset itself, and was not to be started again.
    Reset,
    /// The guest crashed.
    Crashed(Arc<CrashReport>),
    /// Ctrl-A X.
    FromConsole,
    /// A signal.
    Signal(i32),
    /// A thread of this program panicked; the reason.
    Panicked(String),
    /// Somebody asked for it through the control interface.
    Requested,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => write!(f, "the guest powered itself off"),
            Self::Reset => write!(f, "the guest reset itself"),
            Self::Crashed(report) => write!(f, "the guest crashed: {}", report.cause),
            Self::FromConsole => write!(f, "ended from the console"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Panicked(reason) => write!(f, "heirloom failed: {reason}"),
            Self::Requested => write!(f, "ended by request"),
        }
    }
}

impl Ended {
    /// The exit code that tells so. `--help` promises these.
    pub fn code(&self) -> u8 {
        match self {
            Self::PoweredOff | Self::Requested => 0,
            Self::Panicked(_) => 1,
            Self::Crashed(_) => 4,
            Self::FromConsole => 5,
            Self::Reset => 6,
            Self::Signal(signal) => 128u8.wrapping_add(*signal as u8),
        }
    }
}
