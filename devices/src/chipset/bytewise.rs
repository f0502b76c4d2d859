// SPDX-License-Identifier: Apache-2.0
//! Wider accesses to devices with 8-bit registers: the ISA bus makes one access for each byte, lowest
//! address first.

use crate::bus::{Access, Effect};

/// Reads each byte of the access with `read(offset)`.
pub(super) fn read(access: Access, mut read: impl FnMut(u64) -> u8) -> u64 {
    (0..access.width.bytes() as u64)
        .fold(0, |value, byte| value | u64::from(read(access.offset.wrapping_add(byte))) << (8 * byte))
}

/// Writes each byte of the access with `write(offset, value)`. All bytes are written; of the effects
/// the last one other than [`Effect::None`] counts.
pub(super) fn write(access: Access, value: u64, mut write: impl FnMut(u64, u8) -> Effect) -> Effect {
    (0..).zip(value.to_le_bytes()).take(access.width.bytes()).fold(Effect::None, |effect, (byte, value)| {
        match write(access.offset.wrapping_add(byte), value) {
            Effect::None => effect,
            other => other,
        }
    })
}
