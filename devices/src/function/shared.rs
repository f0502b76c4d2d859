// SPDX-License-Identifier: Apache-2.0
//! Memory for DMA that a function in another process can reach as well: an anonymous file, mapped
//! shared. It opens nothing that has a name.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vm_memory::{FileOffset, GuestAddress, GuestRegionMmap, mmap::FromRangesError};

use super::DmaRegion;

/// `len` zeroed bytes, whole pages, at the IOVA `base`. Whoever gets the file cannot make it shorter.
/// Where no file can be made (a limit on file sizes is one on this, too), it is memory without one:
/// good for every function of this process and of the host, and refused by one in another process.
pub fn shared_region(base: u64, len: usize) -> Result<DmaRegion, FromRangesError> {
    let file = anonymous_file(len as u64)
        .inspect_err(|error| tracing::debug!(%error, "memory for DMA has no file; other processes cannot map it"));
    let place = file.ok().map(|file| FileOffset::new(file, 0));
    Ok(Arc::new(GuestRegionMmap::from_range(GuestAddress(base), len, place)?))
}

fn anonymous_file(len: u64) -> io::Result<File> {
    let file = File::from(memfd_create("heirloom-dma", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.set_len(len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}
