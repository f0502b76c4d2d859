// SPDX-License-Identifier: Apache-2.0
//! Damaged, foreign and random images: an error that names the fault, never a panic.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::test_support::*;

const MEM: usize = 32 << 20;

fn boot(kernel: &[u8]) -> Result<Entry, BootError> {
    boot_in(&memory(MEM), kernel, None)
}

fn boot_in(mem: &Memory, kernel: &[u8], initrd: Option<&[u8]>) -> Result<Entry, BootError> {
    let mut kernel = Cursor::new(kernel);
    let mut initrd = initrd.map(Cursor::new);
    let source = BootSource {
        kernel: &mut kernel,
        initrd: initrd.as_mut(),
        cmdline: "console=ttyS0",
        protocol: Protocol::Auto,
        told: Told { rsdp: None, has_vga: false },
    };
    load(mem, source)
}

fn good_elf() -> Vec<u8> {
    elf64(0x20_0000, &[load_segment(0x20_0000, b"code", 0x100), pvh_note(0x20_0040)])
}

fn patched(mut image: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

fn elf_error(image: &[u8]) -> ElfError {
    match boot(image).unwrap_err() {
        BootError::Elf(error) => error,
        other => panic!("{other}"),
    }
}

fn bzimage_error(spec: BzImageSpec) -> BzImageError {
    match boot(&spec.build()).unwrap_err() {
        BootError::BzImage(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn foreign_files_are_not_kernels() {
    for image in [&b""[..], b"\x1f\x8b compressed", b"\x7fEL", &[0; 4096]] {
        assert!(matches!(boot(image), Err(BootError::UnknownImage)));
    }
    assert!(boot(&[0; 64]).unwrap_err().to_string().contains("bzImage"), "the error says what is accepted");
}

#[test]
fn directory_and_missing_bytes_are_read_errors() {
    let mut directory = std::fs::File::open(std::env::temp_dir()).unwrap();
    let source = BootSource {
        kernel: &mut directory,
        initrd: None,
        cmdline: "",
        protocol: Protocol::Auto,
        told: Told { rsdp: None, has_vga: false },
    };
    assert!(matches!(load(&memory(MEM), source), Err(BootError::ReadKernel(_))));
}

#[test]
fn elf_for_another_machine_is_named() {
    let arm = patched(good_elf(), 18, &183u16.to_le_bytes());
    assert_eq!(elf_error(&arm), ElfError::Foreign { class: 2, data: 1, machine: 183 });
    let big_endian = patched(good_elf(), 5, &[2]);
    assert_eq!(elf_error(&big_endian), ElfError::Foreign { class: 2, data: 2, machine: 62 });
    assert_eq!(elf_error(&patched(good_elf(), 16, &[1, 0])), ElfError::NotExecutable(1));
}

#[test]
fn elf_program_headers_are_checked() {
    assert_eq!(elf_error(&patched(good_elf(), 54, &[32, 0])), ElfError::ProgramHeaders { count: 2, size: 32 });
    assert_eq!(elf_error(&patched(good_elf(), 56, &[0, 0])), ElfError::ProgramHeaders { count: 0, size: 56 });
    let many = patched(good_elf(), 56, &u16::MAX.to_le_bytes());
    assert_eq!(elf_error(&many), ElfError::ProgramHeaders { count: u16::MAX, size: 56 });
    assert_eq!(elf_error(&elf64(0, &[pvh_note(0)])), ElfError::NothingToLoad);
    assert_eq!(elf_error(&patched(good_elf(), 32, &u64::MAX.to_le_bytes()[..7])), ElfError::Truncated);
}

#[test]
fn elf_segments_are_checked() {
    let bad = |paddr, memsz| elf_error(&elf64(paddr, &[load_segment(paddr, b"code", memsz)]));
    let expected = |paddr, memsz| ElfError::BadSegment { paddr, filesz: 4, memsz };
    assert_eq!(bad(0x9_f000, 0x100), expected(0x9_f000, 0x100), "below 1 MiB");
    assert_eq!(bad(u64::MAX - 8, 0x100), expected(u64::MAX - 8, 0x100), "wraps");
    assert_eq!(bad(0x20_0000, 3), expected(0x20_0000, 3), "less memory than file");
    assert_eq!(elf_error(&elf64(0x20_0100, &[load_segment(0x20_0000, b"code", 0x100)])), ElfError::BadEntry(0x20_0100));
}

#[test]
fn elf_must_fit_into_low_memory() {
    for (paddr, memsz) in [(MEM as u64 - 4, 5), (0x1_0000_0000, 4), (0xfee0_0000, 4), (0x20_0000, 1 << 40)] {
        let error = boot(&elf64(paddr, &[load_segment(paddr, b"code", memsz)])).unwrap_err();
        assert!(matches!(error, BootError::KernelTooBig { .. }), "{paddr:#x}: {error}");
    }
    boot(&elf64(MEM as u64 - 4, &[load_segment(MEM as u64 - 4, b"code", 4)])).unwrap();
}

#[test]
fn elf32_is_refused_on_a_machine_beyond_its_reach() {
    let above_64_gib = GuestAddress(64 << 30);
    let mem = Memory::from_ranges(&[(GuestAddress(0), MEM), (above_64_gib, 4096)]).unwrap();
    let segment = load_segment(0x10_0000, b"code", 0x100);
    let error = boot_in(&mem, &elf32(0x10_0000, std::slice::from_ref(&segment)), None).unwrap_err();
    assert!(matches!(error, BootError::TooMuchMemory { end } if end == above_64_gib.0 + 4096), "{error}");
    boot_in(&mem, &elf64(0x10_0000, &[segment]), None).unwrap();
}

#[test]
fn stacked_segments_cannot_make_the_loader_zero_memory_for_ever() {
    let segments = vec![load_segment(0x20_0000, b"code", 0x100_0000); 128];
    assert!(matches!(boot(&elf64(0x20_0000, &segments)), Err(BootError::KernelTooBig { .. })));
}

#[test]
fn pvh_without_a_note_and_entry_outside_are_refused() {
    let image = elf64(0x20_0000, &[load_segment(0x20_0000, b"code", 0x100), other_note()]);
    let mut kernel = Cursor::new(image);
    let source = BootSource {
        kernel: &mut kernel,
        initrd: None,
        cmdline: "",
        protocol: Protocol::Pvh,
        told: Told { rsdp: None, has_vga: false },
    };
    assert!(matches!(load(&memory(MEM), source), Err(BootError::NoSuchEntry { wanted: Protocol::Pvh, .. })));
    let outside = elf32(0x10_0000, &[load_segment(0x10_0000, b"code", 0x100), pvh_note(0x5000)]);
    assert_eq!(elf_error(&outside), ElfError::BadEntry(0x5000));
}

#[test]
fn bzimage_headers_are_checked() {
    let modern = BzImageSpec::modern;
    assert_eq!(bzimage_error(BzImageSpec { version: 0x1ff, ..modern() }), BzImageError::TooOld(0x1ff));
    // A zImage runs at 0x1000 and nowhere else.
    assert_eq!(
        bzimage_error(BzImageSpec { loadflags: 0, ..modern() }),
        BzImageError::BadField { field: "code32_start", value: 0x10_0000 }
    );
    let long = BzImageSpec { payload: vec![0; 0x8_0001], ..BzImageSpec::zimage() };
    assert_eq!(bzimage_error(long), BzImageError::ZImageTooBig { size: 0x8_0001, max: 0x8_0000 });
    assert_eq!(
        bzimage_error(BzImageSpec { code32_start: 0x7000, ..modern() }),
        BzImageError::BadField { field: "code32_start", value: 0x7000 }
    );
    for value in [0u32, 3] {
        assert_eq!(
            bzimage_error(BzImageSpec { kernel_alignment: value, ..modern() }),
            BzImageError::BadField { field: "kernel_alignment", value: value.into() }
        );
    }
    assert!(BzImageError::TooOld(0x1ff).to_string().contains("1.255"));
}

#[test]
fn bzimage_must_fit_into_low_memory() {
    for spec in [
        BzImageSpec { code32_start: 0xffff_f000, ..BzImageSpec::modern() },
        BzImageSpec { pref_address: u64::MAX, ..BzImageSpec::modern() },
        BzImageSpec { relocatable: 0, pref_address: u64::MAX - 1, ..BzImageSpec::modern() },
        BzImageSpec { init_size: u32::MAX, ..BzImageSpec::modern() },
        BzImageSpec { payload: vec![0; MEM], ..BzImageSpec::v2_04() },
    ] {
        assert!(matches!(boot(&spec.build()), Err(BootError::KernelTooBig { .. })));
    }
}

#[test]
fn truncated_bzimage_is_told() {
    let image = BzImageSpec::modern().build();
    let cut = &image[..image.len() - 100];
    assert!(matches!(boot(cut), Err(BootError::BzImage(BzImageError::Truncated { .. }))));
    assert!(matches!(boot(&image[..1024]), Err(BootError::BzImage(BzImageError::Truncated { .. }))));
}

#[test]
fn initrd_faults_are_told() {
    let kernel = BzImageSpec::modern().build();
    let fault = |initrd| boot_in(&memory(MEM), &kernel, Some(initrd)).unwrap_err();
    assert!(matches!(fault(b""), BootError::Initrd(InitrdError::Empty)));
    assert!(matches!(fault(&vec![0; MEM]), BootError::Initrd(InitrdError::TooBig { .. })));
}

#[test]
fn nul_in_the_command_line_is_refused() {
    let image = BzImageSpec::modern().build();
    let mut kernel = Cursor::new(image);
    let source = BootSource {
        kernel: &mut kernel,
        initrd: None,
        cmdline: "a\0b",
        protocol: Protocol::Auto,
        told: Told { rsdp: None, has_vga: false },
    };
    assert!(matches!(load(&memory(MEM), source), Err(BootError::Cmdline(CmdlineError::Nul))));
}

#[test]
fn memory_must_start_at_zero() {
    let mem = Memory::from_ranges(&[(GuestAddress(0x10_0000), MEM)]).unwrap();
    let error = boot_in(&mem, &BzImageSpec::modern().build(), None).unwrap_err();
    assert!(matches!(error, BootError::NoLowMemory(0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any number of bytes of a good image changed, and the tail cut: an answer, not a panic, and nothing
    /// below 1 MiB comes from the image.
    #[test]
    fn damaged_images_do_not_panic(
        which in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        header_only in any::<bool>(),
        keep in any::<prop::sample::Index>(),
        initrd in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
    ) {
        let mut image = match which {
            0 => good_elf(),
            1 => elf32(0x10_0000, &[load_segment(0x10_0000, b"code", 0x100), pvh_note(0x10_0010)]),
            2 => BzImageSpec::modern().build(),
            _ => BzImageSpec::v2_04().build(),
        };
        // Where the headers are, most of the time: elsewhere a change means nothing.
        let (start, len) = match (header_only, which) {
            (false, _) => (0, image.len()),
            (true, 0 | 1) => (4, image.len().min(200) - 4),
            (true, _) => (0x1f1, 123),
        };
        for (at, byte) in changes {
            image[start + at.index(len)] = byte;
        }
        if initrd.as_ref().is_some_and(|i| i.len() % 3 == 0) {
            image.truncate(keep.index(image.len()) + 1);
        }
        let mem = memory(4 << 20);
        if let Ok(entry) = boot_in(&mem, &image, initrd.as_deref()) {
            let ip = match entry {
                Entry::Long { rip, .. } => rip,
                Entry::Protected32 { eip, .. } | Entry::Pvh { eip, .. } => eip.into(),
            };
            prop_assert!((0x10_0000..4 << 20).contains(&ip), "entry {ip:#x}");
            prop_assert_eq!(read(&mem, 0x5_0000, 0x1000), vec![0; 0x1000]);
        }
    }

    /// Random bytes behind the magic numbers.
    #[test]
    fn random_images_do_not_panic(elf in any::<bool>(), mut image in prop::collection::vec(any::<u8>(), 0x210..0x600)) {
        if elf {
            image[..4].copy_from_slice(b"\x7fELF");
        } else {
            image[0x202..0x206].copy_from_slice(b"HdrS");
        }
        let _ = boot_in(&memory(4 << 20), &image, None);
    }

    #[test]
    fn initrd_placement_is_inside_its_bounds(size in 1u64..1 << 33, floor in 0u64..1 << 33, limit in 0u64..1 << 33) {
        match initrd::place(size, floor, limit) {
            Ok(start) => prop_assert!(start >= floor && start + size <= limit && start % 4096 == 0),
            Err(InitrdError::TooBig { room, .. }) => prop_assert!(room < size || limit % 4096 != 0),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
