// SPDX-License-Identifier: Apache-2.0
use vm_memory::GuestMemoryMmap;

use super::*;

fn image(size: usize) -> Vec<u8> {
    let mut image: Vec<u8> = (0..size).map(|n| (n / 1024) as u8).collect();
    if size >= 16 {
        image[size - 16..].fill(0x90);
        image[size - 16] = 0xea;
    }
    image
}

#[test]
fn sizes_of_images() {
    for size in [64 << 10, 128 << 10, 256 << 10, 1 << 20, 16 << 20] {
        check(&image(size)).unwrap();
        assert_eq!(address(size).0 + size as u64, 1 << 32);
        assert!(address(size).0 >= layout::KVM_TSS + 3 * layout::PAGE_SIZE, "KVM's pages are free");
    }
    for size in [0, 1, 512, (64 << 10) - 1, (64 << 10) + 1, 96 << 10, (16 << 20) + (64 << 10)] {
        assert_eq!(check(&image(size)), Err(FlashError::Size(size)));
    }
}

#[test]
fn bytes_that_are_no_firmware() {
    for byte in [0, 0xff, b'a'] {
        assert_eq!(check(&vec![byte; 64 << 10]), Err(FlashError::NoResetVector));
    }
}

#[test]
fn the_end_of_the_image_is_below_1_mib() {
    let mem = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 2 << 20)]).unwrap();
    for size in [64 << 10, 128 << 10, 256 << 10] {
        let image = image(size);
        write_low_copy(&mem, &image).unwrap();
        let mut low = vec![0; size.min(128 << 10)];
        let start = GuestAddress((1 << 20) - low.len() as u64);
        mem.read_slice(&mut low, start).unwrap();
        assert_eq!(low, image[size - low.len()..]);
    }
    let mut before = [1];
    mem.read_slice(&mut before, GuestAddress(0xd_ffff)).unwrap();
    assert_eq!(before, [0]);
}
