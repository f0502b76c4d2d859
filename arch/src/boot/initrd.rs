// SPDX-License-Identifier: Apache-2.0
//! The initial RAM disk: as high as the kernel can reach, so that the kernel has room to unpack itself.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::image::{self, Image};
use super::{BootError, Initrd, InitrdError, Kernel};
use crate::layout::PAGE_SIZE;

/// Page-aligned start of `size` bytes below `limit` (exclusive) and not below `floor`.
pub(super) fn place(size: u64, floor: u64, limit: u64) -> Result<u64, InitrdError> {
    let floor = floor.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
    let start = limit.checked_sub(size).map(|start| start - start % PAGE_SIZE);
    match start {
        Some(start) if start >= floor => Ok(start),
        _ => Err(InitrdError::TooBig { size, room: limit.saturating_sub(floor) }),
    }
}

/// Loads the image between the kernel and `low_end`, the end of the low RAM that the kernel uses.
pub(super) fn load<M: GuestMemoryBackend, I: Image>(
    mem: &M,
    image: &mut I,
    kernel: &Kernel,
    low_end: u64,
) -> Result<Initrd, BootError> {
    let size = image::size(image).map_err(InitrdError::Read)?;
    if size == 0 {
        return Err(InitrdError::Empty.into());
    }
    let limit = low_end.min(kernel.initrd_max.saturating_add(1));
    let start = place(size, kernel.end, limit)?;
    image.rewind().map_err(InitrdError::Read)?;
    mem.read_exact_volatile_from(GuestAddress(start), image, size as usize)
        .map_err(|e| InitrdError::Read(image::io_error(e)))?;
    // Below low_end, so below 3 GiB.
    Ok(Initrd { start: start as u32, size: size as u32 })
}
