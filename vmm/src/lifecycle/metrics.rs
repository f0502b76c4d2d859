// SPDX-License-Identifier: Apache-2.0
//! Counters as Prometheus' text format 0.0.4. Pure.
//!
//! Source: "Exposition formats" of the Prometheus documentation.

use std::fmt::{Display, Write};

use api::VmState;
use devices::admin::{LATENCY_BOUNDS, OpcodeStats};
use devices::contract::{CounterKind, Counts, Family};

use super::counters::EngineCounters;
use super::view::Figures;
use crate::machine::{DeviceSection, PassthroughSection, PfSection};
use crate::vcpu::ExitCounts;

/// What is rendered.
pub(super) struct Snapshot<'a> {
    pub(super) state: VmState,
    pub(super) events: u64,
    pub(super) counters: &'a EngineCounters,
    pub(super) figures: &'a Figures,
}

/// The text. Counters of processors and devices start again with each boot, which readers take for a restart.
pub(super) fn render(snapshot: &Snapshot<'_>) -> String {
    let mut page = Page::default();
    engine(&mut page, snapshot);
    processors(&mut page, &snapshot.figures.exits);
    let devices = &snapshot.figures.devices;
    accesses(&mut page, devices);
    commands(&mut page, devices);
    let of_device: Vec<_> = devices.iter().map(|device| (&device.device.id, &device.device.counts)).collect();
    page.counted("device", &of_device);
    faults(&mut page, snapshot.figures);
    passed_through(&mut page, &snapshot.figures.passthrough);
    physical_functions(&mut page, &snapshot.figures.pfs);
    page.text
}

fn engine(page: &mut Page, snapshot: &Snapshot<'_>) {
    page.family("heirloom_build_info", "gauge", "Version of this program.");
    page.sample("heirloom_build_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
    page.family("heirloom_vm_state", "gauge", "1 for the state of the virtual machine, 0 for the others.");
    for state in VmState::ALL {
        let name = format!("{state:?}");
        page.sample("heirloom_vm_state", &[("state", &name)], u64::from(state == snapshot.state));
    }
    page.family("heirloom_events_total", "counter", "Events published.");
    page.sample("heirloom_events_total", &[], snapshot.events);
    for (kind, count) in snapshot.counters.counts().each() {
        let name = format!("heirloom_{}_total", kind.name());
        page.family(&name, "counter", kind.text());
        page.sample(&name, &[], count);
    }
}

fn processors(page: &mut Page, exits: &[ExitCounts]) {
    page.family("heirloom_vcpu_exits_total", "counter", "Exits of a vCPU to the monitor, by kind.");
    for (vcpu, counts) in exits.iter().enumerate() {
        for (kind, count) in counts.named() {
            page.sample("heirloom_vcpu_exits_total", &[("vcpu", &vcpu), ("kind", &kind)], count);
        }
    }
}

fn accesses(page: &mut Page, devices: &[DeviceSection]) {
    let name = "heirloom_legacy_accesses_total";
    page.family(name, "counter", "Accesses of the guest to legacy registers that left it, by register and direction.");
    for device in devices {
        for register in &device.by_register {
            for (direction, count) in [("read", register.reads), ("write", register.writes)] {
                let labels: [Label<'_>; 3] =
                    [("device", &device.device.id), ("register", &register.register), ("direction", &direction)];
                page.sample(name, &labels, count);
            }
        }
    }
    let name = "heirloom_legacy_register_commands_total";
    page.family(name, "counter", "Accesses that became an admin command, by register and direction.");
    for device in devices {
        for register in &device.admin.registers {
            let writes = register.count.saturating_sub(register.reads);
            for (direction, count) in [("read", register.reads), ("write", writes)] {
                let labels: [Label<'_>; 3] =
                    [("device", &device.device.id), ("register", &register.register), ("direction", &direction)];
                page.sample(name, &labels, count);
            }
        }
    }
}

fn commands(page: &mut Page, devices: &[DeviceSection]) {
    let name = "heirloom_admin_commands_total";
    page.family(name, "counter", "Legacy access commands to the PF, by opcode and outcome.");
    for (device, command) in each_command(devices) {
        let outcomes = [("ok", command.count)].into_iter().chain(command.errors.named());
        for (status, count) in outcomes {
            page.sample(name, &[("device", &device), ("opcode", &command.command), ("status", &status)], count);
        }
    }
    let name = "heirloom_admin_command_seconds";
    page.family(name, "histogram", "How long successful legacy access commands took, by opcode.");
    for (device, command) in each_command(devices) {
        latency(page, name, device, command);
    }
}

fn each_command(devices: &[DeviceSection]) -> impl Iterator<Item = (&String, &OpcodeStats)> {
    devices.iter().flat_map(|device| device.admin.commands.iter().map(move |command| (&device.device.id, command)))
}

fn latency(page: &mut Page, name: &str, device: &str, command: &OpcodeStats) {
    let labels: [Label<'_>; 2] = [("device", &device), ("opcode", &command.command)];
    let mut so_far = 0;
    let bounds = LATENCY_BOUNDS.iter().map(|nanos| Seconds(*nanos).to_string()).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(command.latency_buckets) {
        so_far += count;
        page.sample(&format!("{name}_bucket"), &[labels[0], labels[1], ("le", &bound)], so_far);
    }
    page.sample(&format!("{name}_sum"), &labels, Seconds(command.latency_sum_ns));
    page.sample(&format!("{name}_count"), &labels, so_far);
}

fn faults(page: &mut Page, figures: &Figures) {
    let name = "heirloom_device_faulted";
    page.family(name, "gauge", "1 while a device is out of service, or taken from the guest.");
    let legacy = figures.devices.iter().map(|d| (&d.device.id, &d.device.faulted));
    let passed = figures.passthrough.iter().map(|d| (&d.device.id, &d.device.faulted));
    for (id, faulted) in legacy.chain(passed) {
        page.sample(name, &[("device", id)], u64::from(faulted.is_some()));
    }
    let name = "heirloom_rings_broken_total";
    page.family(name, "counter", "Times a guest broke a ring, as a software VF counts it.");
    for device in &figures.devices {
        page.sample(name, &[("device", &device.device.id)], device.rings_broken);
    }
    let name = "heirloom_host_errors_total";
    page.family(name, "counter", "Requests of a software VF that the host's storage failed.");
    for device in &figures.devices {
        page.sample(name, &[("device", &device.device.id)], device.host_errors);
    }
}

/// Functions that the guest has as they are. What it does to their mapped parts nobody sees.
fn passed_through(page: &mut Page, devices: &[PassthroughSection]) {
    let of_device: Vec<_> = devices.iter().map(|device| (&device.device.id, &device.device.counts)).collect();
    page.counted("device", &of_device);
    let name = "heirloom_passthrough_mapped_bytes";
    page.family(name, "gauge", "Bytes of BARs in the guest's memory.");
    for device in devices {
        page.sample(name, &[("device", &device.device.id)], device.mapped_bytes);
    }
}

fn physical_functions(page: &mut Page, pfs: &[PfSection]) {
    page.family("heirloom_pf_up", "gauge", "1 while the PF runs administration commands, 0 while it is lost.");
    for pf in pfs {
        page.sample("heirloom_pf_up", &[("pf", &pf.pf)], u64::from(pf.is_up()));
    }
    page.counted("pf", &pfs.iter().map(|pf| (&pf.pf, &pf.report.counts)).collect::<Vec<_>>());
}

/// Nanoseconds, written as seconds without a rounding error.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let text = format!("{seconds}.{nanos:09}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

type Label<'a> = (&'static str, &'a dyn Display);

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// HELP and TYPE of the samples that follow. A family without samples is legal.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// The families of a table of counters, with the counts of each of its owners; `owner` is their label's name.
    fn counted<K: CounterKind, const N: usize>(&mut self, owner: &'static str, counts: &[(&String, &Counts<K, N>)]) {
        let mut families: Vec<&Family> = Vec::new();
        for metric in K::ALL.iter().filter_map(|kind| kind.metric()) {
            if families.iter().all(|family| family.name != metric.family.name) {
                families.push(metric.family);
            }
        }
        for family in families {
            self.family(family.name, "counter", family.help);
            for (id, counts) in counts {
                for (kind, count) in counts.each() {
                    let Some(metric) = kind.metric().filter(|metric| metric.family.name == family.name) else {
                        continue;
                    };
                    let label = family.label.map(|label| -> Label<'_> { (label, &metric.value) });
                    let labels: Vec<_> = std::iter::once((owner, id as &dyn Display)).chain(label).collect();
                    self.sample(family.name, &labels, count);
                }
            }
        }
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(name);
        for (position, (label, content)) in labels.iter().enumerate() {
            let open = if position == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escaped(&content.to_string()));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
