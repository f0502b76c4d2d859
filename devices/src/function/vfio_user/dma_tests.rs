// SPDX-License-Identifier: Apache-2.0
//! Tests of `dma`: maps and unmaps that overlap in all ways, against a plain map of pages.

use std::collections::BTreeMap as Pages;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use proptest::prelude::*;
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use super::super::testing::mock_function;
use super::*;
use crate::contract::mock::{MockFunction, processor_time};
use crate::function::shared::shared_region;
use crate::soft_pf::{SoftPf, VfSpec};

fn fd(region: &DmaRegion) -> Received {
    region.file_offset().unwrap().file().as_fd().try_clone_to_owned().unwrap().into()
}

fn map(address: u64, offset: u64, size: u64) -> DmaMap {
    DmaMap { flags: dma_flag::READ | dma_flag::WRITE, offset, address, size }
}

fn unmap(address: u64, size: u64) -> DmaUnmap {
    DmaUnmap { argsz: 24, flags: 0, address, size }
}

/// What QEMU makes of guest RAM without its seals.
fn memfd(len: u64) -> File {
    let file = File::from(rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.set_len(len).unwrap();
    file
}

/// Which page of the file the function sees at each page.
fn seen(fake: &MockFunction) -> Pages<u64, u64> {
    let inner = fake.state();
    let mut pages = Pages::new();
    for region in &inner.dma {
        for page in 0..region.len() / PAGE {
            let mark: u64 = region.read_obj(MemoryRegionAddress(page * PAGE)).unwrap();
            pages.insert(region.start_addr().0 / PAGE + page, mark);
        }
    }
    pages
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_function_sees_what_the_client_mapped(
        steps in proptest::collection::vec((0..4u8, 0..30u64, 0..20u64, 1..12u64), 1..40)
    ) {
        const FILE: u64 = 32;
        let file = shared_region(0, (FILE * PAGE) as usize).unwrap();
        for page in 0..FILE {
            file.write_obj(1000 + page, MemoryRegionAddress(page * PAGE)).unwrap();
        }
        let (fake, mut table, mut model) = (mock_function(), DmaTable::default(), Pages::new());
        for (kind, at, offset, len) in steps {
            let range = at..at + len;
            match kind {
                0 => {
                    table.unmap(fake.as_ref(), &unmap(at * PAGE, len * PAGE)).unwrap();
                    model.retain(|page, _| !range.contains(page));
                }
                1 => {
                    // Memory that cannot be reached: nothing is seen there.
                    table.map(fake.as_ref(), &map(at * PAGE, 0, len * PAGE), None).unwrap();
                    model.retain(|page, _| !range.contains(page));
                }
                _ => {
                    table.map(fake.as_ref(), &map(at * PAGE, offset * PAGE, len * PAGE), Some(fd(&file))).unwrap();
                    model.extend(range.map(|page| (page, 1000 + offset + page - at)));
                }
            }
            prop_assert_eq!(seen(&fake), model.clone());
        }
        let all = DmaUnmap { flags: dma_flag::UNMAP_ALL, ..unmap(0, 0) };
        table.unmap(fake.as_ref(), &all).unwrap();
        prop_assert!(seen(&fake).is_empty() && table.mapped.is_empty());
    }
}

#[test]
fn bad_maps_are_refused() {
    let (fake, mut table) = (mock_function(), DmaTable::default());
    let file = shared_region(0, 0x4000).unwrap();
    for bad in [
        map(0, 0, 0),
        map(0, 0, 0x4001),
        map(1, 0, 0x1000),
        map(0, 1, 0x1000),
        map(0, 0, 0x5000),
        map(0, 0x4000, 0x1000),
        map(0, u64::MAX - 0xfff, 0x1000),
        map(u64::MAX - 0xfff, 0, 0x2000),
        map(0, 0, 1 << 63),
        DmaMap { flags: 0, ..map(0, 0, 0x1000) },
    ] {
        assert_eq!(table.map(fake.as_ref(), &bad, Some(fd(&file))), Err(libc::EINVAL), "{bad:x?}");
    }
    let (pipe, _other) = std::io::pipe().unwrap();
    assert_eq!(table.map(fake.as_ref(), &map(0, 0, 0x1000), Some(OwnedFd::from(pipe).into())), Err(libc::EINVAL));
    let huge = memfd(MAX_BYTES + PAGE);
    assert_eq!(table.map(fake.as_ref(), &map(0, 0, 0x1000), Some(OwnedFd::from(huge).into())), Err(libc::ENOMEM));
    for bad in [unmap(0, 0), unmap(u64::MAX, 2)] {
        assert_eq!(table.unmap(fake.as_ref(), &bad), Err(libc::EINVAL));
    }
    assert!(fake.mapped().is_empty());
    // The last page there is, and an unmap of everything in two halves.
    table.map(fake.as_ref(), &map(u64::MAX - 0x1fff, 0, 0x1000), Some(fd(&file))).unwrap();
    table.unmap(fake.as_ref(), &unmap(0, 1 << 63)).unwrap();
    assert_eq!(fake.mapped().len(), 1);
    table.unmap(fake.as_ref(), &unmap(1 << 63, 1 << 63)).unwrap();
    assert!(fake.mapped().is_empty());
}

#[test]
fn what_the_device_may_only_read_it_does_not_change() {
    let (fake, mut table) = (mock_function(), DmaTable::default());
    let file = shared_region(0, 0x1000).unwrap();
    file.write_slice(b"rom", MemoryRegionAddress(0)).unwrap();
    let read_only = DmaMap { flags: dma_flag::READ, ..map(0x1000, 0, 0x1000) };
    table.map(fake.as_ref(), &read_only, Some(fd(&file))).unwrap();
    let theirs = fake.state().dma[0].clone();
    let mut bytes = [0; 3];
    theirs.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
    assert_eq!(&bytes, b"rom");
    theirs.write_slice(b"bad", MemoryRegionAddress(0)).unwrap();
    file.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
    assert_eq!(&bytes, b"rom");
}

#[test]
fn a_file_that_gets_shorter_is_noticed_and_ends_nothing_else() {
    let (fake, mut table) = (mock_function(), DmaTable::default());
    let file = memfd(4 * PAGE);
    let own = || Some(Received::from(OwnedFd::from(file.try_clone().unwrap())));
    table.map(fake.as_ref(), &map(0, 0, 4 * PAGE), own()).unwrap();
    let read_only = DmaMap { flags: dma_flag::READ, ..map(0x10_0000, 0, 4 * PAGE) };
    table.map(fake.as_ref(), &read_only, own()).unwrap();
    let regions = fake.state().dma.clone();
    regions[0].write_obj(5_u64, MemoryRegionAddress(3 * PAGE)).unwrap();
    assert!(!table.is_lost());
    file.set_len(0).unwrap();
    for region in &regions {
        region.write_obj(6_u64, MemoryRegionAddress(2 * PAGE)).unwrap();
        assert_eq!(region.read_obj::<u64>(MemoryRegionAddress(3 * PAGE)).unwrap(), 0);
        assert!(table.is_lost());
    }
    drop(regions);
    table.clear(fake.as_ref());
    assert!(!table.is_lost());
}

/// A page of such a file could be a FUSE server's, which answers when it likes.
#[test]
fn a_file_that_is_not_in_memory_is_not_mapped() {
    let (fake, mut table) = (mock_function(), DmaTable::default());
    // A file system that answers in any case.
    let file = File::open("/proc/self/exe").unwrap();
    if Received::from(OwnedFd::from(file.try_clone().unwrap())).memory().is_some() {
        return println!("SKIPPED: a_file_that_is_not_in_memory_is_not_mapped: this test is run from memory");
    }
    table.map(fake.as_ref(), &map(0, 0, PAGE), Some(OwnedFd::from(file).into())).unwrap();
    assert!(fake.mapped().is_empty() && table.mapped.len() == 1);
}

/// A function that keeps memory after its unmap sees that memory, not a hole.
#[test]
fn memory_outlives_its_unmap_as_long_as_somebody_has_it() {
    let (fake, mut table) = (mock_function(), DmaTable::default());
    let file = shared_region(0, 0x1000).unwrap();
    file.write_slice(b"here", MemoryRegionAddress(0)).unwrap();
    table.map(fake.as_ref(), &map(0, 0, 0x1000), Some(fd(&file))).unwrap();
    let kept = fake.state().dma[0].clone();
    table.clear(fake.as_ref());
    drop(table);
    let mut bytes = [0; 4];
    kept.read_slice(&mut bytes, MemoryRegionAddress(0)).unwrap();
    assert_eq!(&bytes, b"here");
}

/// As many pages as a client may map, one by one, for the software VF: what an IOMMU in the client makes.
#[test]
fn pages_one_by_one_are_fast() {
    let disk = tempfile::tempfile().unwrap();
    disk.set_len(512).unwrap();
    let soft =
        SoftPf::new("soft", vec![VfSpec::Blk { size: None, file: disk, read_only: true, id: String::new() }]).unwrap();
    let vf = soft.vf(0).unwrap();
    let file = shared_region(0, 0x1000_0000).unwrap();
    let mut table = DmaTable::default();
    let begin = processor_time();
    let pages = u64::from(MAX_DMA_MAPS);
    for page in 0..pages {
        // In reverse in the file, so that no two could be one.
        let offset = (pages - 1 - page) * PAGE;
        table.map(vf.as_ref(), &map(page * PAGE, offset, PAGE), Some(fd(&file))).unwrap();
    }
    assert_eq!(table.map(vf.as_ref(), &map(pages * PAGE, 0, PAGE), Some(fd(&file))), Err(libc::ENOSPC));
    let mapped = processor_time() - begin;
    let own = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(own.lines().filter(|line| line.contains("heirloom-dma")).count() < 100, "one mapping for all pages");
    table.clear(vf.as_ref());
    println!("{pages} pages: map {mapped:?}, unmap {:?}", processor_time() - begin - mapped);
    assert!(processor_time() - begin < Duration::from_secs(60), "not with the square of their number");
}
