// SPDX-License-Identifier: Apache-2.0
//! Guest RAM: mappings that cost nothing until the guest touches them, unless they are huge pages or
//! wanted at once. Private and anonymous, or shared with a file descriptor that other processes map.

use std::fs::File;
use std::io;
use std::sync::Arc;

use devices::function::DmaRegion;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress,
};

use super::KvmError;
use super::PAGE_SIZE;
use super::host_memory::HostMemory;
use super::huge_pages::Pool;
use super::prefault::prefault;

/// Where guest RAM comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RamOptions {
    /// Ask the kernel for transparent huge pages. It may not have them.
    pub huge_pages: bool,
    /// Take huge pages of this size, a power of two, from the host's pool.
    pub hugetlb: Option<u64>,
    /// Have all of it at once.
    pub prefault: bool,
    /// With a file behind it, that others may map: `region.file_offset()`.
    pub shared: bool,
}

/// The RAM of one guest. Clones are handles to the same memory.
#[derive(Clone, Debug)]
pub struct GuestRam {
    memory: GuestMemoryMmap<()>,
    regions: Vec<DmaRegion>,
}

impl GuestRam {
    /// RAM at `ranges` (first address and bytes, as `vm-memory` takes them; sorted, page-aligned, no overlap).
    ///
    /// # Errors
    /// When a range is malformed, or the host cannot give that much memory. Nothing has been
    /// given to a guest then.
    pub fn new(ranges: &[(GuestAddress, usize)], options: RamOptions) -> Result<Self, KvmError> {
        let wanted = check_ranges(ranges)?;
        match (options.hugetlb, HostMemory::read()) {
            // They are not part of what else is available.
            (Some(page), _) => Pool::check(Pool::read(page), wanted, page)?,
            (None, Some(host)) => host.check(wanted)?,
            (None, None) => {
                tracing::warn!("/proc/meminfo is not readable: cannot check whether the host has enough memory")
            }
        }
        let regions = ranges.iter().map(|&(base, size)| map(base, size, options)).collect::<Result<Vec<_>, _>>()?;
        let memory = GuestMemoryMmap::from_arc_regions(regions.clone()).map_err(|error| {
            let (base, size) = ranges.first().copied().unwrap_or_default();
            KvmError::MemoryRange { base: base.0, size: size as u64, problem: error.to_string() }
        })?;
        if options.prefault {
            prefault(&regions)?;
        }
        Ok(Self { memory, regions })
    }

    /// Memory of its own at `base` that is not part of the RAM: not for DMA. Whole pages.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn separate(base: GuestAddress, content: &[u8]) -> Result<DmaRegion, KvmError> {
        let size = check_ranges(&[(base, content.len())])?;
        let region = map(base, content.len(), RamOptions::default())?;
        let failed = |error: vm_memory::GuestMemoryError| KvmError::MapMemory {
            size_mib: size >> 20,
            source: io::Error::other(error),
        };
        region.write_slice(content, MemoryRegionAddress(0)).map_err(failed)?;
        Ok(region)
    }

    /// The memory by guest-physical address.
    pub fn memory(&self) -> &GuestMemoryMmap<()> {
        &self.memory
    }

    /// The mappings one by one, for DMA.
    pub fn regions(&self) -> &[DmaRegion] {
        &self.regions
    }

    /// Bytes of RAM.
    pub fn size(&self) -> u64 {
        self.regions.iter().map(|region| region.len()).sum()
    }
}

/// Sum of all sizes.
fn check_ranges(ranges: &[(GuestAddress, usize)]) -> Result<u64, KvmError> {
    let mut total = 0u64;
    let mut free_from = 0;
    for &(GuestAddress(base), size) in ranges {
        let size = size as u64;
        let refuse = |problem: &str| KvmError::MemoryRange { base, size, problem: problem.to_owned() };
        if size == 0 {
            return Err(refuse("is empty"));
        }
        if !base.is_multiple_of(PAGE_SIZE) || !size.is_multiple_of(PAGE_SIZE) {
            return Err(refuse("is not a whole number of 4096-byte pages"));
        }
        if base < free_from {
            return Err(refuse("overlaps the range before it, or is out of order"));
        }
        free_from = base.checked_add(size).ok_or_else(|| refuse("passes the end of the address space"))?;
        total = total.saturating_add(size);
    }
    match total {
        0 => Err(KvmError::MemoryRange {
            base: 0,
            size: 0,
            problem: "is all there is: no memory was asked for".to_owned(),
        }),
        total => Ok(total),
    }
}

fn map(base: GuestAddress, length: usize, options: RamOptions) -> Result<DmaRegion, KvmError> {
    let failed = |source| KvmError::MapMemory { size_mib: length as u64 >> 20, source };
    let mut builder = MmapRegionBuilder::<()>::new(length)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(flags(options));
    if options.shared {
        let file = memory_file(length as u64, options.hugetlb).map_err(failed)?;
        builder = builder.with_file_offset(FileOffset::new(file, 0));
    }
    let mapping = builder.build().map_err(|error| match error {
        MmapRegionError::Mmap(source) => failed(source),
        other => failed(io::Error::other(other)),
    })?;
    keep_out_of_dumps(mapping.as_ptr(), length);
    if options.huge_pages && options.hugetlb.is_none() {
        advise_huge_pages(mapping.as_ptr(), length);
    }
    let region = GuestRegionMmap::new(mapping, base);
    region.map(Arc::new).ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))
}

/// Pages of a pool are reserved when they are mapped: a pool that is too small is an error here and
/// not the death of the process later.
fn flags(options: RamOptions) -> libc::c_int {
    let kind = if options.shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
    match options.hugetlb {
        None => kind | libc::MAP_NORESERVE,
        // The file has the page size already.
        Some(_) if options.shared => kind,
        Some(page) => kind | libc::MAP_HUGETLB | ((page.ilog2() as libc::c_int) << libc::MAP_HUGE_SHIFT),
    }
}

/// A file without a name, as large as the memory for good: a peer that has it can write what is in it and not make it
/// shorter, which would be a SIGBUS here.
fn memory_file(size: u64, hugetlb: Option<u64>) -> io::Result<File> {
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if let Some(page) = hugetlb {
        flags |= MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(page.ilog2() << libc::MAP_HUGE_SHIFT);
    }
    let file = File::from(memfd_create("guest-memory", flags)?);
    file.set_len(size)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// What a guest has in its memory is nobody else's business, and a core of the size of its memory is of no use.
fn keep_out_of_dumps(address: *mut u8, length: usize) {
    // SAFETY: `address` is a live mapping of `length` bytes; this advice changes none of its contents.
    if unsafe { libc::madvise(address.cast(), length, libc::MADV_DONTDUMP) } != 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "guest memory will be in core dumps");
    }
}

fn advise_huge_pages(address: *mut u8, length: usize) {
    // SAFETY: `address` is a live private mapping of `length` bytes; this advice changes none of its contents.
    if unsafe { libc::madvise(address.cast(), length, libc::MADV_HUGEPAGE) } != 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "no transparent huge pages for guest memory");
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
