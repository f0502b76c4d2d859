// SPDX-License-Identifier: Apache-2.0
//! Who uses which mapping of a DMA address space. Pure bookkeeping: the functions of one space share
//! each mapping, and it goes when its last user does.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use vm_memory::{GuestMemoryRegion, GuestRegionMmap};

use crate::function::DmaRegion;

/// A function that uses mappings.
pub(super) type User = u64;

#[derive(Debug)]
struct Entry {
    region: DmaRegion,
    users: BTreeSet<User>,
}

/// The mappings of one space, by first address.
#[derive(Debug, Default)]
pub(super) struct Mappings(BTreeMap<u64, Entry>);

/// What [`Mappings::acquire`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquired {
    /// It is mapped; now this user counts as well.
    Shared,
    /// Not mapped yet: map it, then [`Mappings::insert`] it.
    New,
    /// Another mapping is in the way.
    Overlap {
        /// Its first address.
        start: u64,
        /// Its last address.
        last: u64,
    },
}

/// What [`Mappings::release`] found.
#[derive(Clone, Debug)]
pub(super) enum Released {
    /// The user had none that begins there.
    NotMapped,
    /// Others use it.
    StillUsed,
    /// The last user is going: unmap it, then [`Mappings::remove`] it.
    Last(DmaRegion),
}

/// Last address of a region that begins at `start`; regions have at least one byte and do not wrap.
fn last(start: u64, region: &GuestRegionMmap<()>) -> u64 {
    start.saturating_add(region.len().saturating_sub(1))
}

impl Mappings {
    /// `user` wants `region` mapped.
    pub(super) fn acquire(&mut self, user: User, region: &DmaRegion) -> Acquired {
        let start = region.start_addr().0;
        if let Some(entry) = self.0.get_mut(&start)
            && entry.region.len() == region.len()
            && entry.region.as_ptr() == region.as_ptr()
        {
            entry.users.insert(user);
            return Acquired::Shared;
        }
        // Of those that begin at or before its end, the highest is the one that can reach into it.
        match self.0.range(..=last(start, region)).next_back() {
            Some((other, entry)) if last(*other, &entry.region) >= start => {
                Acquired::Overlap { start: *other, last: last(*other, &entry.region) }
            }
            _ => Acquired::New,
        }
    }

    /// `region` was mapped for `user`.
    pub(super) fn insert(&mut self, user: User, region: &DmaRegion) {
        let entry = Entry { region: region.clone(), users: BTreeSet::from([user]) };
        self.0.insert(region.start_addr().0, entry);
    }

    /// `user` does not want the mapping that begins at `start` any more.
    pub(super) fn release(&mut self, user: User, start: u64) -> Released {
        match self.0.get_mut(&start) {
            Some(entry) if entry.users.contains(&user) => {
                if entry.users.len() == 1 {
                    return Released::Last(entry.region.clone());
                }
                entry.users.remove(&user);
                Released::StillUsed
            }
            _ => Released::NotMapped,
        }
    }

    /// The mapping that begins at `start` is no more.
    pub(super) fn remove(&mut self, start: u64) {
        self.0.remove(&start);
    }

    /// Where the mappings of `user` begin.
    pub(super) fn of(&self, user: User) -> Vec<u64> {
        self.0.iter().filter(|(_, entry)| entry.users.contains(&user)).map(|(start, _)| *start).collect()
    }

    /// Bytes mapped.
    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|entry| entry.region.len()).sum()
    }
}

/// Cuts `len` bytes at `start` at multiples of `chunk`, so that huge pages stay whole and there is
/// something to tell between the parts.
pub(super) fn chunks(start: u64, len: u64, chunk: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = len.checked_sub(done).filter(|left| *left != 0)?;
        let at = start.checked_add(done)?;
        let part = left.min(chunk - at % chunk);
        done += part;
        Some((at, part))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vm_memory::GuestAddress;

    use super::*;

    fn region(start: u64, len: usize) -> DmaRegion {
        Arc::new(GuestRegionMmap::from_range(GuestAddress(start), len, None).unwrap())
    }

    #[test]
    fn users_share_a_mapping_and_the_last_ends_it() {
        let (mut table, ram) = (Mappings::default(), region(0, 0x2000));
        assert_eq!(table.acquire(1, &ram), Acquired::New);
        table.insert(1, &ram);
        assert_eq!(table.acquire(2, &ram), Acquired::Shared);
        assert_eq!(table.acquire(2, &ram), Acquired::Shared, "once is enough");
        assert_eq!((table.of(2), table.total()), (vec![0], 0x2000));
        assert!(matches!(table.release(3, 0), Released::NotMapped));
        assert!(matches!(table.release(1, 0x1000), Released::NotMapped));
        assert!(matches!(table.release(1, 0), Released::StillUsed));
        assert!(matches!(table.release(1, 0), Released::NotMapped));
        assert!(matches!(table.release(2, 0), Released::Last(region) if Arc::ptr_eq(&region, &ram)));
        table.remove(0);
        assert_eq!(table.acquire(2, &ram), Acquired::New);
    }

    #[test]
    fn other_memory_at_the_same_place_is_refused() {
        let mut table = Mappings::default();
        let ram = region(0x10000, 0x4000);
        table.insert(1, &ram);
        let overlap = Acquired::Overlap { start: 0x10000, last: 0x13fff };
        for (start, len) in [(0x10000, 0x4000), (0x10000, 0x1000), (0xf000, 0x2000), (0x13000, 0x1000), (0, 0x40000)] {
            assert_eq!(table.acquire(1, &region(start, len)), overlap, "{start:#x}");
        }
        for (start, len) in [(0xf000, 0x1000), (0x14000, 0x1000)] {
            assert_eq!(table.acquire(1, &region(start, len)), Acquired::New, "{start:#x}");
        }
    }

    #[test]
    fn chunks_end_at_multiples() {
        let cut = |start, len| chunks(start, len, 0x100).collect::<Vec<_>>();
        assert_eq!(cut(0, 0x250), [(0, 0x100), (0x100, 0x100), (0x200, 0x50)]);
        assert_eq!(cut(0x80, 0x100), [(0x80, 0x80), (0x100, 0x80)]);
        assert_eq!(cut(0x80, 0), []);
        assert_eq!(chunks(u64::MAX - 0xff, 0x100, 0x100).collect::<Vec<_>>(), [(u64::MAX - 0xff, 0x100)]);
    }
}
