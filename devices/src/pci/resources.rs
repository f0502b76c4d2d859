// SPDX-License-Identifier: Apache-2.0
//! What a PC's firmware does with PCI functions before it starts an operating system. Old kernels
//! rely on it: they take BARs, interrupt line registers and COMMAND as they find them.

use thiserror::Error;

use super::root::PciRoot;
use super::{BarWindow, Command};
use crate::bus::{Range, Width};
use crate::spec::pci::{COMMAND, INTERRUPT_LINE, INTERRUPT_PIN};

/// Why not all BARs could be placed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AssignError {
    /// The range for I/O ports or for memory is too small.
    #[error(
        "no room for BAR {bar} of {device} ({size:#x} bytes) in {range}; take a device out or make the range larger"
    )]
    NoRoom {
        /// Name of the function.
        device: String,
        /// BAR number.
        bar: u8,
        /// Its size in bytes.
        size: u64,
        /// The range that is full.
        range: String,
    },
}

/// Hands out naturally aligned pieces of a range, from its start.
struct Placer {
    range: Range,
    next: u64,
}

impl Placer {
    const fn new(range: Range) -> Self {
        Self { range, next: range.base() }
    }

    /// `size` is a power of two.
    fn place(&mut self, size: u64) -> Option<u64> {
        // Address 0 means "not placed" in a BAR.
        let base = self.next.max(1).checked_next_multiple_of(size)?;
        let last = base.checked_add(size - 1)?;
        if last > self.range.last() {
            return None;
        }
        self.next = last.checked_add(1)?;
        Some(base)
    }
}

impl PciRoot {
    /// Places all BARs in `ports` and `memory`, the largest ones first so that alignment wastes
    /// nothing, writes interrupt line registers, and switches decoding of I/O and memory on in
    /// COMMAND, as firmware does. 64-bit BARs too go into `memory`, which should end below 4 GiB,
    /// for 32-bit guests have to reach them. Give ports above 0x1000: ISA devices are below.
    ///
    /// `line` is the line that a pin of a slot is wired to, 0 for INTA to 3 for INTD.
    ///
    /// Call it before the guest starts and after each reset of the machine, then [`Self::remap`].
    /// The same functions in the same slots get the same addresses each time.
    pub fn assign_bars(&self, ports: Range, memory: Range, line: impl Fn(u8, u8) -> u8) -> Result<(), AssignError> {
        let devices = self.devices();
        let mut bars: Vec<_> =
            devices.iter().flat_map(|(_, device)| device.bars().into_iter().map(move |bar| (device, bar))).collect();
        bars.sort_by_key(|(_, bar)| std::cmp::Reverse(bar.size));
        let (mut port_placer, mut memory_placer) = (Placer::new(ports), Placer::new(memory));
        for (device, BarWindow { bar, kind, size, .. }) in bars {
            let placer = if kind.is_io() { &mut port_placer } else { &mut memory_placer };
            let base = placer.place(size).ok_or_else(|| AssignError::NoRoom {
                device: device.name().to_owned(),
                bar,
                size,
                range: placer.range.to_string(),
            })?;
            device.place_bar(bar, base);
        }
        for (slot, device) in devices {
            let pin = device.config_read(INTERRUPT_PIN, Width::B1) as u8;
            if let 1..=4 = pin {
                let _ = device.config_write(INTERRUPT_LINE, Width::B1, line(slot, pin - 1).into());
            }
            let decode = device.bars().iter().fold(Command::empty(), |command, bar| {
                command | if bar.kind.is_io() { Command::IO } else { Command::MEMORY }
            });
            let command = device.config_read(COMMAND, Width::B2) | u32::from(decode.bits());
            let _ = device.config_write(COMMAND, Width::B2, command);
        }
        Ok(())
    }
}
