// SPDX-License-Identifier: Apache-2.0
//! The ACPI power button: the guest sleeps until the SCI comes, and then looks who it was. Switching the
//! machine off is what `main` does at the end.

use super::{Reason, expect};
use crate::interrupts;
use crate::port::{inw, outw};
use crate::println;
use crate::virtio::Interrupts;

/// PM1a event block: status, then enable (ACPI 6.5, 4.8.3.1).
const STATUS: u16 = 0x600;
const ENABLE: u16 = 0x602;
const POWER_BUTTON: u16 = 1 << 8;
/// IRQ of the SCI.
const SCI: u8 = 9;

pub fn run(irq: Interrupts) -> Result<(), Reason> {
    expect("status before", inw(STATUS) & POWER_BUTTON, 0u16)?;
    let vector = match irq {
        Interrupts::Pic => {
            interrupts::unmask_pic(SCI);
            interrupts::PIC_BASE + SCI
        }
        Interrupts::IoApic => {
            interrupts::unmask_ioapic(SCI);
            interrupts::APIC_BASE + 15
        }
        _ => return Err("the SCI comes through the PICs or the I/O APIC".into()),
    };
    interrupts::acknowledge_events_at(STATUS);
    outw(ENABLE, POWER_BUTTON);
    println!("GUEST waits for the power button");
    interrupts::wait_until(|| interrupts::count(vector) != 0);
    expect("events", interrupts::events(), POWER_BUTTON)?;
    expect("interrupts", interrupts::count(vector), 1u32)?;
    expect("status after", inw(STATUS) & POWER_BUTTON, 0u16)
}
