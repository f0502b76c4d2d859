// SPDX-License-Identifier: Apache-2.0
//! Good images: what is where after loading.

use std::io::Cursor;

use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::test_support::*;

const MEM: usize = 64 << 20;
const RSDP: GuestAddress = layout::ACPI_TABLES;

type Bytes8 = Cursor<Vec<u8>>;

fn boot(mem: &Memory, kernel: Vec<u8>, initrd: Option<Vec<u8>>, cmdline: &str) -> Result<Entry, BootError> {
    boot_as(mem, kernel, initrd, cmdline, Protocol::Auto)
}

fn boot_as(
    mem: &Memory,
    kernel: Vec<u8>,
    initrd: Option<Vec<u8>>,
    cmdline: &str,
    protocol: Protocol,
) -> Result<Entry, BootError> {
    let mut kernel: Bytes8 = Cursor::new(kernel);
    let mut initrd = initrd.map(Cursor::new);
    load(
        mem,
        BootSource {
            kernel: &mut kernel,
            initrd: initrd.as_mut(),
            cmdline,
            protocol,
            told: Told { rsdp: Some(RSDP), has_vga: false },
        },
    )
}

fn zero_page(mem: &Memory) -> Vec<u8> {
    read(mem, layout::ZERO_PAGE.0, 4096)
}

/// `(start, end, kind)` of the E820 entries in a zero page.
fn e820_of(page: &[u8]) -> Vec<(u64, u64, u32)> {
    let entries = page[0x1e8] as usize;
    let at = |i: usize| 0x2d0 + 20 * i;
    let range = |i| (u64_at(page, at(i)), u64_at(page, at(i)) + u64_at(page, at(i) + 8), u32_at(page, at(i) + 16));
    (0..entries).map(range).collect()
}

fn cmdline_of(mem: &Memory, at: u64) -> String {
    let bytes = read(mem, at, layout::CMDLINE_ROOM);
    String::from_utf8(bytes.into_iter().take_while(|b| *b != 0).collect()).unwrap()
}

#[test]
fn modern_bzimage_enters_in_long_mode() {
    let (mem, spec) = (memory(MEM), BzImageSpec::modern());
    let entry = boot(&mem, spec.build(), None, "console=ttyS0").unwrap();
    assert_eq!(entry, Entry::Long { rip: 0x10_0200, zero_page: layout::ZERO_PAGE });
    assert_eq!(read(&mem, 0x10_0000, spec.payload.len()), spec.payload);

    let page = zero_page(&mem);
    assert_eq!(&page[0x202..0x206], b"HdrS");
    assert_eq!(page[0x210], 0xff, "type_of_loader");
    assert_eq!(page[0x211], 1, "loadflags");
    assert_eq!(cmdline_of(&mem, u32_at(&page, 0x228).into()), "console=ttyS0");
    assert_eq!((u32_at(&page, 0x218), u32_at(&page, 0x21c)), (0, 0), "no initrd");
    assert_eq!(u64_at(&page, 0x70), RSDP.0);
    assert_eq!(page[0x1ef], 0, "sentinel: else the kernel clears the page");
    assert_eq!(u32_at(&page, 0x260), spec.init_size, "header is complete");
    assert_eq!(e820_of(&page)[3], (0x10_0000, MEM as u64, 1));
}

#[test]
fn bzimage_without_the_64_bit_entry_starts_in_protected_mode() {
    for (version, xloadflags) in [(0x20f, 0), (0x20b, 1), (0x206, 0)] {
        let (mem, spec) = (memory(MEM), BzImageSpec { version, xloadflags, ..BzImageSpec::modern() });
        let entry = boot(&mem, spec.build(), None, "").unwrap();
        assert_eq!(entry, Entry::Protected32 { eip: 0x10_0000, zero_page: layout::ZERO_PAGE }, "{version:#x}");
    }
}

#[test]
fn zimage_is_put_where_its_setup_code_moves_it() {
    let (mem, spec) = (memory(MEM), BzImageSpec::zimage());
    let entry = boot(&mem, spec.build(), Some(vec![7; 4096]), "console=ttyS0").unwrap();
    assert_eq!(entry, Entry::Protected32 { eip: 0x1000, zero_page: layout::ZERO_PAGE });
    assert_eq!(read(&mem, 0x1000, spec.payload.len()), spec.payload);
    let page = zero_page(&mem);
    assert_eq!((page[0x211] & 1, u32_at(&page, 0x21c)), (0, 4096), "not loaded high; initrd");
    // The largest one ends below the zero page, and needs memory above 1 MiB to unpack into.
    let largest = BzImageSpec { payload: vec![0x90; 0x8_0000], ..BzImageSpec::zimage() };
    boot(&mem, largest.build(), None, "").unwrap();
    assert_eq!(&zero_page(&mem)[0x202..0x206], b"HdrS");
    let error = boot(&memory(2 << 20), largest.build(), None, "").unwrap_err();
    assert!(matches!(error, BootError::KernelTooBig { needed: 0x28_0000, .. }), "{error}");
}

/// Kernels look at 0x90020, whatever the zero page's address (`OLD_CL_MAGIC_ADDR`).
#[test]
fn protocols_before_2_02_find_the_command_line_by_its_magic_number() {
    for version in [0x200, 0x201, 0x202] {
        let mem = memory(MEM);
        let spec = BzImageSpec { version, header_len: 0x22, ..BzImageSpec::v2_04() };
        boot(&mem, spec.build(), None, "root=/dev/hda1").unwrap();
        let (old, pointer) = (read(&mem, 0x9_0020, 4), u32_at(&zero_page(&mem), 0x228));
        if version < 0x202 {
            assert_eq!((u16_at(&old, 0), pointer), (0xa33f, 0), "no field of that protocol");
            assert_eq!(cmdline_of(&mem, 0x9_0000 + u64::from(u16_at(&old, 2))), "root=/dev/hda1");
        } else {
            assert_eq!((u32_at(&old, 0), pointer), (0, layout::CMDLINE.0 as u32));
        }
    }
}

#[test]
fn the_entry_that_is_asked_for_or_an_error() {
    let segment = || [load_segment(0x20_0000, b"code", 0x100), pvh_note(0x20_0040)];
    let images = [
        ("bzImage", BzImageSpec::modern().build(), [Some(64), Some(32), None]),
        ("old bzImage", BzImageSpec::v2_04().build(), [None, Some(32), None]),
        ("zImage", BzImageSpec::zimage().build(), [None, Some(32), None]),
        ("64-bit vmlinux", elf64(0x20_0000, &segment()), [Some(64), None, Some(0)]),
        ("32-bit vmlinux", elf32(0x20_0000, &segment()), [None, Some(32), Some(0)]),
    ];
    for (name, image, expected) in images {
        let wanted = [Protocol::Linux64, Protocol::Linux32, Protocol::Pvh];
        for (protocol, expected) in wanted.into_iter().zip(expected) {
            let found = match boot_as(&memory(MEM), image.clone(), None, "", protocol) {
                Ok(Entry::Long { .. }) => Some(64),
                Ok(Entry::Protected32 { .. }) => Some(32),
                Ok(Entry::Pvh { .. }) => Some(0),
                Err(BootError::NoSuchEntry { wanted, .. }) if wanted == protocol => None,
                Err(other) => panic!("{name}: {other}"),
            };
            assert_eq!(found, expected, "{name} by {protocol}");
        }
    }
}

#[test]
fn short_header_is_not_read_beyond_its_end() {
    let mem = memory(MEM);
    let entry = boot(&mem, BzImageSpec::v2_04().build(), None, "").unwrap();
    assert_eq!(entry, Entry::Protected32 { eip: 0x10_0000, zero_page: layout::ZERO_PAGE });
    let page = zero_page(&mem);
    // The fixture has 0xCC there: setup code in a real kernel.
    assert_eq!(page[0x230..0x26c], [0; 0x3c], "nothing but the header reaches the zero page");
    assert_eq!(u32_at(&page, 0x22c), 0x7fff_ffff, "the last field of 2.04 does");
}

#[test]
fn old_kernels_get_a_text_screen_and_no_rsdp() {
    let mem = memory(MEM);
    boot(&mem, BzImageSpec::v2_04().build(), None, "").unwrap();
    let page = zero_page(&mem);
    assert_eq!((page[6], page[7], page[0xe], page[0xf], page[0x10]), (3, 80, 25, 1, 16));
    assert_eq!(u64_at(&page, 0x70), 0, "acpi_rsdp_addr came with 2.14");

    boot(&mem, BzImageSpec::modern().build(), None, "").unwrap();
    let page = zero_page(&mem);
    assert_eq!((&page[..2], &page[4..0x40]), (&[0; 2][..], &[0; 0x3c][..]), "no screen for later kernels");
}

#[test]
fn every_kernel_is_told_of_a_vga() {
    let mem = memory(MEM);
    let mut kernel: Bytes8 = Cursor::new(BzImageSpec::modern().build());
    let source = BootSource {
        kernel: &mut kernel,
        initrd: None,
        cmdline: "",
        protocol: Protocol::Auto,
        told: Told { rsdp: None, has_vga: true },
    };
    load(&mem, source).unwrap();
    let page = zero_page(&mem);
    assert_eq!((page[6], page[7], page[0xe], page[0xf], page[0x10]), (3, 80, 25, 1, 16));
}

/// The check of 2.4's `setup_output_buffer_if_we_run_high`, and what it takes for its low buffer.
#[test]
fn old_decompressors_find_memory_and_nothing_of_ours_in_their_way() {
    for (bytes, alternative, extended) in
        [(4 << 20, 3 << 10, 3 << 10), (MEM, 63 << 10, 63 << 10), (1 << 28, 255 << 10, 0xffff)]
    {
        let mem = memory(bytes);
        mem.write_slice(&[0xa5; 0x8_f000], GuestAddress(0x1000)).unwrap();
        boot(&mem, BzImageSpec::v2_04().build(), None, "console=ttyS0").unwrap();
        let page = zero_page(&mem);
        assert_eq!((u32_at(&page, 0x1e0), u16_at(&page, 2)), (alternative, extended), "alt_mem_k, ext_mem_k");
        assert!(u32_at(&page, 0x1e0).max(u16_at(&page, 2).into()) >= 3 * 1024);
        let low_buffer_end = layout::ZERO_PAGE.0.min(0x9_0000) & !0xfff;
        let free = read(&mem, 0x1000, (low_buffer_end - 0x1000) as usize);
        assert!(free.len() >= 0x8_f000 && free.iter().all(|byte| *byte == 0xa5), "they overwrite it");
    }
}

#[test]
fn what_no_bios_has_left_behind_is_absent() {
    let mem = memory(MEM);
    boot(&mem, BzImageSpec::v2_04().build(), None, "").unwrap();
    let page = zero_page(&mem);
    assert_eq!(page[0x40..0x54], [0; 0x14], "APM");
    assert_eq!(page[0x80..0xb0], [0; 0x30], "drive tables, MCA's table");
    assert_eq!((page[0x1e9], page[0x1ff], page[0x1ea]), (0, 0, 0), "EDD, PS/2 mouse, EDD's signatures");
    assert_eq!(page[0x1c0..0x1e0], [0; 0x20], "EFI");
}

#[test]
fn initrd_goes_to_the_top_page_aligned() {
    let mem = memory(MEM);
    let initrd = b"cpio".repeat(1500);
    boot(&mem, BzImageSpec::modern().build(), Some(initrd.clone()), "").unwrap();
    let page = zero_page(&mem);
    let (start, size) = (u32_at(&page, 0x218), u32_at(&page, 0x21c));
    assert_eq!((start as usize, size as usize), (MEM - 0x2000, 6000));
    assert_eq!(read(&mem, start.into(), 6000), initrd);
}

#[test]
fn initrd_stays_below_the_kernels_limit() {
    let mem = memory(MEM);
    let spec = BzImageSpec { initrd_addr_max: 0x1ff_ffff, ..BzImageSpec::modern() };
    boot(&mem, spec.build(), Some(vec![1; 4096]), "").unwrap();
    assert_eq!(u32_at(&zero_page(&mem), 0x218), 0x200_0000 - 4096);
}

#[test]
fn initrd_does_not_touch_what_the_kernel_unpacks_into() {
    // Runs at 16 MiB and needs 2 MiB: 1 MiB below the limit of 20 MiB is free, 3 MiB are not.
    let spec = BzImageSpec { initrd_addr_max: 0x13f_ffff, ..BzImageSpec::modern() };
    let mem = memory(MEM);
    boot(&mem, spec.build(), Some(vec![1; 1 << 20]), "").unwrap();
    let error = boot(&mem, spec.build(), Some(vec![1; 3 << 20]), "").unwrap_err();
    assert!(matches!(error, BootError::Initrd(InitrdError::TooBig { size: 0x30_0000, room: 0x20_0000 })), "{error}");
}

#[test]
fn kernel_that_unpacks_beyond_memory_is_refused() {
    let spec = BzImageSpec { init_size: 0x100_0000, ..BzImageSpec::modern() };
    let error = boot(&memory(16 << 20), spec.build(), None, "").unwrap_err();
    assert!(matches!(error, BootError::KernelTooBig { needed: 0x200_0000, available: 0x100_0000 }), "{error}");
    boot(&memory(32 << 20), spec.build(), None, "").unwrap();
}

#[test]
fn command_line_limit_follows_the_protocol() {
    let old = BzImageSpec { version: 0x205, ..BzImageSpec::modern() };
    for (spec, max) in [(old, 255), (BzImageSpec::modern(), 2047)] {
        let mem = memory(MEM);
        let longest = "x".repeat(max);
        boot(&mem, spec.build(), None, &longest).unwrap();
        assert_eq!(cmdline_of(&mem, layout::CMDLINE.0), longest);
        let error = boot(&mem, spec.build(), None, &"x".repeat(max + 1)).unwrap_err();
        assert!(
            matches!(error, BootError::Cmdline(CmdlineError::TooLong { actual, max: m }) if (actual, m) == (max + 1, max)),
            "{error}"
        );
    }
}

#[test]
fn second_command_line_does_not_show_the_first() {
    let mem = memory(MEM);
    boot(&mem, BzImageSpec::modern().build(), None, "a long first line").unwrap();
    boot(&mem, BzImageSpec::modern().build(), None, "short").unwrap();
    assert_eq!(cmdline_of(&mem, layout::CMDLINE.0), "short");
}

#[test]
fn vmlinux_enters_in_long_mode_with_zeroed_bss() {
    let mem = memory(MEM);
    mem.write_slice(&[0xaa; 0x3000], GuestAddress(0x20_0000)).unwrap();
    let image = elf64(0x20_0004, &[load_segment(0x20_0000, b"code and data", 0x2800), pvh_note(0x20_0008)]);
    let entry = boot(&mem, image, None, "quiet").unwrap();
    assert_eq!(entry, Entry::Long { rip: 0x20_0004, zero_page: layout::ZERO_PAGE });
    assert_eq!(read(&mem, 0x20_0000, 13), b"code and data");
    assert_eq!(read(&mem, 0x20_000d, 0x27f3), vec![0; 0x27f3]);
    assert_eq!(read(&mem, 0x20_2800, 1), [0xaa], "not beyond the segment");
    let page = zero_page(&mem);
    assert_eq!((u16_at(&page, 0x1fe), &page[0x202..0x206]), (0xaa55, &b"HdrS"[..]));
    assert_eq!(u32_at(&page, 0x228), layout::CMDLINE.0 as u32);
}

#[test]
fn segment_of_pure_bss_counts_for_the_initrd() {
    let mem = memory(MEM);
    let image =
        elf64(0x20_0000, &[load_segment(0x20_0000, b"x", 1), load_segment(0x30_0000, b"", (MEM - 0x30_0000) as u64)]);
    let error = boot(&mem, image, Some(vec![1; 1]), "").unwrap_err();
    assert!(matches!(error, BootError::Initrd(InitrdError::TooBig { .. })), "{error}");
}

#[test]
fn e16_bss_may_have_an_offset_beyond_the_end_of_the_file() {
    let mem = memory(MEM);
    mem.write_slice(&[0xaa; 0x1000], GuestAddress(0x30_0000)).unwrap();
    let mut image = elf64(0x20_0000, &[load_segment(0x20_0000, b"x", 1), load_segment(0x30_0000, b"", 0x1000)]);
    // p_offset of the second program header.
    let offset = 64 + 56 + 8;
    image[offset..offset + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    boot(&mem, image, None, "").unwrap();
    assert_eq!(read(&mem, 0x30_0000, 0x1000), vec![0; 0x1000]);
}

#[test]
fn e16_initrd_stays_in_what_the_command_line_leaves_of_memory() {
    for (cmdline, end) in [
        ("mem=32M quiet", 32 << 20),
        ("quiet mem=0x1800000", 24 << 20),
        ("memory=32M smem=1M mem=nopentium", MEM as u32),
    ] {
        let mem = memory(MEM);
        boot(&mem, BzImageSpec::modern().build(), Some(vec![1; 4096]), cmdline).unwrap();
        assert_eq!(u32_at(&zero_page(&mem), 0x218), end - 4096, "{cmdline}");
    }
    let error = boot(&memory(MEM), BzImageSpec::modern().build(), Some(vec![1; 4096]), "mem=16M").unwrap_err();
    assert!(matches!(error, BootError::Initrd(InitrdError::TooBig { .. })) && error.to_string().contains("mem="));
}

/// Disassembled by hand: `ljmp F000:FFE0`, and there `mov dx, 0xcf9; mov al, 6; out dx, al; hlt; jmp -3`.
#[test]
fn e16_real_mode_finds_a_way_to_reset_where_a_bios_would_be() {
    let mem = memory(MEM);
    boot(&mem, BzImageSpec::v2_04().build(), None, "").unwrap();
    assert_eq!(read(&mem, 0xf_fff0, 16), b"\xea\xe0\xff\x00\xf004/01/14\x00\xfc\x00");
    assert_eq!(read(&mem, 0xf_ffe0, 9), [0xba, 0xf9, 0x0c, 0xb0, 6, 0xee, 0xf4, 0xeb, 0xfd]);
}

#[test]
fn pvh_entry_is_found_before_other_notes() {
    let mem = memory(MEM);
    let image = elf64(0x20_0000, &[load_segment(0x20_0000, b"code", 0x100), pvh_note(0x20_0040), other_note()]);
    let entry = boot_as(&mem, image, Some(vec![7; 5000]), "root=/dev/vda", Protocol::Pvh).unwrap();
    assert_eq!(entry, Entry::Pvh { eip: 0x20_0040, start_info: layout::PVH_START_INFO });

    let info = read(&mem, layout::PVH_START_INFO.0, 56);
    assert_eq!((u32_at(&info, 0), u32_at(&info, 4)), (0x336e_c578, 1));
    assert_eq!(u32_at(&info, 12), 1, "modules");
    let module = read(&mem, u64_at(&info, 16), 32);
    assert_eq!((u64_at(&module, 0), u64_at(&module, 8)), (MEM as u64 - 0x2000, 5000));
    assert_eq!(cmdline_of(&mem, u64_at(&info, 24)), "root=/dev/vda");
    assert_eq!(u64_at(&info, 32), RSDP.0);
    let map = read(&mem, u64_at(&info, 40), 24 * u32_at(&info, 48) as usize);
    assert_eq!((u64_at(&map, 72), u64_at(&map, 80), u32_at(&map, 88)), (0x10_0000, MEM as u64 - 0x10_0000, 1));
}

#[test]
fn elf32_uses_pvh_with_the_note_and_protected_mode_without() {
    let code = load_segment(0x10_0000, b"code", 0x100);
    let with_note = elf32(0x10_0000, &[code.clone(), pvh_note(0x10_0010)]);
    let entry = boot(&memory(MEM), with_note, None, "").unwrap();
    assert_eq!(entry, Entry::Pvh { eip: 0x10_0010, start_info: layout::PVH_START_INFO });
    let entry = boot(&memory(MEM), elf32(0x10_0020, &[code]), None, "").unwrap();
    assert_eq!(entry, Entry::Protected32 { eip: 0x10_0020, zero_page: layout::ZERO_PAGE });
}

#[test]
fn gdt_fits_the_entry() {
    // Flat 4 GiB code and data at 0x10 and 0x18; 64-bit or 32-bit code.
    let gdt = |mem: &Memory| read(mem, layout::GDT.0, 40);
    let mem = memory(MEM);
    boot(&mem, BzImageSpec::modern().build(), None, "").unwrap();
    assert_eq!((u64_at(&gdt(&mem), 0x10), u64_at(&gdt(&mem), 0x18)), (0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff));
    boot(&mem, BzImageSpec::v2_04().build(), None, "").unwrap();
    assert_eq!(u64_at(&gdt(&mem), 0x10), 0x00cf_9b00_0000_ffff);
}

#[test]
fn bios_data_area_describes_base_memory() {
    let mem = memory(MEM);
    boot(&mem, BzImageSpec::modern().build(), None, "").unwrap();
    assert_eq!(u16_at(&read(&mem, 0x413, 2), 0), 639);
    let ebda = u64::from(u16_at(&read(&mem, 0x40e, 2), 0)) << 4;
    assert_eq!((ebda, read(&mem, ebda, 1)), (0x9_fc00, vec![1]));
}

/// `HEIRLOOM_TEST_BZIMAGE=/boot/vmlinuz-... cargo test -p arch -- --ignored`
#[test]
#[ignore = "needs HEIRLOOM_TEST_BZIMAGE, a 64-bit distribution kernel"]
fn real_bzimage_loads() {
    let path = std::env::var("HEIRLOOM_TEST_BZIMAGE").expect("HEIRLOOM_TEST_BZIMAGE names a bzImage");
    let mut kernel = std::fs::File::open(path).unwrap();
    let mem = memory(512 << 20);
    let source = BootSource {
        kernel: &mut kernel,
        initrd: None,
        cmdline: "quiet",
        protocol: Protocol::Auto,
        told: Told { rsdp: None, has_vga: false },
    };
    let entry = load(&mem, source).unwrap();
    assert_eq!(entry, Entry::Long { rip: 0x10_0200, zero_page: layout::ZERO_PAGE });
    assert_ne!(read(&mem, 0x10_0200, 64), vec![0; 64]);
}
