// SPDX-License-Identifier: Apache-2.0
//! Kernel images from anywhere: loading one ends with an error, or with an entry, an initrd and a zero
//! page that lie in memory and beside each other.
#![no_main]

use std::io::Cursor;

use arch::boot::{self, BootSource, Entry, Protocol, Told};
use arch::layout;
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Offsets in the zero page (Documentation/arch/x86/boot.rst, zero-page.rst).
const RAMDISK_IMAGE: u64 = 0x218;
const RAMDISK_SIZE: u64 = 0x21c;
const E820_ENTRIES: u64 = 0x1e8;

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let bytes = [2 << 20, 4 << 20, 16 << 20, (16 << 20) + 4096][usize::from(script.u8() % 4)];
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), bytes)]).expect("guest memory");
    let options = script.u8();
    let mut initrd = Cursor::new(vec![0xa5; usize::from(script.u16()) * 16]);
    let has_initrd = options & 1 != 0;
    let cmdline = "x".repeat(usize::from(script.u8()) * usize::from(options & 8));
    let rsdp = (options & 4 != 0).then_some(layout::ACPI_TABLES);
    let protocol = if options & 2 != 0 { Protocol::Pvh } else { Protocol::Auto };
    let initrd_len = initrd.get_ref().len() as u64;
    let mut kernel = Cursor::new(script.rest().to_vec());
    let initrd = has_initrd.then_some(&mut initrd);
    let source = BootSource {
        kernel: &mut kernel,
        initrd,
        cmdline: &cmdline,
        protocol,
        told: Told { rsdp, has_vga: options & 16 != 0 },
    };
    let Ok(entry) = boot::load(&memory, source) else { return };

    let (at, zero_page) = match entry {
        Entry::Long { rip, zero_page } => (rip, Some(zero_page)),
        Entry::Protected32 { eip, zero_page } => (eip.into(), Some(zero_page)),
        Entry::Pvh { eip, .. } => (eip.into(), None),
    };
    assert!((at as usize) < bytes, "entry {at:#x} outside of {bytes:#x} bytes");
    let Some(zero_page) = zero_page else { return };
    assert_eq!(zero_page, layout::ZERO_PAGE);
    let word = |offset: u64| memory.read_obj::<u32>(GuestAddress(zero_page.0 + offset)).expect("it is in memory");
    let count: u8 = memory.read_obj(GuestAddress(zero_page.0 + E820_ENTRIES)).expect("it is in memory");
    assert!((1..=128).contains(&count), "{count} entries of the memory map");
    if has_initrd && initrd_len != 0 {
        let (start, size) = (u64::from(word(RAMDISK_IMAGE)), u64::from(word(RAMDISK_SIZE)));
        assert_eq!(size, initrd_len);
        assert!(start >= layout::HIGH_MEMORY && start + size <= bytes as u64, "initrd at {start:#x}");
        let (mut first, mut last) = ([0; 1], [0; 1]);
        memory.read_slice(&mut first, GuestAddress(start)).expect("in memory");
        memory.read_slice(&mut last, GuestAddress(start + size - 1)).expect("in memory");
        assert_eq!((first, last), ([0xa5], [0xa5]), "something lies on the initrd");
        assert!(!(start..start + size).contains(&at), "the entry is in the initrd");
    }
});
