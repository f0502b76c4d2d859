// SPDX-License-Identifier: Apache-2.0
//! The host's pools of huge pages: whether there are enough for a guest, and what to do if not.
//! Reading and judging are apart, so that the judgement is tested without a host.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use super::KvmError;

const POOLS: &str = "/sys/kernel/mm/hugepages";

/// The pool of huge pages of one size, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pool {
    /// In the pool, used or not.
    pages: u64,
    free: u64,
    /// Promised to somebody who has not touched them yet.
    reserved: u64,
    /// That the kernel may still add by itself.
    surplus_left: u64,
}

impl Pool {
    /// Asks the host for the pool of pages of `size` bytes; `None` if it has no such pages.
    pub(super) fn read(size: u64) -> Option<Self> {
        Self::read_at(Path::new(POOLS), size)
    }

    fn read_at(pools: &Path, size: u64) -> Option<Self> {
        let pool = pools.join(format!("hugepages-{}kB", size >> 10));
        let number = |file: &str| fs::read_to_string(pool.join(file)).ok()?.trim().parse::<u64>().ok();
        let (most, surplus) = (number("nr_overcommit_hugepages"), number("surplus_hugepages"));
        Some(Self {
            pages: number("nr_hugepages")?,
            free: number("free_hugepages")?,
            reserved: number("resv_hugepages").unwrap_or(0),
            surplus_left: most.unwrap_or(0).saturating_sub(surplus.unwrap_or(0)),
        })
    }

    /// Whether `wanted` bytes can be had in pages of `size` bytes.
    ///
    /// # Errors
    /// [`KvmError::HugePages`] with the command that makes the pool large enough.
    pub(super) fn check(pool: Option<Self>, wanted: u64, size: u64) -> Result<(), KvmError> {
        let page = api::format_size(size);
        let Some(pool) = pool else { return Err(KvmError::NoHugePages { page }) };
        let needed = wanted.div_ceil(size.max(1));
        let available = pool.free.saturating_sub(pool.reserved).saturating_add(pool.surplus_left);
        if needed <= available {
            return Ok(());
        }
        Err(KvmError::HugePages {
            needed,
            available,
            page,
            pages: pool.pages.saturating_add(needed - available),
            size_kib: size >> 10,
        })
    }
}

#[cfg(test)]
#[path = "huge_pages_tests.rs"]
mod tests;
