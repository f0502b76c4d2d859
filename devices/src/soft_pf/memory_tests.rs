// SPDX-License-Identifier: Apache-2.0
//! Tests of `memory`, against a plain map of addresses.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vm_memory::Bytes;

use super::*;
use crate::contract::mock::processor_time;

fn region(start: u64, len: u64) -> DmaRegion {
    Arc::new(GuestRegionMmap::from_range(GuestAddress(start), len as usize, None).unwrap())
}

/// `(map or unmap, start, length)`, in pages.
fn steps() -> impl Strategy<Value = Vec<(bool, u64, u64)>> {
    proptest::collection::vec((prop::bool::weighted(0.7), 0..40u64, 1..4u64), 0..60)
}

proptest! {
    #[test]
    fn agrees_with_a_plain_map(steps in steps()) {
        let space = DmaSpace::default();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        for (map, start, len) in steps {
            if map {
                let free = model.iter().all(|(at, size)| at + size <= start || start + len <= *at);
                prop_assert_eq!(space.map(&region(start << 12, len << 12)), free);
                if free {
                    model.insert(start, len);
                }
            } else {
                prop_assert_eq!(space.unmap(start << 12).is_some(), model.remove(&start).is_some());
            }
            let memory = space.load();
            prop_assert_eq!(memory.num_regions(), model.len());
            let found: Vec<_> = memory.iter().map(|r| (r.start_addr().0 >> 12, r.len() >> 12)).collect();
            prop_assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
            for page in 0..45 {
                let inside = model.iter().any(|(at, size)| (*at..at + size).contains(&page));
                prop_assert_eq!(memory.find_region(GuestAddress((page << 12) + 5)).is_some(), inside);
            }
        }
    }
}

/// Every way to fill chunks: ascending, descending, and from both ends. Reads cross all borders.
#[test]
fn chunks_split_and_empty() {
    let count = 3 * CHUNK as u64 + 7;
    let backing = region(0, 4096);
    let orders: [Vec<u64>; 3] = [
        (0..count).collect(),
        (0..count).rev().collect(),
        (0..count).map(|n| if n % 2 == 0 { n / 2 } else { count - 1 - n / 2 }).collect(),
    ];
    for order in orders {
        let space = DmaSpace::default();
        for page in &order {
            // One page of memory stands for all.
            let alias = Arc::new(GuestRegionMmap::with_arc(backing.get_mmap(), GuestAddress(page << 12)).unwrap());
            assert!(space.map(&alias));
            assert!(!space.map(&alias));
        }
        let mut bytes = vec![0; (count << 12) as usize];
        space.load().read_slice(&mut bytes, GuestAddress(0)).unwrap();
        assert!(space.load().read_slice(&mut bytes, GuestAddress(1)).is_err());
        for page in &order {
            assert_eq!(space.unmap(page << 12), Some((page << 12) + 0xfff));
            assert_eq!(space.unmap(page << 12), None);
        }
        assert_eq!(space.load().num_regions(), 0);
        assert!(space.load().chunks.is_empty());
    }
}

/// Twice as many mappings may not take much more than twice as long each. Without chunks the ratio is
/// that of the counts, 16.
#[test]
fn a_map_stays_cheap() {
    let backing = region(0, 4096);
    let fill = |count: u64| {
        let space = DmaSpace::default();
        let begin = processor_time();
        for page in 0..count {
            let alias = Arc::new(GuestRegionMmap::with_arc(backing.get_mmap(), GuestAddress(page << 12)).unwrap());
            assert!(space.map(&alias));
        }
        (processor_time() - begin).as_secs_f64() / count as f64
    };
    let (few, many) = (fill(4096), fill(65535));
    println!("map: {:.2} us each of 4096, {:.2} us each of 65535", few * 1e6, many * 1e6);
    assert!(many < few * 8.0, "{:.2} us each of 4096, {:.2} us of 65535", few * 1e6, many * 1e6);
}
