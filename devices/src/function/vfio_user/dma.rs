// SPDX-License-Identifier: Apache-2.0
//! The memory that a vfio-user client has mapped for the function of a server.
//!
//! A client behind an IOMMU maps page by page, thousands of them out of few files. So a file is mapped
//! once, and what the function gets are views of that mapping: a map or unmap costs no system call, and
//! the process does not run out of mappings.
//!
//! A client can make its files shorter at any time: `bus_errors` keeps this process alive then, and the
//! connection ends. Files of other than memory's file systems are not mapped (`received` says why).
//!
//! Clients are loose: they map over what is mapped, which replaces it, and unmap what is not, which is
//! no error.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

use vm_memory::mmap::MmapRegion;
use vm_memory::{FileOffset, GuestAddress, GuestRegionMmap};

use super::version::MAX_DMA_MAPS;
use super::wire::{DmaMap, DmaUnmap, dma_flag};
use crate::function::bus_errors::Guard;
use crate::function::received::Received;
use crate::function::{DmaRegion, PciFunction};

/// Files that one client may have mapped.
const MAX_FILES: usize = 64;
/// Bytes that all files of one client may have: the process has 2^47 for all clients.
const MAX_BYTES: u64 = 1 << 42;
const PAGE: u64 = 4096;

/// Which file it is: device, inode, length; and whether the device may write it.
type FileKey = (u64, u64, u64, bool);

/// A whole file in memory.
struct MappedFile {
    /// Ends before the mapping does.
    guard: Guard,
    mapping: MmapRegion,
}

/// A part of a mapped file that the function may use.
struct View {
    /// `None` only while this is dropped.
    region: Option<DmaRegion>,
    file: Arc<MappedFile>,
}

impl View {
    /// The bytes from `offset` on, seen at `address`. `None` if they are not all in the file.
    fn new(file: &Arc<MappedFile>, offset: u64, address: u64, size: u64) -> Option<Self> {
        let end = offset.checked_add(size)?;
        if end > file.mapping.size() as u64 {
            return None;
        }
        let (prot, flags) = (file.mapping.prot(), file.mapping.flags());
        let start = file.mapping.as_ptr().wrapping_add(offset as usize);
        // SAFETY: `start` and the `size` bytes behind it are in the mapping, as was checked. The mapping
        // stays as long as `file` lives, and `drop` of this type lets go of `file` after the region's
        // last user only.
        let view = unsafe { MmapRegion::build_raw(start, size as usize, prot, flags) }.ok()?;
        let region = Arc::new(GuestRegionMmap::new(view, GuestAddress(address))?);
        Some(Self { region: Some(region), file: file.clone() })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let Some(region) = self.region.take() else { return };
        let weak: Weak<_> = Arc::downgrade(&region);
        drop(region);
        if weak.strong_count() != 0 {
            // A function that kept it after its unmap. Nobody can tell for how long.
            tracing::warn!("a function holds memory that was unmapped; the file stays mapped");
            std::mem::forget(self.file.clone());
        }
    }
}

/// One mapping of the client's.
struct Mapping {
    size: u64,
    offset: u64,
    /// `None` for memory that came without a file, or with one of a disk: the function cannot reach it.
    view: Option<View>,
}

/// All mappings of one client.
#[derive(Default)]
pub(super) struct DmaTable {
    /// By address; they do not overlap.
    mapped: BTreeMap<u64, Mapping>,
    files: Vec<(FileKey, Weak<MappedFile>)>,
    /// A mapping that the function cannot reach was told of.
    warned: bool,
}

impl DmaTable {
    /// Carries out DMA_MAP. Whatever was mapped there before is replaced. The error is an errno.
    pub(super) fn map(&mut self, function: &dyn PciFunction, map: &DmaMap, fd: Option<Received>) -> Result<(), i32> {
        let aligned = [map.address, map.size, map.offset].iter().all(|value| value.is_multiple_of(PAGE));
        let fits = map.size != 0 && map.address.checked_add(map.size).is_some();
        if !aligned || !fits || map.flags & dma_flag::READ == 0 || usize::try_from(map.size).is_err() {
            return Err(libc::EINVAL);
        }
        if self.mapped.len() >= MAX_DMA_MAPS as usize {
            return Err(libc::ENOSPC);
        }
        if fd.as_ref().is_some_and(|fd| !fd.has_path()) {
            // A pipe, a socket.
            return Err(libc::EINVAL);
        }
        let file = fd.and_then(Received::memory);
        let file = file.map(|file| self.file(file, map.flags & dma_flag::WRITE != 0)).transpose()?;
        let view = match file {
            Some(file) => Some(View::new(&file, map.offset, map.address, map.size).ok_or(libc::EINVAL)?),
            None => {
                self.warn_unreachable(function, map);
                None
            }
        };
        self.cut(function, map.address, map.address + (map.size - 1));
        self.insert(function, map.address, Mapping { size: map.size, offset: map.offset, view })
    }

    /// Carries out DMA_UNMAP. The function makes no access to the range when this returns.
    pub(super) fn unmap(&mut self, function: &dyn PciFunction, unmap: &DmaUnmap) -> Result<(), i32> {
        if unmap.flags & dma_flag::UNMAP_ALL != 0 {
            self.clear(function);
            return Ok(());
        }
        let last = unmap.size.checked_sub(1).and_then(|more| unmap.address.checked_add(more));
        self.cut(function, unmap.address, last.ok_or(libc::EINVAL)?);
        Ok(())
    }

    /// Ends all mappings.
    pub(super) fn clear(&mut self, function: &dyn PciFunction) {
        for (address, mapping) in std::mem::take(&mut self.mapped) {
            end(function, address, mapping);
        }
        self.files.clear();
    }

    /// Ends what is mapped from `first` to `last`. What a mapping has outside of that stays.
    fn cut(&mut self, function: &dyn PciFunction, first: u64, last: u64) {
        while let Some((&address, _)) = self.mapped.range(..=last).next_back() {
            let Some(mapping) = self.mapped.remove(&address) else { return };
            let (mapping_last, offset) = (address + (mapping.size - 1), mapping.offset);
            if mapping_last < first {
                self.mapped.insert(address, mapping);
                return;
            }
            let file = mapping.view.as_ref().map(|view| view.file.clone());
            end(function, address, mapping);
            let before = (address, first.saturating_sub(address), offset);
            // Of no meaning, and not used, where nothing is left behind `last`.
            let after_offset = offset.wrapping_add(last - address).wrapping_add(1);
            let after = (last.wrapping_add(1), mapping_last.saturating_sub(last), after_offset);
            let reaches_before = address < first;
            for (address, size, offset) in [after, before] {
                if size != 0 {
                    let view = file.as_ref().and_then(|file| View::new(file, offset, address, size));
                    // A function that took the whole takes a part, and if not, the part is unmapped.
                    let _ = self.insert(function, address, Mapping { size, offset, view });
                }
            }
            if reaches_before {
                return;
            }
        }
    }

    fn insert(&mut self, function: &dyn PciFunction, address: u64, mapping: Mapping) -> Result<(), i32> {
        if let Some(region) = mapping.view.as_ref().and_then(|view| view.region.as_ref())
            && let Err(error) = function.dma_map(region)
        {
            tracing::debug!(function = function.name(), %error, address, "the function refused memory for DMA");
            return Err(super::errno(&error));
        }
        self.mapped.insert(address, mapping);
        Ok(())
    }

    /// Whether a file of the client's was found to be gone, in part at least.
    pub(super) fn is_lost(&self) -> bool {
        self.files.iter().filter_map(|(_, file)| file.upgrade()).any(|file| file.guard.is_lost())
    }

    /// The mapping of `file`, which is mapped if it is not yet.
    fn file(&mut self, file: File, writable: bool) -> Result<Arc<MappedFile>, i32> {
        let data = file.metadata().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        let key = (data.dev(), data.ino(), data.len(), writable);
        let known = self.files.iter().find(|(known, _)| *known == key).and_then(|(_, file)| file.upgrade());
        if let Some(known) = known {
            return Ok(known);
        }
        self.files.retain(|(_, file)| file.strong_count() != 0);
        let held: u64 = self.files.iter().filter_map(|(_, file)| Some(file.upgrade()?.mapping.size() as u64)).sum();
        if self.files.len() >= MAX_FILES || data.len() > MAX_BYTES.saturating_sub(held) {
            return Err(libc::ENOMEM);
        }
        if data.len() == 0 {
            return Err(libc::EINVAL);
        }
        let mapped = Arc::new(MappedFile::new(file, data.len(), writable)?);
        self.files.push((key, Arc::downgrade(&mapped)));
        Ok(mapped)
    }

    fn warn_unreachable(&mut self, function: &dyn PciFunction, map: &DmaMap) {
        let (address, size) = (map.address, map.size);
        if map.flags & dma_flag::WRITE == 0 {
            // ROMs, which come so and which nobody makes DMA from.
            tracing::debug!(function = function.name(), address, size, "read-only memory without a file");
        } else if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                function = function.name(),
                address,
                size,
                "the client gave memory without a file, or in one that is not in memory: the function cannot reach \
                 it; guest RAM must be shared (memory-backend-memfd,share=on; or a file in tmpfs or hugetlbfs)"
            );
        }
    }
}

impl MappedFile {
    /// Maps the `len` bytes of `file`, and guards them.
    fn new(file: File, len: u64, writable: bool) -> Result<Self, i32> {
        // A device must not write what it may only read. Private pages take such writes where nobody
        // sees them, as a fault here would end the process.
        let sharing = if writable { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let place = FileOffset::new(file, 0);
        let mapping = MmapRegion::build(Some(place), len as usize, prot, sharing | libc::MAP_NORESERVE);
        let mapping = mapping.map_err(|error| {
            tracing::debug!(%error, "cannot map a client's file");
            libc::ENOMEM
        })?;
        keep_out_of_dumps(&mapping);
        let guard = Guard::new(mapping.as_ptr(), mapping.size()).map_err(|error| {
            tracing::warn!(%error, "cannot map a client's file");
            libc::ENOMEM
        })?;
        Ok(Self { guard, mapping })
    }
}

/// It is a guest's memory most likely, and none of a core's business.
fn keep_out_of_dumps(mapping: &MmapRegion) {
    // SAFETY: the mapping is live, and this advice changes none of its contents.
    if unsafe { libc::madvise(mapping.as_ptr().cast(), mapping.size(), libc::MADV_DONTDUMP) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "a client's memory will be in core dumps");
    }
}

/// Ends one mapping on the function, and then here.
fn end(function: &dyn PciFunction, address: u64, mapping: Mapping) {
    if mapping.view.is_some()
        && let Err(error) = function.dma_unmap(address)
    {
        tracing::debug!(function = function.name(), %error, address, "unmapping memory for DMA failed");
    }
}

#[cfg(test)]
#[path = "dma_tests.rs"]
mod tests;
