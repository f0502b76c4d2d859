// SPDX-License-Identifier: Apache-2.0
//! What clients get to see of the machine. Changes nothing, and waits for no access but [`LOOK_LIMIT`].

use std::time::Duration;

use api::types::{LegacyDevice, VmInfo, VmScreen};
use api::{Code, Fault};
use devices::chipset::vga::Screen;

use super::super::error::no_device;
use super::super::legacy_view::legacy_device;
use super::super::metrics::{self, Snapshot};
use super::super::view::{self, Figures};
use super::Engine;
use crate::sandbox;

/// How long a look at a function's registers waits for an access to it.
const LOOK_LIMIT: Duration = Duration::from_millis(5);

impl Engine {
    pub(super) fn figures(&self) -> Figures {
        let Some(machine) = self.vm.as_ref().and_then(|vm| vm.machine.as_ref()) else { return Figures::default() };
        Figures {
            exits: machine.exits(),
            devices: machine.devices(),
            passthrough: machine.passthrough(),
            pfs: machine.pfs(),
        }
    }

    pub(super) fn info(&mut self) -> Result<VmInfo, Fault> {
        let figures = self.figures();
        let state = self.control.state();
        let vm = self.vm()?;
        Ok(VmInfo {
            config: vm.config.clone(),
            state,
            memory_actual_size: vm.config.memory.size,
            device_tree: view::device_tree(&vm.config, &figures),
            ended_by: vm.ended_by.clone(),
            last_screen: vm.last_screen.as_ref().map(Screen::text),
            sandbox: sandbox::held(),
        })
    }

    /// The screen of the machine, or the one that was there when the last machine ended.
    pub(super) fn screen(&mut self, attributes: bool) -> Result<VmScreen, Fault> {
        let vm = self.vm()?;
        let screen = match &vm.machine {
            Some(machine) => machine.screen().map(|screen| screen.screen()),
            None => vm.last_screen.clone(),
        };
        let missing = || {
            let text = "there is no text screen: a machine has one when firmware starts it, or with screen.mode \"On\" \
                        (--vga on)";
            Fault::new(Code::DeviceNotFound, text)
        };
        screen.map(|screen| view::screen(&screen, attributes)).ok_or_else(missing)
    }

    pub(super) fn legacy(&mut self, id: Option<&str>) -> Result<Vec<LegacyDevice>, Fault> {
        let sections = self.vm()?.machine()?.legacy(LOOK_LIMIT).into_iter();
        let wanted = |device: &LegacyDevice| id.is_none_or(|id| device.id == id);
        let found: Vec<_> = sections.map(legacy_device).filter(wanted).collect();
        match id {
            Some(id) if found.is_empty() => Err(no_device(id)),
            _ => Ok(found),
        }
    }

    pub(super) fn metrics(&self) -> String {
        metrics::render(&Snapshot {
            state: self.control.state(),
            events: self.control.events().published(),
            counters: &self.counters,
            figures: &self.figures(),
        })
    }
}
