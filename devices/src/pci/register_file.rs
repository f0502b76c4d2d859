// SPDX-License-Identifier: Apache-2.0
//! 4096 bytes of registers, each bit either read-only or writable. Knows nothing of what they mean.

use crate::bus::Width;
use crate::spec::pci::CONFIG_SPACE_SIZE;

/// Registers in little-endian order. One byte array is what reads of every width and alignment look
/// at, so a partial read can never disagree with a full one.
#[derive(Clone, Debug)]
pub(super) struct RegisterFile {
    bytes: Box<[u8]>,
    writable: Box<[u8]>,
    power_on: Box<[u8]>,
}

impl RegisterFile {
    /// All zero, all read-only.
    pub(super) fn new() -> Self {
        let zeroes = || vec![0; CONFIG_SPACE_SIZE].into_boxed_slice();
        Self { bytes: zeroes(), writable: zeroes(), power_on: zeroes() }
    }

    /// The byte range of an access, if it lies inside. 8-byte accesses are not configuration accesses.
    fn range(offset: u16, width: Width) -> Option<std::ops::Range<usize>> {
        let start = usize::from(offset);
        let end = start + width.bytes();
        (width <= Width::B4 && end <= CONFIG_SPACE_SIZE).then_some(start..end)
    }

    /// Little-endian value of up to four bytes.
    fn value(bytes: &[u8]) -> u32 {
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    /// Reads; `None` outside.
    pub(super) fn read(&self, offset: u16, width: Width) -> Option<u32> {
        Some(Self::value(self.bytes.get(Self::range(offset, width)?)?))
    }

    /// Which bits of the register a guest can write; 0 outside.
    pub(super) fn writable(&self, offset: u16, width: Width) -> u32 {
        Self::range(offset, width).and_then(|range| self.writable.get(range)).map_or(0, Self::value)
    }

    /// A guest's write: changes writable bits and no others. Dropped if not inside.
    pub(super) fn write(&mut self, offset: u16, width: Width, value: u32) {
        let Some(range) = Self::range(offset, width) else { return };
        for (index, byte) in range.zip(value.to_le_bytes()) {
            let writable = self.writable[index];
            self.bytes[index] = self.bytes[index] & !writable | byte & writable;
        }
    }

    /// The owner's write: changes every bit now. A later reset brings writable bits back to their
    /// power-on values and keeps the read-only ones.
    pub(super) fn patch(&mut self, offset: u16, width: Width, value: u32) {
        let Some(range) = Self::range(offset, width) else { return };
        for (index, byte) in range.zip(value.to_le_bytes()) {
            let writable = self.writable[index];
            self.bytes[index] = byte;
            self.power_on[index] = self.power_on[index] & writable | byte & !writable;
        }
    }

    /// The owner's write to some bits that a reset clears again.
    pub(super) fn set_bits(&mut self, offset: u16, bits: u8, set: bool) {
        if let Some(byte) = self.bytes.get_mut(usize::from(offset)) {
            *byte = if set { *byte | bits } else { *byte & !bits };
        }
    }

    /// Defines bytes: their power-on value, and which bits a guest can write.
    pub(super) fn define(&mut self, offset: u16, value: &[u8], writable: &[u8]) {
        for (index, byte) in (usize::from(offset)..CONFIG_SPACE_SIZE).zip(value) {
            self.bytes[index] = *byte;
            self.power_on[index] = *byte;
        }
        for (index, bits) in (usize::from(offset)..CONFIG_SPACE_SIZE).zip(writable) {
            self.writable[index] = *bits;
        }
    }

    /// Power-on values everywhere.
    pub(super) fn reset(&mut self) {
        self.bytes.copy_from_slice(&self.power_on);
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
