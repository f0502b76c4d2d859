// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::mock::MockFunction;
use crate::function::Region;

/// A function that is nothing but a configuration space of 256 bytes, and a BAR that says 4096 queues.
fn space(capability: &[u8]) -> MockFunction {
    let region = Region { size: 0x1000, is_io: false, is_64bit: false, prefetchable: false };
    let function = MockFunction::new("bytes").with_bar(2, region).on_read(|bar, offset, _| {
        assert_eq!((bar, offset), (2, 18), "nothing but num_queues is read");
        Some(0x1000)
    });
    function.state().config.truncate(256);
    let id: &[u8] = &[0xf4, 0x1a, 0x41, 0x10];
    function.with_config(0, id).with_config(6, &[0x10]).with_config(0x34, &[0x40]).with_config(0x40, capability)
}

#[test]
fn a_list_that_runs_in_a_circle_ends() {
    let info = VfInfo::read(&space(&[0x10, 0x40])).unwrap();
    assert_eq!((info.device, info.msix), (Ok(DeviceType::Net), None));
}

#[test]
fn capabilities_at_the_end_of_the_space_are_not_read_past_it() {
    let function = space(&[9, 0xfc, 16, 1]);
    function.state().config[0xf0..0xf3].copy_from_slice(&[9, 0, 0xff]);
    function.state().config[0x34] = 0xf0;
    assert!(VfInfo::read(&function).unwrap().virtio.is_empty());
    function.state().config[0x34] = 0xfc;
    assert!(VfInfo::read(&function).unwrap().virtio.is_empty());
}

#[test]
fn capabilities_that_point_nowhere_are_left_out() {
    let cap = |cfg_type, bar, offset: u32, length: u32| {
        let mut bytes = vec![9, 0, 16, cfg_type, bar, 0, 0, 0];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        VfInfo::read(&space(&bytes)).unwrap().virtio.len()
    };
    assert_eq!(cap(1, 2, 0, 64), 1);
    assert_eq!(cap(1, 2, 0xff0, 0x10), 1);
    assert_eq!(cap(1, 2, 0xff0, 0x11), 0, "past the end of the BAR");
    assert_eq!(cap(1, 2, u32::MAX, u32::MAX), 0);
    assert_eq!(cap(1, 3, 0, 64), 0, "no such BAR");
    assert_eq!(cap(1, 0, 0, 64), 0, "the legacy registers are there");
    assert_eq!(cap(1, 255, 0, 64), 0);
    assert_eq!(cap(5, 2, 0, 4), 0);
}

#[test]
fn a_number_of_queues_that_cannot_be_is_not_believed() {
    let mut bytes = vec![9, 0, 16, 1, 2, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(64_u32.to_le_bytes());
    assert_eq!(VfInfo::read(&space(&bytes)).unwrap().queues, None, "it says 4096");
}

#[test]
fn another_vendors_function_is_no_virtio_device() {
    let function = space(&[]);
    function.state().config[0] = 0x86;
    assert!(VfInfo::read(&function).unwrap().device.is_err());
}
