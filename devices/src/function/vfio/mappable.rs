// SPDX-License-Identifier: Apache-2.0
//! Which parts of a BAR may be mapped: what VFIO allows, without holes such as the pages of the MSI-X table and
//! pending bits. Pure.
#![forbid(unsafe_code)]

use std::ops::Range;

/// What KVM and mmap know.
const PAGE: u64 = 4096;

/// The whole pages of `allowed`, inside a BAR of `size` bytes and outside of `holes`; sorted, without
/// overlap.
pub(super) fn areas(size: u64, allowed: &[Range<u64>], holes: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> =
        allowed.iter().filter_map(|part| whole_pages(part.start, part.end.min(size))).collect();
    parts.sort_unstable_by_key(|part| part.start);
    for index in 1..parts.len() {
        let end = parts[index - 1].end;
        parts[index].start = parts[index].start.max(end);
        parts[index].end = parts[index].end.max(parts[index].start);
    }
    for hole in holes {
        parts = parts.iter().flat_map(|part| without(part, hole)).collect();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn whole_pages(start: u64, end: u64) -> Option<Range<u64>> {
    let (start, end) = (start.checked_next_multiple_of(PAGE)?, end / PAGE * PAGE);
    (start < end).then_some(start..end)
}

fn without(part: &Range<u64>, hole: &Range<u64>) -> [Range<u64>; 2] {
    let before = part.start..part.end.min(hole.start).max(part.start);
    let after = part.start.max(hole.end).min(part.end)..part.end;
    if hole.is_empty() || before.end == part.end { [part.clone(), part.end..part.end] } else { [before, after] }
}

#[cfg(test)]
// Lists of ranges are what is tested.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::function::capabilities::MsixStructures;

    /// As QEMU's modern virtio functions have it: MSI-X alone in BAR 1.
    #[test]
    fn a_bar_of_msix_alone_has_nothing_to_map() {
        let holes = |bar| MsixStructures::new(3, 0x0000_0001, 0x0000_0801).holes(bar).collect::<Vec<_>>();
        assert_eq!(holes(1), [0..0x1000, 0..0x1000]);
        assert_eq!(areas(0x1000, &[0..0x1000], &holes(1)), []);
        assert_eq!(holes(4), []);
        assert_eq!(areas(0x4000, &[0..0x4000], &holes(4)), [0..0x4000]);
    }

    #[test]
    fn table_and_pending_bits_amid_a_bar() {
        // 65 vectors: 0x410 bytes of table at 0x2000, 16 bytes of PBA at 0x4ff8.
        let msix = MsixStructures::new(64, 0x2000, 0x4ff8);
        assert_eq!(msix.table, (0, 0x2000..0x2410));
        let holes: Vec<_> = msix.holes(0).collect();
        assert_eq!(areas(0x8000, &[0..0x8000], &holes), [0..0x2000, 0x3000..0x4000, 0x6000..0x8000]);
    }

    #[test]
    fn parts_of_pages_and_small_bars_are_left_out() {
        assert_eq!(areas(0x800, &[0..0x800], &[]), []);
        assert_eq!(areas(0x4000, &[0x800..0x2800, 0x3000..0x9000], &[]), [0x1000..0x2000, 0x3000..0x4000]);
        assert_eq!(areas(0x4000, &[0x1000..0x3000, 0..0x2000], &[]), [0..0x2000, 0x2000..0x3000]);
    }

    proptest! {
        /// Page by page: mapped exactly if some allowed part holds all of it and no hole touches it.
        #[test]
        fn each_page_is_where_it_belongs(
            size in 0_u64..40,
            allowed in prop::collection::vec((0_u64..30, 0_u64..20), 0..4),
            holes in prop::collection::vec((0_u64..30, 1_u64..5), 0..4),
        ) {
            let size = size * 0x800;
            let allowed: Vec<_> = allowed.iter().map(|(at, len)| at * 0x800..(at + len) * 0x800).collect();
            let holes: Vec<_> = holes.iter().map(|(at, len)| at * PAGE..(at + len) * PAGE).collect();
            let parts = areas(size, &allowed, &holes);
            prop_assert!(parts.iter().all(|p| p.start % PAGE == 0 && p.end % PAGE == 0 && p.start < p.end));
            prop_assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for page in (0..60).map(|n| n * PAGE) {
                let inside = allowed.iter().any(|a| a.start <= page && page + PAGE <= a.end.min(size));
                let hit = holes.iter().any(|h| h.start < page + PAGE && page < h.end);
                prop_assert_eq!(parts.iter().any(|p| p.contains(&page)), inside && !hit, "{:#x}", page);
            }
        }
    }
}
