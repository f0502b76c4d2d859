// SPDX-License-Identifier: Apache-2.0
use std::io::Write;

use vm_memory::VolatileSlice;

use super::*;

#[test]
fn pieces_are_moved_in_order_from_and_to_an_offset() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let (mut one, mut two) = ([0; 3], [0; 4]);
    let pieces = [VolatileSlice::from(&mut one[..]), VolatileSlice::from(&mut two[..])];
    assert_eq!(read_at(&file, &pieces, 2, false).unwrap(), 7);
    assert_eq!(read_at(&file, &pieces, 8, false).unwrap(), 2, "the file ends");
    assert_eq!((&one, &two), (b"894", b"5678"));
    let pieces = [VolatileSlice::from(&mut two[..]), VolatileSlice::from(&mut one[..])];
    assert_eq!(write_at(&file, &pieces, 9, false).unwrap(), 7);
    let mut text = [0; 20];
    let pieces = [VolatileSlice::from(&mut text[..])];
    assert_eq!(read_at(&file, &pieces, 0, false).unwrap(), 16);
    assert_eq!(&text[..16], b"0123456785678894");
}

#[test]
fn what_the_kernel_cannot_do_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    let mut bytes = vec![0; 1100];
    let pieces: Vec<_> = bytes.chunks_mut(1).map(VolatileSlice::from).collect();
    assert_eq!(write_at(&file, &pieces, 0, false).unwrap(), 1024, "no more pieces in one call");
    assert!(read_at(&file, &pieces, u64::MAX, false).is_err(), "no such offset");
    let read_only = File::open("/proc/self/exe").unwrap();
    assert!(write_at(&read_only, &pieces[..1], 0, false).is_err());
}
