// SPDX-License-Identifier: Apache-2.0
//! Type 0 configuration space of one function: identity, COMMAND and STATUS, BARs, capabilities.
//! Pure: it says what changed and leaves it to its owner to act. Source: PCI Local Bus 3.0, chapter 6.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::bar::{BAR_COUNT, BarLayout, ROM_BAR, ROM_ENABLE};
use super::capability::Allocator;
use super::config_error::ConfigError;
use super::register_file::RegisterFile;
use super::{BarKind, BarWindow};
use crate::bus::Width;
use crate::spec::pci::{self as spec, Command};

bitflags! {
    /// What a configuration write did.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Changed: u8 {
        /// COMMAND has another value.
        const COMMAND = 1 << 0;
        /// Some BAR has another value, decoded or not.
        const BARS = 1 << 1;
        /// A writable bit of a capability was written, perhaps with the value it had: some
        /// registers, such as "initiate function level reset", act on the write.
        const CAPABILITIES = 1 << 2;
    }
}

/// The bits of the expansion ROM's register that are its base.
const ROM_BASE: u32 = !0x7ff;

/// What a function says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor id.
    pub vendor_id: u16,
    /// Device id.
    pub device_id: u16,
    /// Revision id; legacy virtio drivers insist on 0.
    pub revision_id: u8,
    /// Class code in register order: programming interface, subclass, base class.
    pub class_code: [u8; 3],
    /// Of whose card it is part.
    pub subsystem: Subsystem,
}

/// Of whose card a function is part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsystem {
    /// Subsystem vendor id.
    pub vendor_id: u16,
    /// Subsystem id; the device type of a legacy virtio function.
    pub id: u16,
}

/// What a guest wrote into a configuration space, to be saved and set again: each byte with a writable bit, by its
/// offset. What is read-only is the function's, and no state changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSpaceState(Vec<(u16, u8)>);

/// The registers of one function.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    registers: RegisterFile,
    bars: [Option<BarLayout>; BAR_COUNT as usize],
    rom: Option<BarLayout>,
    /// Registers in use, as a bit mask: a 64-bit BAR has two.
    bar_registers: u8,
    capabilities: Allocator,
    extended: Allocator,
}

impl ConfigSpace {
    /// A function without BARs, capabilities and interrupt pin. Read-only but for COMMAND (the bits
    /// of [`Command`]), cache line size, latency timer and interrupt line.
    pub fn new(identity: &Identity) -> Self {
        let mut registers = RegisterFile::new();
        let ids = |low: u16, high: u16| (u32::from(high) << 16 | u32::from(low)).to_le_bytes();
        let [prog_if, sub, base] = identity.class_code;
        registers.define(spec::VENDOR_ID, &ids(identity.vendor_id, identity.device_id), &[]);
        registers.define(spec::COMMAND, &[], &Command::all().bits().to_le_bytes());
        registers.define(spec::REVISION_ID, &[identity.revision_id, prog_if, sub, base], &[]);
        registers.define(spec::CACHE_LINE_SIZE, &[], &[0xff, 0xff]);
        registers.define(spec::SUBSYSTEM_VENDOR_ID, &ids(identity.subsystem.vendor_id, identity.subsystem.id), &[]);
        registers.define(spec::INTERRUPT_LINE, &[], &[0xff]);
        Self {
            registers,
            bars: [None; BAR_COUNT as usize],
            rom: None,
            bar_registers: 0,
            capabilities: Allocator::standard(),
            extended: Allocator::extended(),
        }
    }

    /// Adds a BAR of `size` bytes, a power of two: I/O 4 to 256, memory from 16 bytes. A 64-bit BAR
    /// takes `bar` and the one after it.
    pub fn add_bar(&mut self, bar: u8, kind: BarKind, size: u64) -> Result<(), ConfigError> {
        let layout = BarLayout::new(bar, kind, size)?;
        let registers = ((1_u8 << kind.registers()) - 1).checked_shl(u32::from(bar)).unwrap_or(0);
        let exists = bar.checked_add(kind.registers()).is_some_and(|end| end <= BAR_COUNT);
        if !exists || self.bar_registers & registers != 0 {
            return Err(ConfigError::BarTaken { bar });
        }
        let bytes = usize::from(kind.registers()) * 4;
        self.registers.define(
            Self::bar_offset(bar),
            &layout.power_on().to_le_bytes()[..bytes],
            &layout.writable().to_le_bytes()[..bytes],
        );
        self.bar_registers |= registers;
        self.bars[usize::from(bar)] = Some(layout);
        Ok(())
    }

    /// Adds an expansion ROM of `size` bytes, a power of two from 2 KiB. It is read as BAR [`ROM_BAR`], while its
    /// register's bit 0 and COMMAND let it.
    pub fn add_rom(&mut self, size: u64) -> Result<(), ConfigError> {
        let layout = BarLayout::new(ROM_BAR, BarKind::Memory32 { prefetchable: false }, size)?;
        let writable = layout.writable() as u32 & ROM_BASE | ROM_ENABLE;
        self.registers.define(spec::EXPANSION_ROM, &[0; 4], &writable.to_le_bytes());
        self.rom = Some(layout);
        Ok(())
    }

    /// Appends a capability; returns the offset of its header. `body` does not have the 2-byte
    /// header; `writable` has a one for each bit a guest can write and may be shorter than `body`.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Result<u16, ConfigError> {
        Self::check_mask(id.into(), body, writable)?;
        let bytes = 2 + body.len();
        let left = self.capabilities.left();
        let place = self.capabilities.take(bytes).ok_or(ConfigError::NoRoom { id: id.into(), bytes, left })?;
        self.registers.define(place.offset, &[id, 0], &[]);
        self.registers.define(place.offset + 2, body, writable);
        if let Some(link) = place.link {
            self.registers.patch(link, Width::B1, place.offset.into());
        }
        let status = self.get(spec::STATUS, Width::B1) | u32::from(spec::status::CAPABILITIES);
        self.registers.patch(spec::STATUS, Width::B1, status);
        Ok(place.offset)
    }

    /// Appends an extended capability; returns the offset of its header. `version` has 4 bits; `body`
    /// does not have the 4-byte header.
    pub fn add_extended_capability(
        &mut self,
        id: u16,
        version: u8,
        body: &[u8],
        writable: &[u8],
    ) -> Result<u16, ConfigError> {
        Self::check_mask(id, body, writable)?;
        let bytes = 4 + body.len();
        let left = self.extended.left();
        let place = self.extended.take(bytes).ok_or(ConfigError::NoRoom { id, bytes, left })?;
        let header = u32::from(id) | u32::from(version & 0xf) << 16;
        self.registers.define(place.offset, &header.to_le_bytes(), &[]);
        self.registers.define(place.offset + 4, body, writable);
        if let Some(link) = place.link {
            let header = self.get(link, Width::B4) & 0x000f_ffff | u32::from(place.offset) << 20;
            self.registers.patch(link, Width::B4, header);
        }
        Ok(place.offset)
    }

    fn check_mask(id: u16, body: &[u8], writable: &[u8]) -> Result<(), ConfigError> {
        if writable.len() > body.len() {
            return Err(ConfigError::MaskTooLong { id, body: body.len(), writable: writable.len() });
        }
        Ok(())
    }

    /// Defines registers behind the header at a place of the caller's choice: `value` from `offset` on,
    /// with a one in `writable` for each bit a guest can write. For a function whose capabilities have
    /// to stay where they are; it links them itself, by [`Self::set_capability_list`]. What would pass
    /// the end is dropped.
    pub fn define(&mut self, offset: u16, value: &[u8], writable: &[u8]) {
        if offset >= spec::HEADER_END {
            self.registers.define(offset, value, writable);
        }
    }

    /// Says that the capability list begins at `offset`; 0: there is none.
    pub fn set_capability_list(&mut self, offset: u8) {
        self.registers.patch(spec::CAPABILITIES_POINTER, Width::B1, offset.into());
        let status = self.get(spec::STATUS, Width::B1) & !u32::from(spec::status::CAPABILITIES);
        let list = if offset == 0 { 0 } else { spec::status::CAPABILITIES };
        self.registers.patch(spec::STATUS, Width::B1, status | u32::from(list));
    }

    /// Sets the interrupt pin (0 none, 1 INTA .. 4 INTD) and, as firmware does, the interrupt line
    /// register. A reset brings back this line.
    pub fn set_interrupt(&mut self, pin: u8, line: u8) {
        self.registers.define(spec::INTERRUPT_LINE, &[line], &[0xff]);
        self.registers.define(spec::INTERRUPT_PIN, &[pin], &[]);
    }

    /// Reads 1, 2 or 4 bytes at any alignment; all ones if not inside the 4096 bytes or 8 bytes wide.
    pub fn read(&self, offset: u16, width: Width) -> u32 {
        self.registers.read(offset, width).unwrap_or(width.all_ones() as u32)
    }

    /// A guest's write of 1, 2 or 4 bytes at any alignment; dropped if not inside.
    pub fn write(&mut self, offset: u16, width: Width, value: u32) -> Changed {
        let command = self.command();
        let touches = |from: u16, to: u16| offset < to && usize::from(offset) + width.bytes() > usize::from(from);
        let bars = touches(spec::BAR0, spec::BARS_END).then(|| self.bar_values());
        let rom = self.get(spec::EXPANSION_ROM, Width::B4);
        let writable = self.registers.writable(offset, width);
        self.registers.write(offset, width, value);

        let mut changed = Changed::empty();
        changed.set(Changed::COMMAND, self.command() != command);
        let rom_changed = self.get(spec::EXPANSION_ROM, Width::B4) != rom;
        changed.set(Changed::BARS, rom_changed || bars.is_some_and(|before| before != self.bar_values()));
        changed.set(Changed::CAPABILITIES, touches(spec::HEADER_END, u16::MAX) && writable != 0);
        changed
    }

    /// COMMAND.
    pub fn command(&self) -> Command {
        Command::from_bits_truncate(self.get(spec::COMMAND, Width::B2) as u16)
    }

    /// Sets STATUS bit 3. Independent of COMMAND.INTX_DISABLE.
    pub fn set_interrupt_status(&mut self, pending: bool) {
        self.registers.set_bits(spec::STATUS, spec::status::INTERRUPT, pending);
    }

    /// A BAR with the base that its register has, 0 before it is placed; `None` if there is no such
    /// BAR. Says nothing about whether it is decoded.
    pub fn bar(&self, bar: u8) -> Option<BarWindow> {
        if bar == ROM_BAR {
            return Some(self.rom?.window(bar, self.get(spec::EXPANSION_ROM, Width::B4).into()));
        }
        let layout = self.bars.get(usize::from(bar)).copied().flatten()?;
        Some(layout.window(bar, self.bar_value(bar, layout)))
    }

    /// All BARs as [`Self::bar`] gives them, in order, the expansion ROM last.
    pub fn bars(&self) -> Vec<BarWindow> {
        (0..=ROM_BAR).filter_map(|bar| self.bar(bar)).collect()
    }

    /// The BARs that are decoded: COMMAND has the bit for the kind, and the base is neither 0 nor
    /// such that the BAR passes the end of its address space. The expansion ROM has a bit of its own.
    pub fn windows(&self) -> Vec<BarWindow> {
        let command = self.command();
        let enabled = self.get(spec::EXPANSION_ROM, Width::B4) & ROM_ENABLE != 0;
        let decoded = |window: &BarWindow| {
            command.contains(if window.kind.is_io() { Command::IO } else { Command::MEMORY })
                && (window.bar != ROM_BAR || enabled)
        };
        self.bars().into_iter().filter(|window| decoded(window) && window.is_placed()).collect()
    }

    /// Sets a BAR's base as firmware would; bits below the size are dropped. Nothing if there is no
    /// such BAR.
    pub fn place_bar(&mut self, bar: u8, base: u64) {
        if bar == ROM_BAR {
            self.registers.write(spec::EXPANSION_ROM, Width::B4, base as u32 & ROM_BASE);
            return;
        }
        let Some(layout) = self.bars.get(usize::from(bar)).copied().flatten() else { return };
        self.registers.write(Self::bar_offset(bar), Width::B4, base as u32);
        if layout.kind().registers() == 2 {
            self.registers.write(Self::bar_offset(bar + 1), Width::B4, (base >> 32) as u32);
        }
    }

    /// The owner's write: sets read-only bits too. A reset keeps read-only bits as set here and
    /// brings writable ones back to their power-on values.
    pub fn patch(&mut self, offset: u16, width: Width, value: u32) {
        self.registers.patch(offset, width, value);
    }

    /// All 4096 bytes, as reads see them.
    pub fn bytes(&self) -> &[u8] {
        self.registers.bytes()
    }

    /// What the guest wrote.
    pub fn state(&self) -> ConfigSpaceState {
        let all = (0..u16::MAX).zip(self.bytes());
        let writable = |offset: &u16| self.registers.writable(*offset, Width::B1) != 0;
        ConfigSpaceState(all.filter(|(offset, _)| writable(offset)).map(|(offset, byte)| (offset, *byte)).collect())
    }

    /// Goes on from `state`, as if the guest had written it: bits that it cannot write stay.
    pub fn set_state(&mut self, state: &ConfigSpaceState) {
        for (offset, byte) in &state.0 {
            self.registers.write(*offset, Width::B1, (*byte).into());
        }
    }

    /// Function level reset: power-on values everywhere, so COMMAND is 0 and no BAR is placed.
    pub fn reset(&mut self) {
        self.registers.reset();
    }

    /// Like [`Self::reset`], and BARs keep their bases: for a reset after which nobody places BARs
    /// again. With COMMAND 0 they are not decoded.
    pub fn reset_but_bars(&mut self) {
        let placed = self.bar_values();
        let rom = self.get(spec::EXPANSION_ROM, Width::B4) & ROM_BASE;
        self.registers.reset();
        self.registers.write(spec::EXPANSION_ROM, Width::B4, rom);
        for (bar, value) in (0..).zip(placed) {
            self.registers.write(Self::bar_offset(bar), Width::B4, value);
        }
    }

    /// A register known to be inside.
    fn get(&self, offset: u16, width: Width) -> u32 {
        self.registers.read(offset, width).unwrap_or(0)
    }

    const fn bar_offset(bar: u8) -> u16 {
        spec::BAR0 + 4 * bar as u16
    }

    fn bar_value(&self, bar: u8, layout: BarLayout) -> u64 {
        let low = u64::from(self.get(Self::bar_offset(bar), Width::B4));
        match layout.kind().registers() {
            2 => u64::from(self.get(Self::bar_offset(bar) + 4, Width::B4)) << 32 | low,
            _ => low,
        }
    }

    fn bar_values(&self) -> [u32; BAR_COUNT as usize] {
        let mut bar = 0;
        [(); BAR_COUNT as usize].map(|()| {
            let value = self.get(Self::bar_offset(bar), Width::B4);
            bar += 1;
            value
        })
    }
}

#[cfg(test)]
#[path = "config_space_tests.rs"]
mod tests;
