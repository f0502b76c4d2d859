// SPDX-License-Identifier: Apache-2.0
//! The real-time clock, which counts in BCD and 24 hours, and its memory.

use crate::port::{inb, outb};

/// The seconds, 0 to 59.
pub const SECOND: u8 = 0;

/// A register as it is.
pub fn read(register: u8) -> u8 {
    outb(0x70, register);
    inb(0x71)
}

/// Writes a register.
pub fn write(register: u8, value: u8) {
    outb(0x70, register);
    outb(0x71, value);
}

/// The number that a register counts.
pub fn read_number(register: u8) -> u8 {
    let bcd = read(register);
    (bcd >> 4) * 10 + (bcd & 0xf)
}

/// What a register has for a number of two digits.
pub fn bcd(binary: u8) -> u8 {
    ((binary / 10) << 4) | (binary % 10)
}
