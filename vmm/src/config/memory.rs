// SPDX-License-Identifier: Apache-2.0
//! Where guest memory comes from, checked without allocating any.

use api::{FunctionOrigin, MemoryConfig, VfOrigin, VmConfig, format_size};

use super::ConfigError;

// What can be configured can be built.
const _: () = assert!(arch::layout::MIN_MEMORY <= api::MIN_MEMORY && api::MAX_MEMORY == arch::layout::MAX_MEMORY);

/// Sizes of huge pages that x86-64 processors have.
const HUGE_PAGES: [u64; 2] = [2 << 20, 1 << 30];

/// Main memory, and where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Bytes.
    pub size: u64,
    /// Bytes of a huge page from the host's pool, if it is to be made of those.
    pub hugetlb: Option<u64>,
    /// All of it before the guest starts.
    pub prefault: bool,
    /// With a file that other processes can map.
    pub shared: bool,
}

impl MemoryPlan {
    pub(super) fn check(config: &VmConfig) -> Result<Self, ConfigError> {
        let memory = &config.memory;
        check_size(memory)?;
        // Whoever serves a function has to reach the guest's memory.
        let served = config.legacy_virtio.iter().any(|device| matches!(device.origin, VfOrigin::Served(_)))
            || config.devices.iter().any(|device| matches!(device.origin, FunctionOrigin::Served(_)));
        Ok(Self {
            size: memory.size,
            hugetlb: huge_page(memory)?,
            prefault: memory.prefault,
            shared: memory.shared || served,
        })
    }
}

fn check_size(memory: &MemoryConfig) -> Result<(), ConfigError> {
    api::check_memory_size(memory.size).map_err(|text| ConfigError::Value { field: "memory.size", text })
}

fn huge_page(memory: &MemoryConfig) -> Result<Option<u64>, ConfigError> {
    let usage = |text: String| Err(ConfigError::Value { field: "memory.hugepage_size", text });
    let Some(page) = memory.hugepage_size.or_else(|| memory.hugepages.then_some(HUGE_PAGES[0])) else {
        return Ok(None);
    };
    if !memory.hugepages {
        return usage("hugepage_size is given, and huge pages are off: add hugepages=on".to_owned());
    }
    if !HUGE_PAGES.contains(&page) {
        return usage(format!("hugepage_size={}: must be 2M or 1G", format_size(page)));
    }
    if !memory.size.is_multiple_of(page) {
        return usage(format!(
            "memory size {}: must be a multiple of the huge pages' {}; use {}",
            format_size(memory.size),
            format_size(page),
            memory.size.checked_next_multiple_of(page).map_or("less".to_owned(), format_size)
        ));
    }
    Ok(Some(page))
}
