// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use vm_memory::GuestAddress;

use super::*;
use crate::test_support::memory;

#[test]
fn small_memory_is_one_range() {
    assert_eq!(ram_ranges(64 << 20), Ok(vec![(GuestAddress(0), 64 << 20)]));
    assert_eq!(ram_ranges(3 << 30), Ok(vec![(GuestAddress(0), 3 << 30)]));
}

#[test]
fn large_memory_goes_on_above_4_gib() {
    assert_eq!(ram_ranges(8 << 30), Ok(vec![(GuestAddress(0), 3 << 30), (GuestAddress(HIGH_RAM), 5 << 30)]));
}

#[test]
fn impossible_sizes_are_told_apart() {
    assert_eq!(ram_ranges(0), Err(LayoutError::TooSmall(0)));
    assert_eq!(ram_ranges(MAX_MEMORY + PAGE_SIZE), Err(LayoutError::TooLarge(MAX_MEMORY + PAGE_SIZE)));
    assert_eq!(ram_ranges(MIN_MEMORY + 1), Err(LayoutError::Unaligned(MIN_MEMORY + 1)));
}

#[test]
fn nothing_overlaps() {
    let areas = [
        (0x400, 0x500),
        (GDT.0, GDT.0 + 0x28),
        (ZIMAGE_START, ZERO_PAGE.0),
        (ZERO_PAGE.0, ZERO_PAGE.0 + PAGE_SIZE),
        (PVH_START_INFO.0, PVH_START_INFO.0 + 56),
        (PVH_MODULES.0, PVH_MODULES.0 + 32),
        (PVH_MEMORY_MAP.0, PVH_MEMORY_MAP.0 + 16 * 24),
        (PAGE_TABLES.0, PAGE_TABLES.0 + 6 * PAGE_SIZE),
        (CMDLINE.0, CMDLINE.0 + CMDLINE_ROOM as u64),
        // Trampoline of later decompressors.
        ((EBDA.0 & !0xfff) - 2 * PAGE_SIZE, EBDA.0 & !0xfff),
        (EBDA.0, BASE_MEMORY_END),
        (ACPI_TABLES.0, ACPI_TABLES.0 + ACPI_ROOM as u64),
        (MP_TABLE.0, MP_TABLE.0 + MP_ROOM as u64),
        (SMBIOS.0, SMBIOS.0 + SMBIOS_ROOM as u64),
        (RESET_CODE.0, RESET_CODE.0 + 16),
        (RESET_VECTOR.0, RESET_VECTOR.0 + 16),
        (HIGH_MEMORY, HIGH_MEMORY + 1),
        (PCI_MMIO_START, PCI_MMIO_END),
        (IOAPIC, IOAPIC + PAGE_SIZE),
        // Local APIC, and all other addresses that message signalled interrupts are written to.
        (LAPIC, LAPIC + 0x10_0000),
        (KVM_IDENTITY_MAP, KVM_IDENTITY_MAP + PAGE_SIZE),
        (KVM_TSS, KVM_TSS + 3 * PAGE_SIZE),
        (FIRMWARE_START, HIGH_RAM),
    ];
    for pair in areas.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{pair:x?}");
    }
}

#[test]
fn low_ram_end_follows_the_memory() {
    assert_eq!(low_ram_end(&memory(16 << 20)), 16 << 20);
}

proptest! {
    #[test]
    fn ranges_cover_exactly_the_memory_and_avoid_the_hole(pages in MIN_MEMORY / PAGE_SIZE..MAX_MEMORY / PAGE_SIZE) {
        let memory = pages * PAGE_SIZE;
        let ranges = ram_ranges(memory).unwrap();
        prop_assert_eq!(ranges.iter().map(|r| r.1 as u64).sum::<u64>(), memory);
        for (start, len) in ranges {
            let end = start.0 + len as u64;
            prop_assert!(end <= PCI_MMIO_START || start.0 >= HIGH_RAM);
            prop_assert!(end <= 1 << 46);
        }
    }
}
