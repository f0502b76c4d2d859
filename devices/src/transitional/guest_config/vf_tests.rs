// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::function::{DmaRegion, KickLink, Region, Result};
use vmm_sys_util::eventfd::EventFd;

/// A function that is nothing but a configuration space.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl PciFunction for Bytes {
    fn name(&self) -> &str {
        "bytes"
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        let at = usize::from(offset);
        let bytes = self.0.get(at..at + width.bytes()).expect("inside");
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
    fn config_write(&self, _: u16, _: Width, _: u32) -> Result<()> {
        Ok(())
    }
    fn region(&self, bar: u8) -> Option<Region> {
        (bar == 2).then_some(Region { size: 0x1000, is_io: false, is_64bit: false, prefetchable: false })
    }
    fn region_read(&self, bar: u8, offset: u64, _: Width) -> Result<u64> {
        assert_eq!((bar, offset), (2, 18), "nothing but num_queues is read");
        Ok(0x1000)
    }
    fn region_write(&self, _: u8, _: u64, _: Width, _: u64) -> Result<()> {
        Ok(())
    }
    fn msix_vectors(&self) -> u16 {
        0
    }
    fn set_msix(&self, _: &[Option<&EventFd>]) -> Result<()> {
        Ok(())
    }
    fn disable_msix(&self) -> Result<()> {
        Ok(())
    }
    fn dma_map(&self, _: &DmaRegion) -> Result<()> {
        Ok(())
    }
    fn dma_unmap(&self, _: u64) -> Result<()> {
        Ok(())
    }
    fn reset(&self) -> Result<()> {
        Ok(())
    }
    fn link_ioeventfd(&self, _: u8, _: u64, _: u16, _: &EventFd) -> Result<Box<dyn KickLink>> {
        Err(FunctionError::Unsupported { name: String::new(), what: "ioeventfd" })
    }
}

fn space(capability: &[u8]) -> Bytes {
    let mut bytes = vec![0; 256];
    bytes[0..4].copy_from_slice(&[0xf4, 0x1a, 0x41, 0x10]);
    bytes[6] = 0x10;
    bytes[0x34] = 0x40;
    bytes[0x40..0x40 + capability.len()].copy_from_slice(capability);
    Bytes(bytes)
}

#[test]
fn a_list_that_runs_in_a_circle_ends() {
    let info = VfInfo::read(&space(&[0x10, 0x40])).unwrap();
    assert_eq!((info.device, info.msix), (Some(DeviceType::Net), None));
}

#[test]
fn capabilities_at_the_end_of_the_space_are_not_read_past_it() {
    let mut function = space(&[9, 0xfc, 16, 1]);
    function.0[0xf0..0xf3].copy_from_slice(&[9, 0, 0xff]);
    function.0[0x34] = 0xf0;
    assert!(VfInfo::read(&function).unwrap().virtio.is_empty());
    function.0[0x34] = 0xfc;
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
    let mut function = space(&[]);
    function.0[0] = 0x86;
    assert_eq!(VfInfo::read(&function).unwrap().device, None);
}
