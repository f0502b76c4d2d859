// SPDX-License-Identifier: Apache-2.0
//! The function in slot 0: a host bridge without registers of its own.
//!
//! Linux takes configuration mechanism 1 for working only if bus 0 has a host bridge, a VGA adapter
//! or a function of Intel's or Compaq's (`pci_sanity_check`, arch/x86/pci/direct.c); other systems
//! have similar checks. The id is that of the 440FX, which two decades of virtual machines have shown
//! to every system there is. What Linux does for it is one note that matters to TV cards
//! (`quirk_natoma`); ids of later bridges bring AGP, EDAC or ECAM drivers that would look for
//! registers which do not exist here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BarWindow, ConfigSpace, Identity, PciDevice};
use crate::bus::{Access, Effect, Width};

const IDENTITY: Identity = Identity {
    vendor_id: 0x8086,
    device_id: 0x1237,
    revision_id: 2,
    class_code: [0x00, 0x00, 0x06],
    subsystem_vendor_id: 0,
    subsystem_id: 0,
};

/// A host bridge.
pub struct HostBridge(Mutex<ConfigSpace>);

impl Default for HostBridge {
    fn default() -> Self {
        Self(Mutex::new(ConfigSpace::new(&IDENTITY)))
    }
}

impl HostBridge {
    fn config(&self) -> MutexGuard<'_, ConfigSpace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PciDevice for HostBridge {
    fn name(&self) -> &str {
        "host-bridge"
    }
    fn config_read(&self, offset: u16, width: Width) -> u32 {
        self.config().read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        // There are no BARs, so COMMAND changes nothing.
        let _ = self.config().write(offset, width, value);
        Effect::None
    }
    fn windows(&self) -> Vec<BarWindow> {
        Vec::new()
    }
    fn placed(&self, _windows: &[BarWindow]) {}
    fn place_bar(&self, _bar: u8, _base: u64) {}
    fn bars(&self) -> Vec<BarWindow> {
        Vec::new()
    }
    fn bar_read(&self, _bar: u8, access: Access) -> u64 {
        access.width.all_ones()
    }
    fn bar_write(&self, _bar: u8, _access: Access, _value: u64) -> Effect {
        Effect::None
    }
}
