// SPDX-License-Identifier: Apache-2.0
//! What is counted of one function: one table, from which reports, `vm.counters`, metrics and the list in
//! `docs/operation.md` come. Pure; counting never blocks.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::access_counts::AccessCounts;
use crate::contract::{CounterKind, Counters, Counts, Family};

/// Where reports have a counter: below this name, or beside the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `kicks`.
    Kicks,
    /// `intx`: synthetic interrupts. MSI-X interrupts go from the function to the guest uncounted.
    Intx,
    /// `accesses`.
    Accesses,
    /// In no group.
    Device,
}

static ANSWERS: Family = Family {
    name: "heirloom_legacy_software_answers_total",
    help: "Reads answered without a command, by what answered.",
    label: Some("by"),
};
static KICKS: Family =
    Family { name: "heirloom_kicks_total", help: "Queue notifications of the guest, by route.", label: Some("route") };
static INTX: Family = Family {
    name: "heirloom_intx_interrupts_total",
    help: "Interrupts delivered as INTx, by cause.",
    label: Some("cause"),
};
static RESETS: Family =
    Family { name: "heirloom_device_resets_total", help: "Resets of a device by its guest.", label: None };
static FUNCTION_RESETS: Family = Family {
    name: "heirloom_device_function_resets_total",
    help: "Function-level resets that the monitor had to make.",
    label: None,
};

macro_rules! table {
    ($($text:literal $kind:ident = $group:ident $name:literal $(as $family:ident $value:literal)?;)+) => {
        crate::contract::counter_kinds! {
            /// What is counted of one function.
            pub enum DeviceCounter;
            $($text $kind = $name $(as $family $value)?;)+
        }

        impl DeviceCounter {
            /// Where reports have it.
            pub fn group(self) -> Group {
                match self { $(Self::$kind => Group::$group,)+ }
            }
        }
    };
}

table! {
    "Kicks by an exit and one 16-bit store to the notify address. Repeated ones count again."
        KicksStored = Kicks "kicks_store" as KICKS "store";
    "Kicks without an exit, as far as the function counts them."
        KicksByIoeventfd = Kicks "kicks_ioeventfd" as KICKS "ioeventfd";
    "Queues that have the route without an exit now; 0 after the driver's last reset."
        QueuesByIoeventfd = Kicks "kicks_ioeventfd_queues";
    "How often a queue got that route where nobody counts: the kernel does not, for a function behind VFIO. Those kicks are in no figure and do not exit."
        UncountedIoeventfds = Kicks "kicks_ioeventfd_uncounted";
    "Kicks that needed a command: the PF names no notify address."
        KicksCommanded = Kicks "kicks_admin" as KICKS "admin";
    "Kicks of queues without an address, dropped."
        KicksDropped = Kicks "kicks_dropped" as KICKS "dropped";
    "Kicks before the VF had DRIVER_OK."
        KicksEarly = Kicks "kicks_early";
    "Kicks that were repeated when it had, from the guest or from Heirloom."
        KicksReplayed = Kicks "kicks_replayed";
    "How often an early kick made Heirloom give the VF DRIVER_OK, see [early kicks](#early-kicks)."
        EarlyStarts = Kicks "kicks_early_starts";
    "INTx made from the VF's queue vectors. With MSI-X interrupts go to the guest uncounted, so 0 is right there."
        QueueInterrupts = Intx "intx_queue" as INTX "queue";
    "INTx made from its configuration vector."
        ConfigInterrupts = Intx "intx_config" as INTX "config";
    "INTx raised in case one got lost while the guest switched MSI-X off."
        SpuriousInterrupts = Intx "intx_spurious" as INTX "spurious";
    "How often the VF signalled so much (100 000 times in a second, or 6 000 times without the guest having looked) that its interrupts were held back for 1 to 32 ms. None is lost: many become one."
        Throttled = Intx "intx_throttled";
    "Guest reads of BAR0 that exited: registers, ISR, device configuration."
        Reads = Accesses "reads";
    "Guest writes of BAR0 that exited, kicks by exit included."
        Writes = Accesses "writes";
    "Of the reads, those of the interrupt status, answered without the PF."
        IsrReads = Accesses "isr_reads" as ANSWERS "isr";
    "Of the reads, those of other registers that needed no command; 0 with `shadow=off`."
        ShadowReads = Accesses "shadow_reads" as ANSWERS "shadow";
    "Register accesses made below, failed ones too. Fewer than the guest's by what the shadow answers; more by vectors for INTx, resets, fields that one access spans."
        Commands = Accesses "commands";
    "Times the guest wrote status 0."
        Resets = Device "resets" as RESETS "";
    "Function-level resets because such a reset did not end."
        FunctionResets = Device "function_resets" as FUNCTION_RESETS "";
}

/// What a function counted, by kind.
pub type DeviceCounts = Counts<DeviceCounter, { DeviceCounter::COUNT }>;

/// What a function counts.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    counters: Counters<DeviceCounter, { DeviceCounter::COUNT }>,
    by_register: AccessCounts,
}

impl Stats {
    /// One more.
    pub(crate) fn add(&self, kind: DeviceCounter) {
        self.counters.add(kind);
    }

    /// All counters.
    pub(crate) fn counters(&self) -> &Counters<DeviceCounter, { DeviceCounter::COUNT }> {
        &self.counters
    }

    /// Guest reads and writes by register.
    pub(crate) fn by_register(&self) -> &AccessCounts {
        &self.by_register
    }
}

impl Group {
    /// All of them, in the order of reports.
    const NAMED: [(Self, &'static str); 3] =
        [(Self::Kicks, "kicks"), (Self::Intx, "intx"), (Self::Accesses, "accesses")];

    /// Begins the names of its counters, which reports leave out.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Kicks => "kicks_",
            Self::Intx => "intx_",
            Self::Accesses | Self::Device => "",
        }
    }

    /// Its counters with their names.
    pub fn of(self, counts: &DeviceCounts) -> impl Iterator<Item = (&'static str, u64)> {
        counts.each().filter(move |(kind, _)| kind.group() == self).map(|(kind, count)| (kind.short_name(), count))
    }
}

impl DeviceCounter {
    /// Its name in its group of a report.
    fn short_name(self) -> &'static str {
        self.name().trim_start_matches(self.group().prefix())
    }
}

/// As reports have them: each group is a map, and what is in none stands beside these.
pub(super) fn serialize<S: Serializer>(counts: &DeviceCounts, serializer: S) -> Result<S::Ok, S::Error> {
    struct OfGroup<'a>(Group, &'a DeviceCounts);
    impl Serialize for OfGroup<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.of(self.1))
        }
    }
    let mut map = serializer.serialize_map(None)?;
    for (group, name) in Group::NAMED {
        map.serialize_entry(name, &OfGroup(group, counts))?;
    }
    for (name, count) in Group::Device.of(counts) {
        map.serialize_entry(name, &count)?;
    }
    map.end()
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
