// SPDX-License-Identifier: Apache-2.0
//! Kinds of failure: one table, from which their names, the counters in reports, counters and metrics, and the list
//! in `docs/operation.md` come. Pure.

use serde::ser::{Serialize, Serializer};

use super::counters::{CounterKind, Counts, counter_kinds};

/// What can fail so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Accesses to registers, and operations on the function.
    Registers,
    /// Administration commands.
    Commands,
    /// Both.
    Both,
}

macro_rules! failure_kinds {
    ($($text:literal $kind:ident = $name:literal of $scope:ident;)+) => {
        counter_kinds! {
            /// Kinds of failure; traces have their names, too.
            pub enum FailureKind;
            $($text $kind = $name;)+
        }

        impl FailureKind {
            fn scope(self) -> Scope {
                match self { $(Self::$kind => Scope::$scope,)+ }
            }
        }
    };
}

failure_kinds! {
    "The device refused." Refused = "refused" of Both;
    "No answer within the deadline." Timeout = "timeout" of Both;
    "Given up because the virtual machine stops." Cancelled = "cancelled" of Both;
    "The answer was too short." Short = "short" of Both;
    "No room in the admin queue until the deadline." Full = "full" of Both;
    "The admin queue is dead." Dead = "dead" of Both;
    "The command does not fit the admin queue's buffers." TooLong = "too_long" of Commands;
    "The back end has no such register, or cannot carry an access of that width." NoRegister = "no_register" of Registers;
    "An operation on the function failed." Function = "function" of Registers;
}

impl FailureKind {
    fn counts_for(self, commands: bool) -> bool {
        match self.scope() {
            Scope::Both => true,
            Scope::Commands => commands,
            Scope::Registers => !commands,
        }
    }
}

/// Failures by kind: of administration commands, or of registers and functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts<const COMMANDS: bool>(Counts<FailureKind, { FailureKind::COUNT }>);

/// Failures of accesses to registers, and of operations on the function.
pub type RegisterFailures = FailureCounts<false>;
/// Failures of administration commands.
pub type CommandFailures = FailureCounts<true>;

impl<const COMMANDS: bool> FailureCounts<COMMANDS> {
    /// From the counts of all kinds.
    pub const fn new(counts: Counts<FailureKind, { FailureKind::COUNT }>) -> Self {
        Self(counts)
    }

    /// One more.
    pub fn add(&mut self, kind: FailureKind) {
        self.0.add(kind);
    }

    /// How many of a kind.
    pub fn get(&self, kind: FailureKind) -> u64 {
        self.0.get(kind)
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.0.each().map(|(_, count)| count).sum()
    }

    /// Name and count of each kind that there can be.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.each().filter(|(kind, _)| kind.counts_for(COMMANDS)).map(|(kind, count)| (kind.name(), count))
    }
}

impl<const COMMANDS: bool> Serialize for FailureCounts<COMMANDS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.named())
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
