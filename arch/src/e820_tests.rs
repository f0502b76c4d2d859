// SPDX-License-Identifier: Apache-2.0
use super::*;

fn ends(map: &[E820Entry]) -> Vec<(u64, u64, u32)> {
    map.iter().map(|e| (e.start, e.start + e.size, e.kind)).collect()
}

#[test]
fn a_small_machine() {
    let ram = 0..64 << 20;
    assert_eq!(
        ends(&map(&[ram])),
        [
            (0, 0x9_fc00, RAM),
            (0x9_fc00, 0xa_0000, RESERVED),
            (0xe_0000, 0x10_0000, RESERVED),
            (0x10_0000, 64 << 20, RAM),
            (0xfeff_c000, 1 << 32, RESERVED),
        ]
    );
}

#[test]
fn entries_ascend_and_nothing_in_the_hole_is_ram() {
    let map = ends(&map(&[0..3 << 30, 1 << 32..6 << 30]));
    assert!(map.windows(2).all(|w| w[0].1 <= w[1].0), "{map:x?}");
    assert_eq!(map.last(), Some(&(1 << 32, 6 << 30, RAM)));
    let in_hole = map.iter().filter(|e| e.2 == RAM && e.1 > 3 << 30 && e.0 < 1 << 32).count();
    assert_eq!(in_hole, 0);
    // Kernels before 2.6.18 have room for 32, and pvh.rs for 149.
    assert!(map.len() <= 8);
}

#[test]
fn firmware_is_told_whole_ranges_and_the_pages_of_kvm() {
    let map = for_firmware(&[0..0xc000_0000, 1 << 32..0x1_4000_0000]);
    let entry = |start, size, kind| E820Entry { start, size, kind };
    let kvm = entry(0xfeff_c000, 0x4000, RESERVED);
    assert_eq!(map, [entry(0, 0xc000_0000, RAM), entry(1 << 32, 0x4000_0000, RAM), kvm]);
    assert_eq!(kvm.to_bytes(), [0, 0xc0, 0xff, 0xfe, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
}
