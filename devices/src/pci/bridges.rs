// SPDX-License-Identifier: Apache-2.0
//! Host bridge and ISA bridge: functions without BARs whose registers store what is written and do nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ConfigSpace, ConfigSpaceState, Identity, PciDevice, Subsystem};
use crate::bus::{Effect, Width};
use crate::contract::{Saved, StateError};

/// Intel's bridges as every virtual machine of the kind has them: SeaBIOS tells by the subsystem that there is no
/// hardware.
const fn identity(device_id: u16, revision_id: u8, class_code: [u8; 3]) -> Identity {
    let subsystem = Subsystem { vendor_id: 0x1af4, id: 0x1100 };
    Identity { vendor_id: 0x8086, device_id, revision_id, class_code, subsystem }
}

/// A bridge.
pub struct Bridge {
    name: &'static str,
    space: Mutex<ConfigSpace>,
}

impl Bridge {
    /// The function in slot 0.
    ///
    /// Linux takes configuration mechanism 1 for working only if bus 0 has a host bridge, a VGA adapter or a function
    /// of Intel's or Compaq's (`pci_sanity_check`, arch/x86/pci/direct.c); other systems have similar checks. The id is
    /// that of the 440FX, which two decades of virtual machines have shown to every system there is. What Linux does
    /// for it is one note that matters to TV cards (`quirk_natoma`). Ids of later bridges bring AGP, EDAC or ECAM
    /// drivers that look for registers which do not exist here.
    ///
    /// Firmware opens and closes shadow RAM (0xc0000-0xfffff) by the registers at 0x58 to 0x5f (DRAM row type, PAM0 to
    /// PAM6) and system management RAM by the one at 0x72 (82441FX data sheet, 3.2.18 and 3.2.20). Here the range is
    /// always RAM and there is no SMRAM. At reset the registers say that firmware has to copy itself.
    pub(super) fn host() -> Self {
        let mut space = ConfigSpace::new(&identity(0x1237, 2, [0x00, 0x00, 0x06]));
        space.define(0x58, &[0; 8], &[0xff; 8]);
        space.define(0x72, &[0x02], &[0xff]);
        Self { name: "host-bridge", space: Mutex::new(space) }
    }

    /// The function in slot 1 of machines that start by firmware: a PIIX3 with its interrupt router's registers.
    ///
    /// SeaBIOS's `$PIR` table names it as the router of PCI interrupts, and kernels of 2.4 and 2.6 without I/O APIC
    /// write the router's registers as a PIIX's (`pirq_piix_set`, arch/x86/pci/irq.c). The wiring here is fixed and the
    /// one that SeaBIOS programs (`arch::irq::pci_line`): who reads the registers finds it, and nobody sets another.
    /// Source: 82371SB data sheet, 2.2.
    pub fn isa() -> Self {
        let mut space = ConfigSpace::new(&identity(0x7000, 0, [0x00, 0x01, 0x06]));
        // Chip select of the X-bus: which ranges go to the BIOS, keyboard and clock.
        space.define(0x4e, &[0x03, 0x00], &[0xff; 2]);
        // Routes of PIRQA to PIRQD; bit 7 is "not routed".
        space.define(0x60, &[0x80; 4], &[0x8f; 4]);
        Self { name: "isa-bridge", space: Mutex::new(space) }
    }

    fn space(&self) -> MutexGuard<'_, ConfigSpace> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registers as the guest wrote them.
impl Saved for Bridge {
    type State = ConfigSpaceState;

    fn state(&self) -> ConfigSpaceState {
        self.space().state()
    }

    fn set_state(&self, state: ConfigSpaceState) -> Result<(), StateError> {
        self.space().set_state(&state);
        Ok(())
    }
}

impl PciDevice for Bridge {
    fn name(&self) -> &str {
        self.name
    }
    fn config_read(&self, offset: u16, width: Width) -> u32 {
        self.space().read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        // There are no BARs, so COMMAND changes nothing.
        let _ = self.space().write(offset, width, value);
        Effect::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadow_registers_keep_what_is_written_and_others_do_not() {
        let bridge = Bridge::host();
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

    #[test]
    fn the_router_keeps_its_routes() {
        let bridge = Bridge::isa();
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
