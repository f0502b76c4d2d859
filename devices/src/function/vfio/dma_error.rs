// SPDX-License-Identifier: Apache-2.0
//! Why memory could not be mapped for DMA, in words that tell the operator what to do.
#![forbid(unsafe_code)]

use std::io;

use thiserror::Error;

const MIB: u64 = 1 << 20;

/// A mapping that failed.
#[derive(Debug, Error)]
pub enum DmaError {
    /// More than this process may lock.
    #[error(
        "{wanted_mib} MiB must stay in memory for DMA, {mapped_mib} MiB do already, and this process may lock {limit_mib} MiB: raise the limit (ulimit -l, LimitMEMLOCK= of a systemd unit, memlock in /etc/security/limits.conf) to more than the guest's memory"
    )]
    LockLimit {
        /// MiB of the region, rounded up.
        wanted_mib: u64,
        /// MiB mapped before.
        mapped_mib: u64,
        /// RLIMIT_MEMLOCK in MiB.
        limit_mib: u64,
    },
    /// No memory, or no room in the IOMMU's tables, although the limit would allow it.
    #[error(
        "the host has no memory left to keep {wanted_mib} MiB in place for DMA: use a smaller guest, or free memory"
    )]
    NoMemory {
        /// MiB of the region, rounded up.
        wanted_mib: u64,
    },
    /// The memory is not there when it is touched.
    #[error(
        "the host cannot provide the {wanted_mib} MiB that are to be mapped for DMA: with huge pages, reserve enough of them (vm.nr_hugepages; HugePages_Free in /proc/meminfo)"
    )]
    NotBacked {
        /// MiB of the region, rounded up.
        wanted_mib: u64,
    },
    /// The IOMMU cannot translate all of these addresses.
    #[error(
        "addresses {start:#x} to {last:#x} cannot be mapped by this host's IOMMU, whose ranges are {ranges}: the firmware reserves the rest, or the IOMMU has fewer address bits; use less guest memory, or an IOMMU with wider addresses"
    )]
    Reserved {
        /// First address wanted.
        start: u64,
        /// Last address wanted.
        last: u64,
        /// What can be mapped.
        ranges: String,
    },
    /// Not a whole number of pages.
    #[error("{len:#x} bytes at {start:#x} are not whole pages of 4096 bytes")]
    Unaligned {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// Something else is mapped there.
    #[error("addresses {start:#x} to {last:#x} are mapped to other memory already")]
    Overlap {
        /// First address of the other mapping.
        start: u64,
        /// Its last address.
        last: u64,
    },
    /// Not mapped by this function.
    #[error("no mapping of this function begins at {0:#x}")]
    NotMapped(u64),
    /// The container has room for a number of mappings only.
    #[error("the container has no room for another mapping: raise dma_entry_limit of module vfio_iommu_type1")]
    TooMany,
    /// Another reason.
    #[error("the kernel refused {len:#x} bytes at {start:#x}")]
    Call {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What is known when the kernel refuses a mapping.
pub(super) struct Refused<'a> {
    /// First address of the region.
    pub(super) start: u64,
    /// Bytes of the region.
    pub(super) len: u64,
    /// Bytes mapped before.
    pub(super) mapped: u64,
    /// RLIMIT_MEMLOCK in bytes, if there is one.
    pub(super) limit: Option<u64>,
    /// Ranges that the IOMMU can map, if known.
    pub(super) ranges: Option<&'a [(u64, u64)]>,
}

impl Refused<'_> {
    /// Explains the kernel's answer.
    pub(super) fn explain(&self, source: io::Error) -> DmaError {
        let last = self.start.saturating_add(self.len.saturating_sub(1));
        let wanted_mib = self.len.div_ceil(MIB);
        match (source.raw_os_error(), self.limit, self.ranges) {
            (Some(libc::ENOMEM), Some(limit), _) if self.mapped.saturating_add(self.len) > limit => {
                let (mapped_mib, limit_mib) = (self.mapped.div_ceil(MIB), limit / MIB);
                DmaError::LockLimit { wanted_mib, mapped_mib, limit_mib }
            }
            (Some(libc::ENOMEM), ..) => DmaError::NoMemory { wanted_mib },
            // A huge page that was not reserved, and is needed now.
            (Some(libc::EFAULT), ..) => DmaError::NotBacked { wanted_mib },
            (Some(libc::ENOSPC), ..) => DmaError::TooMany,
            (Some(libc::EINVAL | libc::EOVERFLOW | libc::EADDRINUSE), _, Some(ranges))
                if !inside(ranges, self.start, last) =>
            {
                let text: Vec<_> = ranges.iter().map(|(start, end)| format!("{start:#x}-{end:#x}")).collect();
                DmaError::Reserved { start: self.start, last, ranges: text.join(", ") }
            }
            _ => DmaError::Call { start: self.start, len: self.len, source },
        }
    }
}

/// Whether one of the ranges holds all of it.
fn inside(ranges: &[(u64, u64)], start: u64, last: u64) -> bool {
    ranges.iter().any(|(first, end)| *first <= start && last <= *end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: &[(u64, u64)] = &[(0, 0xfedf_ffff), (0xfef0_0000, 0x7f_ffff_ffff)];

    fn explain(errno: i32, (start, len): (u64, u64), limit: Option<u64>) -> DmaError {
        let refused = Refused { start, len, mapped: 64 * MIB, limit, ranges: Some(RANGES) };
        refused.explain(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn no_memory_is_the_limit_if_it_is_reached() {
        let error = explain(libc::ENOMEM, (0, 256 * MIB), Some(128 * MIB));
        let expected =
            "256 MiB must stay in memory for DMA, 64 MiB do already, and this process may lock 128 MiB: raise";
        assert!(error.to_string().starts_with(expected), "{error}");
        for limit in [None, Some(1 << 40)] {
            assert!(matches!(explain(libc::ENOMEM, (0, 256 * MIB), limit), DmaError::NoMemory { wanted_mib: 256 }));
        }
    }

    #[test]
    fn invalid_is_reserved_if_it_is() {
        let error = explain(libc::EINVAL, (0xfe00_0000, 0x200_0000), None);
        assert!(error.to_string().contains("0xfe000000 to 0xffffffff"), "{error}");
        assert!(error.to_string().contains("0x0-0xfedfffff, 0xfef00000-0x7fffffffff"), "{error}");
        assert!(matches!(explain(libc::EINVAL, (0x7f_ffff_f000, 0x2000), None), DmaError::Reserved { .. }));
        assert!(matches!(explain(libc::EINVAL, (0, 0x2000), None), DmaError::Call { .. }));
        assert!(matches!(explain(libc::ENOSPC, (0, 0x2000), None), DmaError::TooMany));
        assert!(matches!(explain(libc::EFAULT, (0, 64 * MIB), None), DmaError::NotBacked { wanted_mib: 64 }));
    }
}
