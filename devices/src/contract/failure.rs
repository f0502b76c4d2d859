// SPDX-License-Identifier: Apache-2.0
//! Kinds of failure: one table, from which their names, the counters in reports, counters and metrics, and the list
//! in `docs/operation.md` come. Pure.

use serde::ser::{Serialize, SerializeMap, Serializer};

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
        /// Kinds of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureKind {
            $(#[doc = $text] $kind,)+
        }

        impl FailureKind {
            /// All of them, in the order that reports have.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name in reports, counters, metrics and traces.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// What it means, for documents.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$kind => $text,)+ }
            }

            const fn scope(self) -> Scope {
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
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    const fn counts_for(self, commands: bool) -> bool {
        match self.scope() {
            Scope::Both => true,
            Scope::Commands => commands,
            Scope::Registers => !commands,
        }
    }
}

/// Failures by kind: of administration commands, or of registers and functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts<const COMMANDS: bool> {
    counts: [u64; FailureKind::COUNT],
}

/// Failures of accesses to registers, and of operations on the function.
pub type RegisterFailures = FailureCounts<false>;
/// Failures of administration commands.
pub type CommandFailures = FailureCounts<true>;

impl<const COMMANDS: bool> FailureCounts<COMMANDS> {
    /// From one count for each kind, in the order of [`FailureKind::ALL`].
    pub const fn new(counts: [u64; FailureKind::COUNT]) -> Self {
        Self { counts }
    }

    /// One more.
    pub fn add(&mut self, kind: FailureKind) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// How many of a kind.
    pub fn get(&self, kind: FailureKind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Name and count of each kind that there can be.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FailureKind::ALL
            .iter()
            .zip(self.counts)
            .filter(|(kind, _)| kind.counts_for(COMMANDS))
            .map(|(k, n)| (k.name(), n))
    }
}

impl<const COMMANDS: bool> Serialize for FailureCounts<COMMANDS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in self.named() {
            map.serialize_entry(name, &count)?;
        }
        map.end()
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
