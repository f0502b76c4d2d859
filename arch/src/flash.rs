// SPDX-License-Identifier: Apache-2.0
//! The firmware's flash chip: which images fit, where they lie, what the processor finds below 1 MiB. Pure but for
//! the copy into guest memory.
//!
//! A PC has its firmware right below 4 GiB, where the first instruction is fetched, and the end of it once more right
//! below 1 MiB, where that instruction jumps to. Firmware copies itself to the latter from the former when it
//! makes shadow RAM, and again after a reset.

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError};

use crate::layout;

/// Sizes are multiples of this, as in QEMU and on chips.
pub const SIZE_UNIT: usize = 64 << 10;
/// Largest image: below it are KVM's own pages ([`layout::KVM_IDENTITY_MAP`]).
pub const MAX_SIZE: usize = 16 << 20;
/// So much of the image's end is below 1 MiB too.
const LOW_COPY: usize = 128 << 10;
/// The reset vector is this far from the end.
const RESET_VECTOR: usize = 16;

/// Why bytes are no firmware image.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FlashError {
    /// No flash chip of that size.
    #[error("an image must have a multiple of 64 KiB and at most 16 MiB, but this file has {}; SeaBIOS's bios.bin has 128 KiB, bios-256k.bin 256 KiB", size(*.0))]
    Size(usize),
    /// The processor would run into nothing.
    #[error("its last 16 bytes, where the processor starts, have no jump: it is not PC firmware")]
    NoResetVector,
}

fn size(bytes: usize) -> String {
    if bytes > MAX_SIZE { "more".to_owned() } else { format!("{bytes} bytes") }
}

/// Whether `image` can be a machine's firmware.
///
/// # Errors
/// Its size, or nothing to execute at the reset vector.
pub fn check(image: &[u8]) -> Result<(), FlashError> {
    if image.is_empty() || !image.len().is_multiple_of(SIZE_UNIT) || image.len() > MAX_SIZE {
        return Err(FlashError::Size(image.len()));
    }
    // Near, short and far jumps: 16 bytes before the end of the address space nothing else makes sense.
    const JUMPS: [u8; 3] = [0xe9, 0xeb, 0xea];
    let vector = &image[image.len() - RESET_VECTOR..];
    if vector.iter().any(|byte| JUMPS.contains(byte)) { Ok(()) } else { Err(FlashError::NoResetVector) }
}

/// Where an image of `size` bytes begins, so that it ends at 4 GiB.
pub const fn address(size: usize) -> GuestAddress {
    GuestAddress(layout::HIGH_RAM - size as u64)
}

/// Copies the end of the image to where the reset vector's jump leads, right below 1 MiB.
///
/// # Errors
/// When there is no RAM.
pub fn write_low_copy<M: GuestMemoryBackend>(mem: &M, image: &[u8]) -> Result<(), GuestMemoryError> {
    let copy = &image[image.len().saturating_sub(LOW_COPY)..];
    mem.write_slice(copy, GuestAddress(layout::HIGH_MEMORY - copy.len() as u64))
}

#[cfg(test)]
#[path = "flash_tests.rs"]
mod tests;
