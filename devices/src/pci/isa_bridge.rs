// SPDX-License-Identifier: Apache-2.0
//! The ISA bridge of machines that start by firmware: a PIIX3 with its interrupt router's registers.
//!
//! SeaBIOS's `$PIR` table names the function in slot 1 as the router of PCI interrupts, and kernels of 2.4 and 2.6
//! without I/O APIC write the router's registers as a PIIX's (`pirq_piix_set`, arch/x86/pci/irq.c). The wiring here is
//! fixed and the one that SeaBIOS programs ([`super::intx_irq`]), so the registers only store: who reads
//! them finds it, and nobody sets another. Source: 82371SB data sheet, 2.2.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ConfigSpace, ConfigSpaceState, Identity, PciDevice, Subsystem};
use crate::bus::{Effect, Width};
use crate::contract::{Saved, StateError};

const IDENTITY: Identity = Identity {
    vendor_id: 0x8086,
    device_id: 0x7000,
    revision_id: 0,
    class_code: [0x00, 0x01, 0x06],
    subsystem: Subsystem { vendor_id: 0x1af4, id: 0x1100 },
};

/// Chip select of the X-bus: which ranges go to the BIOS, keyboard and clock; reset value.
const XBCS: (u16, [u8; 2]) = (0x4e, [0x03, 0x00]);
/// Routes of PIRQA to PIRQD; bit 7 is "not routed".
const PIRQ_ROUTES: (u16, [u8; 4]) = (0x60, [0x80; 4]);

/// The bridge.
pub struct IsaBridge(Mutex<ConfigSpace>);

impl Default for IsaBridge {
    fn default() -> Self {
        let mut space = ConfigSpace::new(&IDENTITY);
        space.define(XBCS.0, &XBCS.1, &[0xff; 2]);
        space.define(PIRQ_ROUTES.0, &PIRQ_ROUTES.1, &[0x8f; 4]);
        Self(Mutex::new(space))
    }
}

impl IsaBridge {
    fn config(&self) -> MutexGuard<'_, ConfigSpace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Routes, chip selects and COMMAND as the guest wrote them.
impl Saved for IsaBridge {
    type State = ConfigSpaceState;

    fn state(&self) -> ConfigSpaceState {
        self.config().state()
    }

    fn set_state(&self, state: ConfigSpaceState) -> Result<(), StateError> {
        self.config().set_state(&state);
        Ok(())
    }
}

impl PciDevice for IsaBridge {
    fn name(&self) -> &str {
        "isa-bridge"
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
    fn the_router_keeps_its_routes() {
        let bridge = IsaBridge::default();
        assert_eq!(bridge.config_read(0, Width::B4), 0x7000_8086);
        assert_eq!(
            (bridge.config_read(0x08, Width::B4), bridge.config_read(0x60, Width::B4)),
            (0x0601_0000, 0x8080_8080)
        );
        for (offset, irq) in [(0x60, 10), (0x61, 10), (0x62, 11), (0x63, 0xff)] {
            let _ = bridge.config_write(offset, Width::B1, irq);
        }
        assert_eq!(bridge.config_read(0x60, Width::B4), 0x8f0b_0a0a, "reserved bits are 0");
    }
}
