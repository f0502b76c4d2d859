// SPDX-License-Identifier: Apache-2.0
use super::*;

fn split(device: DeviceType, offset: u64, width: Width) -> Vec<(u8, usize, u8)> {
    let split = Split::new(device, offset, width, device_len(device));
    split.pieces().iter().map(|p| (p.offset, p.width.bytes(), p.position)).collect()
}

fn device_len(device: DeviceType) -> u8 {
    (device.bar0_size() - 24) as u8
}

#[test]
fn tables_are_ascending_and_without_overlap() {
    for device in DeviceType::ALL {
        let mut end = 0;
        for &(offset, size) in device.fields() {
            assert!(offset >= end && size > 0, "{device:?} at {offset}");
            end = offset + size;
        }
        assert!(end <= device_len(device), "{device:?}: {end} bytes do not fit in BAR0 behind the vectors");
    }
}

#[test]
fn block_geometry_is_three_fields() {
    assert_eq!(split(DeviceType::Block, 16, Width::B4), [(16, 2, 0), (18, 1, 2), (19, 1, 3)]);
}

#[test]
fn mac_and_status_are_cut_between_them() {
    assert_eq!(split(DeviceType::Net, 4, Width::B4), [(4, 2, 0), (6, 2, 2)]);
    assert_eq!(split(DeviceType::Net, 0, Width::B4), [(0, 4, 0)], "an array is one field");
    assert_eq!(split(DeviceType::Net, 3, Width::B4), [(3, 2, 0), (5, 1, 2), (6, 1, 3)]);
}

#[test]
fn a_part_of_a_wide_field_is_one_piece() {
    assert_eq!(split(DeviceType::Block, 4, Width::B4), [(4, 4, 0)]);
    assert_eq!(split(DeviceType::Block, 2, Width::B4), [(2, 4, 0)]);
    assert_eq!(split(DeviceType::Block, 7, Width::B2), [(7, 1, 0), (8, 1, 1)]);
}

#[test]
fn nothing_past_the_configuration_is_touched() {
    let cut = Split::new(DeviceType::Net, 6, Width::B4, 8);
    assert_eq!(cut.pieces(), [Piece { offset: 6, width: Width::B2, position: 0 }]);
    assert!(Split::new(DeviceType::Net, 8, Width::B1, 8).pieces().is_empty());
    assert!(Split::new(DeviceType::Entropy, 0, Width::B4, 0).pieces().is_empty());
    assert!(Split::new(DeviceType::Block, u64::MAX, Width::B4, 255).pieces().is_empty());
    assert_eq!(Split::new(DeviceType::Block, 254, Width::B4, 255).pieces().len(), 1);
}

#[test]
fn bytes_that_no_field_covers_go_alone() {
    assert_eq!(split(DeviceType::NineP, 1, Width::B4), [(1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3)]);
}
