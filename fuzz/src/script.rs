// SPDX-License-Identifier: Apache-2.0
//! The input of a target, taken from the front. A script that has ended gives zeros.

use devices::bus::Width;

/// Operations that one input may have: bounds the time of a run whatever the input.
pub const MAX_OPERATIONS: usize = 512;

/// Bytes that are left.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    /// A script of all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `count` bytes, or what is left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = left;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.number())
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// One byte: bit 0.
    pub fn flag(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    /// One byte: a width of port accesses.
    pub fn width(&mut self) -> Width {
        match self.u8() % 3 {
            0 => Width::B1,
            1 => Width::B2,
            _ => Width::B4,
        }
    }

    /// Two bytes: an offset in `size` ports, and a width; one byte where it would reach behind the last port.
    pub fn place(&mut self, size: u64) -> (u64, Width) {
        let (offset, width) = (u64::from(self.u8()) % size, self.width());
        if offset + width.bytes() as u64 <= size { (offset, width) } else { (offset, Width::B1) }
    }
}
