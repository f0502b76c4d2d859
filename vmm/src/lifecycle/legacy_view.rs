// SPDX-License-Identifier: Apache-2.0
//! A legacy function in the API's types. What the device counts is taken apart field by field, so that something new
//! there does not compile before it has its place here. Pure.

use std::collections::BTreeMap;

use api::types::{
    AdminStatistics, CommandStatistics, InterruptUse, LegacyDevice, QueueMirror, RegisterMirror, RegisterStatistics,
};
use devices::admin::{AdminStats, Latency, OpcodeStats, RegisterStats};
use devices::contract::FailureCounts;
use devices::transitional::{self, DeviceCounter, DeviceReport, Group, QueueMirror as Queue};

use super::view::bdf;
use crate::machine::{DeviceSection, LegacySection};

fn named<const N: usize>(counters: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counters.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// All that is known of one function.
pub(super) fn legacy_device(section: LegacySection) -> LegacyDevice {
    let LegacySection { section, mode, registers, times_faulted, last_fault } = section;
    // Accesses by register are for metrics only.
    let DeviceSection { slot, device, admin, rings_broken, host_errors, last_host_error, by_register: _ } = section;
    let DeviceReport {
        id,
        device,
        function,
        interrupts,
        status,
        queues,
        notify,
        early,
        counts,
        interrupts_used,
        interrupts_used_left_out,
        errors,
        faulted,
    } = device;
    let of = |group: Group| group.of(&counts).map(|(name, count)| (name.to_owned(), count)).collect();
    LegacyDevice {
        id,
        pci_bdf: bdf(slot),
        mode: mode.to_owned(),
        device: device.name().to_owned(),
        function,
        slot,
        interrupts: interrupts.name().to_owned(),
        status,
        queues,
        notify,
        early: early.name().to_owned(),
        kicks: of(Group::Kicks),
        intx: of(Group::Intx),
        interrupts_used: interrupts_used.into_iter().map(interrupt_use).collect(),
        interrupts_used_left_out,
        accesses: of(Group::Accesses),
        resets: counts.get(DeviceCounter::Resets),
        function_resets: counts.get(DeviceCounter::FunctionResets),
        errors: error_counts(errors),
        faulted,
        times_faulted,
        last_fault,
        registers: registers.map(register_mirror),
        admin: admin_statistics(admin),
        rings_broken,
        host_errors,
        last_host_error,
    }
}

fn interrupt_use(used: transitional::InterruptUse) -> InterruptUse {
    let transitional::InterruptUse { interrupts, intx, after_ms, for_ms } = used;
    InterruptUse { interrupts: interrupts.name().to_owned(), intx, after_ms, for_ms }
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
    // Reads among them are for metrics only.
    let register =
        |RegisterStats { register, count, reads: _ }| RegisterStatistics { register: String::from(register), count };
    AdminStatistics {
        member,
        commands: commands.into_iter().map(command_statistics).collect(),
        registers: registers.into_iter().map(register).collect(),
    }
}

fn command_statistics(stats: OpcodeStats) -> CommandStatistics {
    // The histogram is for metrics only.
    let OpcodeStats { command, count, latency_ns, latency_buckets: _, latency_sum_ns: _, errors } = stats;
    let Latency { p50, p90, p99, max } = latency_ns;
    CommandStatistics {
        command: command.to_owned(),
        count,
        latency_ns: named([("p50", p50), ("p90", p90), ("p99", p99), ("max", max)]),
        errors: error_counts(errors),
    }
}
