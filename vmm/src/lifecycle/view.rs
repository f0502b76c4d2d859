// SPDX-License-Identifier: Apache-2.0
//! What people and their tools get to see of a virtual machine, in the API's types. Pure.

use std::collections::BTreeMap;

use api::VmConfig;
use api::types::{DeviceNode, ScreenCursor, VmCounters, VmScreen};
use devices::chipset::vga::Screen;

use crate::machine::{DeviceSection, PassthroughSection, PfSection};
use crate::vcpu::ExitCounts;

/// What a machine counted so far; all empty without one.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// By vCPU.
    pub(super) exits: Vec<ExitCounts>,
    /// Legacy functions.
    pub(super) devices: Vec<DeviceSection>,
    /// Functions passed through.
    pub(super) passthrough: Vec<PassthroughSection>,
    /// PFs of the legacy functions.
    pub(super) pfs: Vec<PfSection>,
}

/// The place of a slot of bus 0.
pub(super) fn bdf(slot: u8) -> String {
    format!("0000:00:{slot:02x}.0")
}

/// The devices of `config`, at the places that the machine gave them, if there is one.
pub(super) fn device_tree(config: &VmConfig, figures: &Figures) -> BTreeMap<String, DeviceNode> {
    let node = |id: &String, kind, place: Option<(u8, &String)>| {
        let (slot, function) = place.map(|(slot, function)| (slot, function.clone())).unzip();
        let (kind, pci_bdf) = (String::from(kind), slot.map(bdf));
        let (children, resources) = (Vec::new(), Vec::new());
        (id.clone(), DeviceNode { id: id.clone(), kind, pci_bdf, slot, function, children, resources })
    };
    let legacy = config.legacy_virtio.iter().filter_map(|device| device.id.as_ref()).map(|id| {
        let section = figures.devices.iter().find(|section| section.device.id == *id);
        node(id, "legacy_virtio", section.map(|section| (section.slot, &section.device.function)))
    });
    let passed = config.devices.iter().filter_map(|device| device.id.as_ref()).map(|id| {
        let section = figures.passthrough.iter().find(|section| section.device.id == *id);
        node(id, "passthrough", section.map(|section| (section.slot, &section.device.function)))
    });
    legacy.chain(passed).collect()
}

/// The text screen.
pub(super) fn screen(screen: &Screen, attributes: bool) -> VmScreen {
    let colours = || screen.rows().map(|row| row.iter().map(|cell| cell.attribute).collect()).collect();
    VmScreen {
        graphics: screen.graphics,
        columns: screen.columns,
        lines: screen.lines(),
        cursor: screen.cursor.map(|at| ScreenCursor { row: at.row, column: at.column }),
        attributes: attributes.then(colours),
    }
}

/// All counters of a machine.
pub(super) fn counters(figures: &Figures) -> VmCounters {
    let vcpus = figures.exits.iter().enumerate();
    let vcpus = vcpus.map(|(index, counts)| (format!("vcpu{index}"), vcpu_counters(counts)));
    let devices = figures.devices.iter().map(|section| (section.device.id.clone(), device_counters(section)));
    let passed = figures.passthrough.iter();
    let passed = passed.map(|section| (section.device.id.clone(), passthrough_counters(section)));
    VmCounters(vcpus.chain(devices).chain(passed).collect())
}

fn vcpu_counters(counts: &ExitCounts) -> BTreeMap<String, u64> {
    counts.named().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn device_counters(section: &DeviceSection) -> BTreeMap<String, u64> {
    let DeviceSection { device, admin, rings_broken, host_errors, .. } = section;
    let commands: u64 = admin.commands.iter().map(|command| command.count).sum();
    let beside = [("admin_commands", commands), ("rings_broken", *rings_broken), ("host_errors", *host_errors)];
    let beside = beside.into_iter().map(|(name, count)| (name.to_owned(), count));
    // `errors_KIND`, so `errors_timeout`, `errors_refused` and the other kinds.
    let errors = device.errors.named().map(|(kind, count)| (format!("errors_{kind}"), count));
    device.counts.named().map(|(name, count)| (name.to_owned(), count)).chain(beside).chain(errors).collect()
}

fn passthrough_counters(section: &PassthroughSection) -> BTreeMap<String, u64> {
    let beside = [("mapped_bytes", section.mapped_bytes)];
    section.device.counts.named().chain(beside).map(|(name, count)| (name.to_owned(), count)).collect()
}
