// SPDX-License-Identifier: Apache-2.0
//! A legacy function in the API's types. What the device counts is taken apart field by field, so that something new
//! there does not compile before it has its place here. Pure.

use std::collections::BTreeMap;

use api::types::{AdminStatistics, CommandStatistics, LegacyDevice, QueueMirror, RegisterMirror, RegisterStatistics};
use devices::admin::{AdminStats, Latency, OpcodeStats, RegisterStats};
use devices::contract::FailureCounts;
use devices::transitional::{
    self, AccessReport, DeviceReport, InterruptReport, IntxReport, KickReport, QueueMirror as Queue,
};

use super::view::bdf;
use crate::machine::{DeviceSection, LegacySection};

fn named<const N: usize>(counters: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counters.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// All that is known of one function.
pub(super) fn legacy_device(section: LegacySection) -> LegacyDevice {
    let LegacySection { section, mode, registers, times_faulted, last_fault } = section;
    // Accesses by register are for metrics alone.
    let DeviceSection { slot, device, admin, rings_broken, by_register: _ } = section;
    let DeviceReport {
        id,
        device,
        function,
        interrupts,
        status,
        queues,
        notify,
        early,
        kicks,
        intx,
        accesses,
        resets,
        function_resets,
        errors,
        faulted,
    } = device;
    LegacyDevice {
        id,
        pci_bdf: bdf(slot),
        mode: mode.to_owned(),
        device: device.name().to_owned(),
        function,
        slot,
        interrupts: match interrupts {
            InterruptReport::Msix => "msix",
            InterruptReport::Intx => "intx",
            InterruptReport::None => "none",
        }
        .to_owned(),
        status,
        queues,
        notify,
        early: early.name().to_owned(),
        kicks: kick_counts(kicks),
        intx: intx_counts(intx),
        accesses: access_counts(accesses),
        resets,
        function_resets,
        errors: error_counts(errors),
        faulted,
        times_faulted,
        last_fault,
        registers: registers.map(register_mirror),
        admin: admin_statistics(admin),
        rings_broken,
    }
}

fn kick_counts(kicks: KickReport) -> BTreeMap<String, u64> {
    let KickReport {
        store,
        ioeventfd,
        ioeventfd_queues,
        ioeventfd_uncounted,
        admin,
        dropped,
        early,
        early_starts,
        replayed,
    } = kicks;
    named([
        ("store", store),
        ("ioeventfd", ioeventfd),
        ("ioeventfd_queues", ioeventfd_queues as u64),
        ("ioeventfd_uncounted", ioeventfd_uncounted),
        ("admin", admin),
        ("dropped", dropped),
        ("early", early),
        ("early_starts", early_starts),
        ("replayed", replayed),
    ])
}

fn intx_counts(intx: IntxReport) -> BTreeMap<String, u64> {
    let IntxReport { queue, config, spurious } = intx;
    named([("queue", queue), ("config", config), ("spurious", spurious)])
}

fn access_counts(accesses: AccessReport) -> BTreeMap<String, u64> {
    let AccessReport { reads, writes, isr_reads, shadow_reads, commands } = accesses;
    named([
        ("reads", reads),
        ("writes", writes),
        ("isr_reads", isr_reads),
        ("shadow_reads", shadow_reads),
        ("commands", commands),
    ])
}

fn error_counts<const COMMANDS: bool>(errors: FailureCounts<COMMANDS>) -> BTreeMap<String, u64> {
    errors.named().map(|(kind, count)| (kind.to_owned(), count)).collect()
}

fn register_mirror(registers: transitional::RegisterMirror) -> RegisterMirror {
    let transitional::RegisterMirror {
        device_features,
        device_feature_names,
        driver_features,
        driver_feature_names,
        queue_select,
        device_status,
        device_status_names,
        config_msix_vector,
        msix_enabled,
        queues,
    } = registers;
    let queue = |Queue { index, address, size }| QueueMirror { index, address, size };
    RegisterMirror {
        device_features,
        device_feature_names,
        driver_features,
        driver_feature_names,
        queue_select,
        device_status,
        device_status_names: device_status_names.into_iter().map(str::to_owned).collect(),
        config_msix_vector,
        msix_enabled,
        queues: queues.into_iter().map(queue).collect(),
    }
}

fn admin_statistics(admin: AdminStats) -> AdminStatistics {
    let AdminStats { member, commands, registers } = admin;
    // Reads among them are for metrics alone.
    let register =
        |RegisterStats { register, count, reads: _ }| RegisterStatistics { register: String::from(register), count };
    AdminStatistics {
        member,
        commands: commands.into_iter().map(command_statistics).collect(),
        registers: registers.into_iter().map(register).collect(),
    }
}

fn command_statistics(stats: OpcodeStats) -> CommandStatistics {
    // The histogram is for metrics alone.
    let OpcodeStats { command, count, latency_ns, latency_buckets: _, latency_sum_ns: _, errors } = stats;
    let Latency { p50, p90, p99, max } = latency_ns;
    CommandStatistics {
        command: command.to_owned(),
        count,
        latency_ns: named([("p50", p50), ("p90", p90), ("p99", p99), ("max", max)]),
        errors: error_counts(errors),
    }
}
