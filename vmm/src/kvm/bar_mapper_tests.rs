// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use devices::bus::Width::B4;

use super::*;
use crate::kvm::test_guest::{RAM, TestGuest};
use crate::vcpu::test_board::Seen::{Read, Write};
use crate::vcpu::test_board::{MMIO, TestBoard};
use crate::vcpu::{VcpuState, Vcpus};

/// Of "BAR" memory at 0x20000, which is where the test board's recorder is: mov eax, [0x20000]; inc
/// eax; mov [0x20004], eax; then the value to port 0xc20, over and over.
const TOUCH: &[u8] = &[
    0xa1, 0x00, 0x00, 0x02, 0x00, // mov eax, [0x20000]
    0x40, // inc eax
    0xa3, 0x04, 0x00, 0x02, 0x00, // mov [0x20004], eax
    0xba, 0x20, 0x0c, 0x00, 0x00, // mov edx, 0xc20
    0xef, // out dx, eax
    0xeb, 0xed, // jmp back
];

/// Two pages of a device; the second starts with the number 41.
fn device() -> MappableArea {
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x2000).unwrap();
    file.write_all_at(&41u32.to_le_bytes(), 0x1000).unwrap();
    MappableArea { offset: 0, size: 0x1000, file: Arc::new(file), file_offset: 0x1000 }
}

fn number(file: &File, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset).unwrap();
    u32::from_le_bytes(bytes)
}

#[test]
fn a_guest_uses_mapped_pages_without_exits_and_exits_when_they_are_gone() {
    let Some(guest) = TestGuest::new(TOUCH) else { return };
    let area = device();
    let mapping = BarMapper::new(&guest.vm).map(MMIO, &area).unwrap();
    let test = TestBoard::new();
    let vcpu = guest.vcpu(0);
    vcpu.configure(&guest.protected_mode(&vcpu)).unwrap();
    let vcpus = Vcpus::start(vec![vcpu], &test.board, VcpuState::Running).unwrap();
    let seen = test.ports.wait_for(3);
    assert_eq!(seen[..3], [Write(0x20, B4, 42); 3], "the guest read the file's page");
    assert_eq!(number(&area.file, 0x1004), 42, "and wrote to it");
    assert_eq!(number(&area.file, 4), 0, "but not to the other");
    assert_eq!(test.memory.seen(), [], "without an exit");

    drop(mapping);
    let seen = test.memory.wait_for(2);
    assert!(seen.contains(&Read(0, B4)) && seen.iter().any(|seen| matches!(seen, Write(4, B4, _))), "{seen:?}");
    vcpus.stop(Duration::from_secs(4)).unwrap();
}

#[test]
fn neither_ram_nor_another_mapping_nor_the_chips_are_mapped_over() {
    let Some(guest) = TestGuest::new(TOUCH) else { return };
    let mapper = BarMapper::new(&guest.vm);
    let area = device();
    assert!(mapper.map(RAM - 0x1000, &area).is_err(), "RAM");
    let first = mapper.map(RAM, &area).unwrap();
    assert!(mapper.map(RAM, &area).is_err(), "another mapping");
    drop(first);
    drop(mapper.map(RAM, &area).unwrap());
    for place in [0xfec0_0000, 0xfee0_0000, 0xffff_f000, u64::MAX - 0xfff, RAM + 8] {
        assert!(mapper.map(place, &area).is_err(), "{place:#x}");
    }
    assert!(mapper.map(1 << 32, &area).is_ok());
}

#[test]
fn a_mapping_that_ends_leaves_no_pages_behind() {
    let Some(guest) = TestGuest::new(TOUCH) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bar-of-this-test");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(0x2000).unwrap();
    let area = MappableArea { file: Arc::new(file), ..device() };
    let pages = || std::fs::read_to_string("/proc/self/maps").unwrap().matches("bar-of-this-test").count();
    let mapping = BarMapper::new(&guest.vm).map(MMIO, &area).unwrap();
    assert_eq!(pages(), 1);
    drop(mapping);
    assert_eq!(pages(), 0);
    assert!(BarMapper::new(&guest.vm).map(0, &area).is_err());
    assert_eq!(pages(), 0, "a refused one as well");
}
