// SPDX-License-Identifier: Apache-2.0
//! INTx: which interrupt request a function's pin is wired to, and when the pin is asserted. Pure but
//! for the [`IrqLine`] it drives.

use std::sync::Arc;

use super::config_space::ConfigSpace;
use crate::contract::platform::IrqLine;
use crate::spec::pci::Command;

/// The interrupt requests that pins are wired to. They work with the 8259s and, under the same
/// numbers, as IOAPIC pins, so a guest's MP table, ACPI `_PRT` and interrupt line registers all say
/// the same. 9 is the SCI's, 7 has the 8259's spurious interrupts, 3 to 5 are serial and parallel ports
/// and sound cards, 12 to 15 have old ISA meanings.
pub const INTX_IRQS: [u8; 2] = [10, 11];

/// The interrupt request that pin `pin` (1 = INTA .. 4 = INTD) of slot `slot` is wired to; `None` if
/// the function has no pin. The four links of a PIIX3, of which neighbouring slots get different ones, go to
/// two requests each: so SeaBIOS programs them, and writes line registers, MP table and $PIR by the same
/// rule (`pci_slot_get_irq` and `pci_irqs` in its src/fw/pciinit.c).
pub const fn intx_irq(slot: u8, pin: u8) -> Option<u8> {
    const LINKS: [u8; 4] = [INTX_IRQS[0], INTX_IRQS[0], INTX_IRQS[1], INTX_IRQS[1]];
    match pin {
        // Slot 1's INTA is the first link.
        1..=4 => Some(LINKS[(slot as usize + pin as usize + 2) % LINKS.len()]),
        _ => None,
    }
}

/// One function's interrupt pin. Called with the function's lock held, so that levels reach the line
/// in the order they were decided.
pub struct IntxPin {
    line: Arc<dyn IrqLine>,
    wanted: bool,
    asserted: bool,
}

impl IntxPin {
    /// A released pin on `line`.
    pub fn new(line: Arc<dyn IrqLine>) -> Self {
        Self { line, wanted: false, asserted: false }
    }

    /// The function wants its interrupt served or does not any more. STATUS bit 3 says so even when
    /// COMMAND keeps the pin released.
    pub fn set(&mut self, wanted: bool, config: &mut ConfigSpace) {
        self.wanted = wanted;
        self.refresh(config);
    }

    /// Call after each change of COMMAND and after each reset of `config`.
    pub fn refresh(&mut self, config: &mut ConfigSpace) {
        config.set_interrupt_status(self.wanted);
        let assert = self.wanted && !config.command().contains(Command::INTX_DISABLE);
        if assert != self.asserted {
            self.asserted = assert;
            self.line.set(assert);
        }
    }

    /// Whether the function wants its interrupt served.
    pub const fn is_wanted(&self) -> bool {
        self.wanted
    }
}

#[cfg(test)]
#[path = "intx_tests.rs"]
mod tests;
