// SPDX-License-Identifier: Apache-2.0
//! The function in slot 0: a host bridge whose registers store and do nothing else.
//!
//! Linux takes configuration mechanism 1 for working only if bus 0 has a host bridge, a VGA adapter
//! or a function of Intel's or Compaq's (`pci_sanity_check`, arch/x86/pci/direct.c); other systems
//! have similar checks. The id is that of the 440FX, which two decades of virtual machines have shown
//! to every system there is. What Linux does for it is one note that matters to TV cards
//! (`quirk_natoma`); ids of later bridges bring AGP, EDAC or ECAM drivers that would look for
//! registers which do not exist here.
//!
//! Firmware opens and closes shadow RAM (0xc0000-0xfffff) by the registers at 0x58 to 0x5f and SMRAM by the one at
//! 0x72 (82441FX data sheet, 3.2.18 and 3.2.20). Here the range is always RAM, and there is no SMRAM, so the
//! registers are only kept. At reset they say that firmware has to copy itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ConfigSpace, ConfigSpaceState, Identity, PciDevice, Subsystem};
use crate::bus::{Effect, Width};
use crate::contract::{Saved, StateError};

const IDENTITY: Identity = Identity {
    vendor_id: 0x8086,
    device_id: 0x1237,
    revision_id: 2,
    class_code: [0x00, 0x00, 0x06],
    // As every virtual machine of the kind has it: SeaBIOS tells by it that there is no hardware.
    subsystem: Subsystem { vendor_id: 0x1af4, id: 0x1100 },
};

/// DRAM row type, and programmable attributes of the memory below 1 MiB (PAM0 to PAM6).
const SHADOW: (u16, [u8; 8]) = (0x58, [0; 8]);
/// System management RAM control.
const SMRAM: (u16, [u8; 1]) = (0x72, [0x02]);

/// A host bridge.
pub struct HostBridge(Mutex<ConfigSpace>);

impl Default for HostBridge {
    fn default() -> Self {
        let mut space = ConfigSpace::new(&IDENTITY);
        space.define(SHADOW.0, &SHADOW.1, &[0xff; SHADOW.1.len()]);
        space.define(SMRAM.0, &SMRAM.1, &[0xff]);
        Self(Mutex::new(space))
    }
}

impl HostBridge {
    fn config(&self) -> MutexGuard<'_, ConfigSpace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shadow RAM, SMRAM and COMMAND as the guest wrote them.
impl Saved for HostBridge {
    type State = ConfigSpaceState;

    fn state(&self) -> ConfigSpaceState {
        self.config().state()
    }

    fn set_state(&self, state: ConfigSpaceState) -> Result<(), StateError> {
        self.config().set_state(&state);
        Ok(())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadow_registers_keep_what_is_written_and_others_do_not() {
        let bridge = HostBridge::default();
        assert_eq!((bridge.config_read(0x58, Width::B4), bridge.config_read(0x72, Width::B1)), (0, 2));
        for (offset, value) in [(0x58, 0x3333_3000), (0x5c, 0x3333_3333)] {
            assert_eq!(bridge.config_write(offset, Width::B4, value), Effect::None);
            assert_eq!(bridge.config_read(offset, Width::B4), value);
        }
        let _ = bridge.config_write(0x72, Width::B1, 0x4a);
        let _ = bridge.config_write(0x60, Width::B4, 0xffff_ffff);
        assert_eq!((bridge.config_read(0x72, Width::B1), bridge.config_read(0x60, Width::B4)), (0x4a, 0));
        assert_eq!(bridge.config_read(0x2c, Width::B4), 0x1100_1af4);
    }
}
