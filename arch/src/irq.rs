// SPDX-License-Identifier: Apache-2.0
//! Interrupt lines: which exist, how they are numbered, how PCI INTx pins reach them. Pure.
//!
//! One number means the same line everywhere: GSI n = I/O APIC pin n = PIC IRQ n. That is also KVM's
//! default routing (`default_routing` in the kernel's `arch/x86/kvm/irq.c`): GSI 0-15 drive PIC input n and
//! I/O APIC pin n, GSI 16-23 I/O APIC pin n alone. The in-kernel PIT raises GSI 0, so the timer arrives at
//! I/O APIC pin **0**; a PC (and QEMU, which installs its own routes) has it at pin 2. The tables of this
//! crate say pin 0. Whoever replaces the routes with KVM_SET_GSI_ROUTING must keep this identity.

use thiserror::Error;

/// ACPI's system control interrupt: level-triggered, active high.
pub const SCI: u8 = 9;
/// Lines for PCI INTx: ISA numbers, so that kernels that know PIC, MP table, ACPI or just the
/// interrupt-line register agree. Level-triggered. 7 has the PIC's spurious interrupts, 3 to 5 are serial and parallel
/// ports and sound cards, 12 to 15 have old ISA meanings.
pub const PCI_LINES: [u8; 2] = [10, 11];
/// Lines that are level-triggered: [`PCI_LINES`] and [`SCI`]. The edge/level registers (ELCR) of the in-kernel
/// PICs must say so too, as a PC's firmware sees to; they reset to edge, and a PIC then loses every interrupt
/// that is raised while another device holds the shared line.
pub const LEVEL_LINES: [u8; 3] = [9, 10, 11];
/// PIC inputs.
pub const ISA_LINES: u8 = 16;
/// Cascade of the second PIC: no device can be there.
pub const CASCADE: u8 = 2;
/// I/O APIC id: KVM's reset value of the register, so that kernels that compare find no difference.
pub const IOAPIC_ID: u8 = 0;

/// How one INTx pin of one slot on root bus 0 is wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciInterrupt {
    /// PCI device number, 0-31.
    pub slot: u8,
    /// 0 = INTA .. 3 = INTD.
    pub pin: u8,
    /// Line it drives: one of [`PCI_LINES`].
    pub gsi: u8,
}

impl PciInterrupt {
    /// INTA of a slot.
    pub const fn inta(slot: u8) -> Self {
        Self { slot, pin: 0, gsi: pci_line(slot, 0) }
    }
}

/// The line that pin `pin` (0 = INTA .. 3 = INTD) of slot `slot` is wired to. The four links of a PIIX3, of which
/// neighbouring slots get different ones, go to two lines each: so SeaBIOS programs them, and writes line registers,
/// MP table and $PIR by the same rule (`pci_slot_get_irq` and `pci_irqs` in its src/fw/pciinit.c).
pub const fn pci_line(slot: u8, pin: u8) -> u8 {
    const LINKS: [u8; 4] = [PCI_LINES[0], PCI_LINES[0], PCI_LINES[1], PCI_LINES[1]];
    // Slot 1's INTA is the first link.
    LINKS[(slot as usize + pin as usize + 3) % LINKS.len()]
}

/// A wiring that the tables cannot describe. A mistake in the machine's assembly.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WiringError {
    /// Slot or pin out of range.
    #[error("there is no pin {} of PCI slot {}; slots are 0-31, pins 0-3", .0.pin, .0.slot)]
    NoSuchPin(PciInterrupt),
    /// Not one of [`PCI_LINES`].
    #[error("PCI slot {} is wired to line {}; lines for PCI are 10 and 11", .0.slot, .0.gsi)]
    NotAPciLine(PciInterrupt),
    /// The same pin twice.
    #[error("pin {} of PCI slot {} is wired twice", .0.pin, .0.slot)]
    Twice(PciInterrupt),
}

/// Sorts the wiring by slot and pin after checking it.
pub(crate) fn checked(wiring: &[PciInterrupt]) -> Result<Vec<PciInterrupt>, WiringError> {
    let mut sorted = wiring.to_vec();
    sorted.sort_unstable();
    for (i, wire) in sorted.iter().enumerate() {
        if wire.slot > 31 || wire.pin > 3 {
            return Err(WiringError::NoSuchPin(*wire));
        }
        if !PCI_LINES.contains(&wire.gsi) {
            return Err(WiringError::NotAPciLine(*wire));
        }
        if sorted.get(i + 1).is_some_and(|next| (next.slot, next.pin) == (wire.slot, wire.pin)) {
            return Err(WiringError::Twice(*wire));
        }
    }
    Ok(sorted)
}

#[cfg(test)]
#[path = "irq_tests.rs"]
mod tests;
