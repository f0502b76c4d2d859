// SPDX-License-Identifier: Apache-2.0
//! Port I/O.

use core::arch::asm;

macro_rules! port_io {
    ($read:ident, $write:ident, $type:ty, $register:tt, $in:tt, $out:tt) => {
        #[doc = concat!("`", $in, "`")]
        pub fn $read(port: u16) -> $type {
            let value: $type;
            // SAFETY: port I/O touches no memory of this program.
            unsafe { asm!($in, in("dx") port, out($register) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        #[doc = concat!("`", $out, "`")]
        pub fn $write(port: u16, value: $type) {
            // SAFETY: as above; devices that do DMA get memory that is set aside for them.
            unsafe { asm!($out, in("dx") port, in($register) value, options(nostack, preserves_flags)) };
        }
    };
}

port_io!(inb, outb, u8, "al", "in al, dx", "out dx, al");
port_io!(inw, outw, u16, "ax", "in ax, dx", "out dx, ax");
port_io!(inl, outl, u32, "eax", "in eax, dx", "out dx, eax");

/// `rep insb`: one string instruction, many one-byte accesses to the same port.
pub fn insb(port: u16, buffer: &mut [u8]) {
    // SAFETY: writes exactly `buffer.len()` bytes to `buffer`.
    unsafe {
        asm!("rep insb", in("dx") port, inout("rcx") buffer.len() => _, inout("rdi") buffer.as_mut_ptr() => _, options(nostack, preserves_flags))
    };
}

/// `rep outsb`
pub fn outsb(port: u16, bytes: &[u8]) {
    // SAFETY: reads exactly `bytes.len()` bytes of `bytes`.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rcx") bytes.len() => _, inout("rsi") bytes.as_ptr() => _, options(nostack, preserves_flags))
    };
}
