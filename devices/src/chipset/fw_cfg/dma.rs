// SPDX-License-Identifier: Apache-2.0
//! The DMA descriptor: what firmware asks for in one go. Pure.

/// Bytes of a descriptor.
pub const SIZE: usize = 16;
/// Control after an operation that failed; 0 is success.
pub const ERROR: u32 = 1 << 0;
const READ: u32 = 1 << 1;
const SKIP: u32 = 1 << 2;
const SELECT: u32 = 1 << 3;
const WRITE: u32 = 1 << 4;

/// What is to be done with the item after selecting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Copy bytes into memory.
    Read,
    /// Change the item: nothing here can be.
    Write,
    /// Move on without copying.
    Skip,
    /// Nothing more.
    None,
}

/// A descriptor as it lies in memory, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Key to select first, if any.
    pub select: Option<u16>,
    /// What to do then. A descriptor that asks for several things gets the first of read, write and skip.
    pub operation: Operation,
    /// Bytes.
    pub length: u32,
    /// Guest-physical address.
    pub address: u64,
}

impl Descriptor {
    /// Takes a descriptor apart.
    pub fn parse(bytes: &[u8; SIZE]) -> Self {
        let value = u128::from_be_bytes(*bytes);
        let control = (value >> 96) as u32;
        let operation = match control {
            _ if control & READ != 0 => Operation::Read,
            _ if control & WRITE != 0 => Operation::Write,
            _ if control & SKIP != 0 => Operation::Skip,
            _ => Operation::None,
        };
        Self {
            select: (control & SELECT != 0).then_some((control >> 16) as u16),
            operation,
            length: (value >> 64) as u32,
            address: value as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(control: u32) -> Descriptor {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&control.to_be_bytes());
        bytes[4..8].copy_from_slice(&0x0102_0304_u32.to_be_bytes());
        bytes[8..].copy_from_slice(&0x1122_3344_5566_7788_u64.to_be_bytes());
        Descriptor::parse(&bytes)
    }

    #[test]
    fn fields_and_the_first_of_several_operations() {
        let read = parse(0x0019_000a);
        assert_eq!((read.select, read.operation), (Some(0x19), Operation::Read));
        assert_eq!((read.length, read.address), (0x0102_0304, 0x1122_3344_5566_7788));
        assert_eq!(parse(0x0019_0002).select, None, "a key without the bit");
        for (control, operation) in [(0x1e, Operation::Read), (0x14, Operation::Write), (4, Operation::Skip)] {
            assert_eq!(parse(control).operation, operation);
        }
        for control in [0, 1, 8, 0xffff_ffe0] {
            assert_eq!(parse(control).operation, Operation::None);
        }
    }
}
