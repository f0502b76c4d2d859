// SPDX-License-Identifier: Apache-2.0
//! Capability chains in the answers of VFIO's GET_INFO ioctls, and the capabilities that matter here.
//! Pure. The kernel is trusted to mean well, not to be without faults: nothing is read out of bounds
//! and a chain that loops ends.
//!
//! Source: Linux, include/uapi/linux/vfio.h, `struct vfio_info_cap_header`.
#![forbid(unsafe_code)]

use std::ops::Range;

use vfio_bindings::bindings::vfio;

/// id, version, offset of the next.
const HEADER: usize = 8;
/// Areas or ranges: how many, a reserved word, and two 64-bit words for each.
const LIST_HEADER: usize = 8;
const LIST_ENTRY: usize = 16;

/// The chain in `answer` that begins at `first`: ids and what is behind each header, to the end of
/// the answer.
fn chain(answer: &[u8], first: u32) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut at = first as usize;
    // Offsets grow in all chains that the kernel makes.
    while at != 0 {
        let Some(header) = answer.get(at..).and_then(|rest| rest.get(..HEADER)) else { break };
        let id = u16::from_le_bytes([header[0], header[1]]);
        found.push((id, answer.get(at + HEADER..).unwrap_or_default()));
        let next = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if next <= at {
            break;
        }
        at = next;
    }
    found
}

/// A list of pairs of 64-bit words, as far as it is there.
fn pairs(body: &[u8]) -> Vec<(u64, u64)> {
    let Some(header) = body.first_chunk::<LIST_HEADER>() else { return Vec::new() };
    let count = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let entries = body.get(LIST_HEADER..).unwrap_or_default().chunks_exact(LIST_ENTRY).take(count);
    entries.map(|entry| (word(entry), word(entry.get(8..).unwrap_or_default()))).collect()
}

/// What the capabilities of a region say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegionCaps {
    /// The parts that may be mapped, if not all may be.
    pub(super) sparse: Option<Vec<Range<u64>>>,
    /// Whether pages of the MSI-X table may be mapped, too.
    pub(super) msix_mappable: bool,
}

/// The capabilities in an answer to VFIO_DEVICE_GET_REGION_INFO.
pub(super) fn region_caps(answer: &[u8], first: u32) -> RegionCaps {
    let mut caps = RegionCaps::default();
    for (id, body) in chain(answer, first) {
        match u32::from(id) {
            vfio::VFIO_REGION_INFO_CAP_SPARSE_MMAP => {
                let area = |(offset, size): (u64, u64)| Some(offset..offset.checked_add(size)?);
                caps.sparse = Some(pairs(body).into_iter().filter_map(area).collect());
            }
            vfio::VFIO_REGION_INFO_CAP_MSIX_MAPPABLE => caps.msix_mappable = true,
            _ => {}
        }
    }
    caps
}

/// First and last addresses that can be mapped, from an answer to VFIO_IOMMU_GET_INFO; `None` if the
/// kernel does not say.
pub(super) fn iova_ranges(answer: &[u8], first: u32) -> Option<Vec<(u64, u64)>> {
    let caps = chain(answer, first);
    let ranges = caps.iter().find(|(id, _)| u32::from(*id) == vfio::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)?;
    Some(pairs(ranges.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(bytes: &mut Vec<u8>, id: u16, next: u32, body: &[u64]) {
        bytes.extend(id.to_le_bytes());
        bytes.extend(1_u16.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        body.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    }

    #[test]
    fn sparse_areas_and_mappable_msix() {
        let mut answer = vec![0; 32];
        cap(&mut answer, 3, 40, &[]);
        cap(&mut answer, 1, 0, &[2, 0, 0x1000, 0x3000, 0x1000]);
        let caps = region_caps(&answer, 32);
        assert!(caps.msix_mappable);
        assert_eq!(caps.sparse, Some(vec![0..0x1000, 0x3000..0x4000]));
        assert_eq!(region_caps(&answer, 0), RegionCaps::default());
    }

    #[test]
    fn damaged_chains_end() {
        let mut looped = vec![0; 32];
        cap(&mut looped, 3, 32, &[]);
        assert!(region_caps(&looped, 32).msix_mappable);
        assert_eq!(chain(&looped, 32).len(), 1);
        let mut cut = vec![0; 32];
        cap(&mut cut, 1, 4096, &[1000, 0, 0x1000]);
        assert_eq!(region_caps(&cut, 32).sparse.map(|areas| areas.len()), Some(1));
        for first in [31, 33, 60, u32::MAX] {
            region_caps(&cut, first);
        }
        let mut overflow = vec![0; 32];
        cap(&mut overflow, 1, 0, &[1, u64::MAX, 2]);
        assert_eq!(region_caps(&overflow, 32).sparse, Some(Vec::new()));
    }

    #[test]
    fn addresses_that_an_iommu_can_map() {
        let mut answer = vec![0; 24];
        cap(&mut answer, 1, 0, &[2, 0, 0xfedf_ffff, 0xfef0_0000, u64::MAX]);
        assert_eq!(iova_ranges(&answer, 24), Some(vec![(0, 0xfedf_ffff), (0xfef0_0000, u64::MAX)]));
        assert_eq!(iova_ranges(&answer, 0), None);
    }
}
