// SPDX-License-Identifier: Apache-2.0
//! A device that follows the rules, and devices that do not.
use super::*;
use proptest::prelude::*;

fn ring(size: u16) -> (SplitRing, AdminMemory) {
    let memory = AdminMemory::allocate().unwrap();
    (SplitRing::new(memory.clone(), size).unwrap(), memory)
}

/// The device returns the chain that starts at `id`.
fn give_back(memory: &AdminMemory, size: u16, index: u16, id: u32, len: u32) {
    let at = USED + 4 + 8 * u64::from(index % size);
    memory.write(at, &id.to_le_bytes()).unwrap();
    memory.write(at + 4, &len.to_le_bytes()).unwrap();
    memory.store_release(USED + 2, index.wrapping_add(1)).unwrap();
}

fn reap(ring: &mut SplitRing) -> Result<Vec<(u16, u32)>, RingFault> {
    let mut seen = Vec::new();
    ring.reap(|slot, len| seen.push((slot, len)))?;
    Ok(seen)
}

fn word(memory: &AdminMemory, offset: u64) -> u16 {
    memory.load_acquire(offset).unwrap()
}

#[test]
fn chain_bytes_are_those_of_the_standard() {
    let (mut ring, memory) = ring(4);
    assert_eq!(word(&memory, AVAIL), 1, "no interrupts");
    ring.publish(1, 33, 8).unwrap();
    let mut table = [0; 32];
    memory.read(DESCRIPTORS + 2 * 16, &mut table).unwrap();
    let (first, second) = table.split_at(16);
    assert_eq!(first[0..8], memory.iova(AdminMemory::readable(1)).to_le_bytes());
    assert_eq!(first[8..], [33, 0, 0, 0, 1, 0, 3, 0]);
    assert_eq!(second[0..8], memory.iova(AdminMemory::writable(1)).to_le_bytes());
    assert_eq!(second[8..], [8, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!((word(&memory, AVAIL + 2), word(&memory, AVAIL + 4)), (1, 2));
}

#[test]
fn sizes() {
    for size in [0, 1, 3, 6, 256] {
        assert!(SplitRing::new(AdminMemory::allocate().unwrap(), size).is_none(), "{size}");
    }
    for (size, slots) in [(2, 1), (4, 2), (128, 64)] {
        assert_eq!(ring(size).0.slots(), slots);
    }
}

#[test]
fn indices_wrap_at_65536() {
    let (mut ring, memory) = ring(2);
    for round in 0..70_000u32 {
        ring.publish(0, 25, 9).unwrap();
        give_back(&memory, 2, round as u16, 0, 9);
        assert_eq!(reap(&mut ring), Ok(vec![(0, 9)]), "round {round}");
    }
    assert!(ring.is_idle());
}

#[test]
fn out_of_order_completion_of_a_full_ring() {
    let (mut ring, memory) = ring(128);
    for slot in 0..64 {
        ring.publish(slot, 24, 8).unwrap();
    }
    assert_eq!(ring.publish(3, 24, 8), Err(RingFault::Memory), "the device holds it");
    for (index, slot) in (0..64u16).rev().enumerate() {
        give_back(&memory, 128, index as u16, 2 * u32::from(slot), 8);
    }
    let seen = reap(&mut ring).unwrap();
    assert_eq!(seen.len(), 64);
    assert_eq!((seen[0], seen[63]), ((63, 8), (0, 8)));
}

#[test]
fn hostile_used_rings() {
    for (id, fault) in [
        (1, RingFault::UsedId),
        (8, RingFault::UsedId),
        (0x1_0000, RingFault::UsedId),
        (u32::MAX, RingFault::UsedId),
        (2, RingFault::NotOutstanding),
    ] {
        let (mut ring, memory) = ring(8);
        ring.publish(0, 24, 8).unwrap();
        give_back(&memory, 8, 0, id, 8);
        assert_eq!(reap(&mut ring), Err(fault), "id {id}");
    }
}

#[test]
fn duplicate_return() {
    let (mut ring, memory) = ring(8);
    ring.publish(0, 24, 8).unwrap();
    ring.publish(1, 24, 8).unwrap();
    give_back(&memory, 8, 0, 0, 8);
    give_back(&memory, 8, 1, 0, 8);
    assert_eq!(reap(&mut ring), Err(RingFault::NotOutstanding));
}

#[test]
fn used_index_jumps_or_runs_backwards() {
    for index in [2, 100, u16::MAX] {
        let (mut ring, memory) = ring(8);
        ring.publish(0, 24, 8).unwrap();
        memory.store_release(USED + 2, index).unwrap();
        assert_eq!(reap(&mut ring), Err(RingFault::UsedIndex), "index {index}");
    }
}

proptest! {
    /// Whatever the device writes over the whole ring area: no panic, every returned slot was
    /// outstanding and is returned once, and no reap returns more than was given.
    #[test]
    fn hostile_contents(
        size in prop_oneof![Just(2u16), Just(4), Just(8), Just(128)],
        steps in proptest::collection::vec((any::<bool>(), 0u16..64, any::<u16>(),
            proptest::collection::vec(any::<u8>(), 0..1030)), 1..24),
    ) {
        let (mut ring, memory) = ring(size);
        let mut held = std::collections::HashSet::new();
        for (sane, slot, index, bytes) in steps {
            let slot = slot % ring.slots();
            if !held.contains(&slot) {
                prop_assert_eq!(ring.publish(slot, 24, 8), Ok(()));
                held.insert(slot);
            }
            memory.write(USED, &bytes).unwrap();
            memory.write(DESCRIPTORS, &bytes).unwrap();
            let index = if sane { ring.next_used.wrapping_add(index % 3) } else { index };
            memory.store_release(USED + 2, index).unwrap();
            match reap(&mut ring) {
                Ok(seen) => for (slot, _) in seen {
                    prop_assert!(held.remove(&slot));
                },
                Err(_) => return Ok(()),
            }
            prop_assert_eq!(ring.is_idle(), held.is_empty());
        }
    }
}
