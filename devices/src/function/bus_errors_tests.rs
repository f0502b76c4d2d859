// SPDX-License-Identifier: Apache-2.0
//! Tests of `bus_errors`: files that become shorter while they are mapped.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::mmap::MmapRegion;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestRegionMmap, MemoryRegionAddress};

use super::*;

const PAGE: u64 = 4096;

/// A mapped file of `pages`, and the file.
fn mapped(pages: u64) -> (GuestRegionMmap<()>, File) {
    let file = File::from(memfd_create("bus", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(pages * PAGE).unwrap();
    let place = FileOffset::new(file.try_clone().unwrap(), 0);
    (
        GuestRegionMmap::new(MmapRegion::from_file(place, (pages * PAGE) as usize).unwrap(), GuestAddress(0)).unwrap(),
        file,
    )
}

fn guard(region: &GuestRegionMmap<()>) -> Guard {
    Guard::new(region.as_ptr(), region.size()).unwrap()
}

#[test]
fn accesses_to_a_file_that_got_shorter_go_on_in_private_memory() {
    let (region, file) = mapped(4);
    let (other, other_file) = mapped(1);
    let (guarded, others) = (guard(&region), guard(&other));
    region.write_obj(1_u64, MemoryRegionAddress(0)).unwrap();
    assert!(!guarded.is_lost());
    file.set_len(PAGE).unwrap();
    region.write_obj(7_u64, MemoryRegionAddress(3 * PAGE)).unwrap();
    assert!(guarded.is_lost());
    assert_eq!(region.read_obj::<u64>(MemoryRegionAddress(3 * PAGE)).unwrap(), 7);
    assert_eq!(region.read_obj::<u64>(MemoryRegionAddress(0)).unwrap(), 0, "the whole mapping is another");
    assert!(!others.is_lost());
    // A range that is free again is guarded for its next owner.
    drop((guarded, region, others));
    let others = guard(&other);
    assert!(!others.is_lost());
    other_file.set_len(0).unwrap();
    assert_eq!(other.read_obj::<u64>(MemoryRegionAddress(8)).unwrap(), 0);
    assert!(others.is_lost());
}

#[test]
fn many_threads_that_fault_at_once_all_go_on() {
    let (region, file) = mapped(64);
    let guarded = guard(&region);
    file.set_len(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let region = &region;
            scope.spawn(move || {
                (0..64).for_each(|page| region.write_obj(thread, MemoryRegionAddress(page * PAGE)).unwrap());
            });
        }
    });
    assert!(guarded.is_lost());
}

#[test]
fn no_more_than_the_table_holds() {
    let (region, _file) = mapped(1);
    let mut all = Vec::new();
    // Other tests have some at the same time.
    while let Ok(guard) = Guard::new(region.as_ptr(), region.size()) {
        all.push(guard);
        assert!(all.len() <= MOST);
    }
    assert!(all.len() > MOST - 100);
    drop(all);
    guard(&region);
}

/// An address right behind a short range must not be taken for one in it because the slot's owner before had a long one:
/// the short one would be replaced, and the access that failed would fail again.
#[test]
fn b8_a_range_is_never_half_of_its_owner_before() {
    const LONG: (usize, usize) = (0x1000_0000, 0x100_0000);
    const SHORT: (usize, usize) = (0x2000_0000, 0x1000);
    let range = Range::free();
    let changes = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000_000 {
                for (start, len) in [LONG, (0, 0), SHORT, (0, 0)] {
                    range.change(start, len);
                }
            }
            changes.store(false, Ordering::Relaxed);
        });
        let mut found = [0_u64; 2];
        while changes.load(Ordering::Relaxed) {
            assert_eq!(range.around(SHORT.0 + 0x2000), None, "behind the short one");
            assert_eq!(range.around(0x1800), None, "of the long one's length at no place");
            for (owner, found) in [LONG, SHORT].into_iter().zip(&mut found) {
                *found += u64::from(
                    range.around(owner.0).inspect(|seen| assert_eq!((seen.start, seen.len), owner)).is_some(),
                );
            }
        }
        assert!(found.iter().all(|found| *found != 0), "{found:?}");
    });
    // Stopped in the middle of a change, which no other processor does for us at will.
    range.change(LONG.0, LONG.1);
    range.version.fetch_add(1, Ordering::Relaxed);
    range.start.store(SHORT.0, Ordering::Relaxed);
    assert_eq!(range.around(SHORT.0 + 0x2000), None, "the start of one with the length of the other");
}

/// Memory that is not guarded still ends the process, and so does a SIGBUS that somebody sends.
#[test]
fn other_bus_errors_end_the_process() {
    const WHICH: &str = "HEIRLOOM_TEST_BUS_ERROR";
    if let Ok(which) = std::env::var(WHICH) {
        let (region, file) = mapped(1);
        drop(guard(&region));
        file.set_len(0).unwrap();
        match which.as_str() {
            "access" => drop(region.read_obj::<u64>(MemoryRegionAddress(0))),
            // Rust's own handler, which was there before, takes one and gives way for the next.
            _ => (0..1000).for_each(|_| {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::BUS).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1)); // Clock: between two signals.
            }),
        }
        return;
    }
    for which in ["access", "signal"] {
        let own = std::env::current_exe().unwrap();
        let mut child = Command::new(own);
        child.args(["--exact", "function::bus_errors::tests::other_bus_errors_end_the_process"]).env(WHICH, which);
        let output = child.output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{which}: {output:?}");
    }
}
