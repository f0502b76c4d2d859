// SPDX-License-Identifier: Apache-2.0
//! Kinds of failure of a device's register path, and their names. Pure.

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The device refused the access.
    Refused,
    /// No answer in time.
    Timeout,
    /// The VM stops.
    Cancelled,
    /// The answer was too short.
    Short,
    /// No room in the admin queue.
    Full,
    /// The admin queue is dead.
    Dead,
    /// The back end has no such register, or no room for an access of that width.
    NoRegister,
    /// An operation on the function failed.
    Function,
}

impl FailureKind {
    /// How many kinds there are.
    pub const COUNT: usize = 8;

    /// Its name in reports and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Short => "short",
            Self::Full => "full",
            Self::Dead => "dead",
            Self::NoRegister => "no_register",
            Self::Function => "function",
        }
    }
}
