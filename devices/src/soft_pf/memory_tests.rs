// SPDX-License-Identifier: Apache-2.0
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestRegionMmap};

use super::*;

fn region(start: u64, len: usize) -> DmaRegion {
    Arc::new(GuestRegionMmap::from_range(GuestAddress(start), len, None).unwrap())
}

#[test]
fn regions_come_and_go_and_do_not_overlap() {
    let space = DmaSpace::default();
    assert_eq!(space.load().num_regions(), 0);
    assert!(space.map(&region(0x4000, 0x2000)));
    for (start, len) in [(0x4000, 0x1000), (0x3000, 0x2000), (0x5000, 0x1000), (0x5fff, 1), (0x3000, 0x8000)] {
        assert!(!space.map(&region(start, len)), "{start:#x}");
    }
    assert!(space.map(&region(0x6000, 0x1000)) && space.map(&region(0x3000, 0x1000)));
    let memory = space.load();
    // Neighbours are one piece of memory to who reads across them.
    memory.write_slice(&[7; 0x4000], GuestAddress(0x3000)).unwrap();
    assert!(!space.unmap(0x5000), "not a start");
    assert!(space.unmap(0x4000) && !space.unmap(0x4000));
    assert!(!space.load().address_in_range(GuestAddress(0x4000)));
    assert!(space.load().address_in_range(GuestAddress(0x6fff)));
    assert!(memory.address_in_range(GuestAddress(0x4000)), "a snapshot stays as it is");
    assert!(space.unmap(0x3000) && space.unmap(0x6000));
    assert_eq!(space.load().num_regions(), 0);
}

#[test]
fn what_is_unmapped_is_let_go_of() {
    let space = DmaSpace::default();
    let page = region(0x1000, 0x1000);
    assert!(space.map(&page));
    drop(space.load());
    assert!(space.unmap(0x1000));
    assert_eq!(Arc::strong_count(&page), 1);
}
