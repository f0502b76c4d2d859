// SPDX-License-Identifier: Apache-2.0
use vm_memory::{Bytes, GuestMemoryBackend};

use super::*;

fn new(ranges: &[(u64, usize)], options: RamOptions) -> Result<GuestRam, KvmError> {
    GuestRam::new(&ranges.iter().map(|(base, size)| (GuestAddress(*base), *size)).collect::<Vec<_>>(), options)
}

fn error(ranges: &[(u64, usize)]) -> String {
    new(ranges, RamOptions::default()).unwrap_err().to_string()
}

#[test]
fn ranges_become_memory_at_their_addresses() {
    let ram =
        new(&[(0, 0xa0000), (0x10_0000, 0x20_0000)], RamOptions { huge_pages: true, ..Default::default() }).unwrap();
    assert_eq!(ram.size(), 0x2a_0000);
    assert_eq!(ram.regions().len(), 2);
    assert_eq!(ram.memory().last_addr(), GuestAddress(0x2f_ffff));
    ram.memory().write_obj(0x1234_5678u32, GuestAddress(0x10_0000)).unwrap();
    assert!(ram.memory().write_obj(0u8, GuestAddress(0xa_0000)).is_err(), "the hole is no memory");
    let mut bytes = [0; 4];
    ram.regions()[1].read_slice(&mut bytes, vm_memory::MemoryRegionAddress(0)).unwrap();
    assert_eq!(bytes, [0x78, 0x56, 0x34, 0x12], "a DMA region is the same memory");
}

#[test]
fn malformed_ranges_are_refused_with_their_address() {
    assert!(error(&[]).contains("no memory"));
    assert!(error(&[(0x1000, 0)]).contains("at 0x1000 is empty"));
    assert!(error(&[(0, 0x1001)]).contains("pages"));
    assert!(error(&[(0x10, 0x1000)]).contains("pages"));
    assert!(error(&[(0, 0x2000), (0x1000, 0x1000)]).contains("at 0x1000 overlaps"));
    assert!(error(&[(0x2000, 0x1000), (0, 0x1000)]).contains("out of order"));
    assert!(error(&[(u64::MAX - 0xfff, 0x1000)]).contains("end of the address space"));
}

#[test]
fn more_than_the_host_has_is_refused_before_mapping() {
    let error = error(&[(0, 1 << 50)]);
    assert!(error.contains("wants 1073741824 MiB"), "{error}");
}

#[test]
fn shared_memory_has_a_file_with_the_same_bytes() {
    let ram = new(&[(0, 0x4000)], RamOptions { shared: true, ..Default::default() }).unwrap();
    ram.memory().write_obj(0x1234_5678u32, GuestAddress(0x2000)).unwrap();
    let region = &ram.regions()[0];
    let offset = region.file_offset().expect("a file");
    let mut bytes = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(offset.file(), &mut bytes, offset.start() + 0x2000).unwrap();
    assert_eq!(bytes, [0x78, 0x56, 0x34, 0x12]);
    let private = new(&[(0, 0x4000)], RamOptions::default()).unwrap();
    assert!(private.regions()[0].file_offset().is_none());
}

/// Whoever is given the file as well could make a page of the guest's memory go away under this process.
#[test]
fn b5_shared_memory_keeps_its_size() {
    let ram = new(&[(0, 0x4000)], RamOptions { shared: true, ..Default::default() }).unwrap();
    let peer = ram.regions()[0].file_offset().unwrap().file().try_clone().unwrap();
    for size in [0, 0x3000, 0x5000] {
        assert_eq!(peer.set_len(size).unwrap_err().raw_os_error(), Some(libc::EPERM), "{size:#x}");
    }
    let unseal = rustix::fs::fcntl_add_seals(&peer, rustix::fs::SealFlags::WRITE);
    assert!(unseal.is_err(), "and nobody can forbid writing to it");
    ram.memory().write_obj(1u32, GuestAddress(0x3ffc)).unwrap();
}

#[test]
fn huge_pages_are_used_or_the_way_to_reserve_them_is_told() {
    const PAGE: u64 = 2 << 20;
    for shared in [false, true] {
        let options = RamOptions { hugetlb: Some(PAGE), shared, prefault: true, ..Default::default() };
        match new(&[(0, 2 * PAGE as usize)], options) {
            Ok(ram) => {
                ram.memory().write_obj(1u8, GuestAddress(2 * PAGE - 1)).unwrap();
                let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
                assert!(maps.contains("KernelPageSize:     2048 kB"), "the mapping is of huge pages");
            }
            Err(KvmError::HugePages { needed: 2, available: 0 | 1, .. } | KvmError::NoHugePages { .. }) => {
                println!("SKIPPED: huge_pages_are_used: this host has none free");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The flags of the mapping that `address` is in (proc(5), `VmFlags` in smaps); `None` where the kernel does not tell.
fn mapping_flags(address: u64) -> Option<String> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut inside = false;
    for line in smaps.lines() {
        let bounds = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let bounds = bounds.and_then(|(from, to)| Some((number(from)?, number(to)?)));
        match (bounds, line.strip_prefix("VmFlags:")) {
            (Some((from, to)), _) => inside = (from..to).contains(&address),
            (None, Some(flags)) if inside => return Some(flags.to_owned()),
            _ => {}
        }
    }
    None
}

fn number(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}

#[test]
fn f23_guest_memory_is_in_no_core_dump() {
    for shared in [false, true] {
        let ram = new(&[(0, 0x20_0000)], RamOptions { shared, ..Default::default() }).unwrap();
        match mapping_flags(ram.regions()[0].as_ptr() as u64) {
            Some(flags) => assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{shared}: {flags}"),
            None => println!("SKIPPED: f23_guest_memory_is_in_no_core_dump: the kernel tells no flags of mappings"),
        }
    }
}
