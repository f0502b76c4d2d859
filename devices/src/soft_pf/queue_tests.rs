// SPDX-License-Identifier: Apache-2.0
use super::super::testing::Ram;
use super::*;

#[test]
fn legacy_layout_of_common_sizes() {
    for (size, used) in [(64, 4096), (128, 4096), (256, 8192), (512, 12288), (1024, 20480)] {
        let at = legacy_layout(1, size);
        assert_eq!((at.desc, at.driver, at.device), (4096, 4096 + 16 * u64::from(size), 4096 + used), "{size}");
    }
    assert_eq!(legacy_layout(u32::MAX, 256).desc, 0xfff_ffff_f000);
}

#[test]
fn a_size_is_a_smaller_power_of_two_and_fixed_once_enabled() {
    let mut queue = VirtQueue::new(128).unwrap();
    for (size, becomes) in [(0, 128), (3, 128), (256, 128), (32, 32), (0x8000, 32)] {
        queue.set_size(size);
        assert_eq!(queue.size, becomes, "{size}");
    }
    queue.addresses = Addresses { desc: 0x1000, driver: 0x2000, device: 0x3000 };
    queue.enable();
    queue.set_size(16);
    assert_eq!((queue.size, queue.ring.size(), queue.broken), (32, 32, false));
}

#[test]
fn misaligned_addresses_break_the_queue() {
    for at in [(0x1008, 0x2000, 0x3000), (0x1000, 0x2001, 0x3000), (0x1000, 0x2000, 0x3002)] {
        let mut queue = VirtQueue::new(16).unwrap();
        queue.addresses = Addresses { desc: at.0, driver: at.1, device: at.2 };
        queue.enable();
        assert!(queue.broken, "{at:?}");
        queue.reset();
        assert!(!queue.broken);
    }
}

#[test]
fn all_three_parts_must_be_mapped() {
    let ram = Ram::new(0x1000, 0x2000);
    let mut queue = VirtQueue::new(64).unwrap();
    queue.set_pfn(1);
    assert!(queue.is_mapped(&ram.memory), "desc and avail on the first page, used on the second");
    queue.set_pfn(2);
    assert!(!queue.is_mapped(&ram.memory), "used on a third page");
    queue.set_pfn(0);
    assert_eq!(queue.setup(), Setup::Disabled);
    queue.addresses = Addresses { desc: u64::MAX - 15, driver: 0x1000, device: 0x1800 };
    queue.enable();
    assert!(!queue.broken && !queue.is_mapped(&ram.memory), "the end wraps");
}
