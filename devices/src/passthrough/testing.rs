// SPDX-License-Identifier: Apache-2.0
//! For tests: a function with every kind of capability, and a device over it.

use std::fs::File;
use std::sync::Arc;

use super::{PassthroughDevice, PassthroughParts};
use crate::contract::mock::{MockFunction, MockLine, MockMsi};
use crate::function::{MappableArea, Region};

pub(super) const PM: u16 = 0x40;
pub(super) const MSI: u16 = 0x50;
pub(super) const MSIX: u16 = 0x70;
pub(super) const EXPRESS: u16 = 0x80;
pub(super) const VIRTIO_ACCESS: u16 = 0xbc;
pub(super) const VENDOR: u16 = 0xd0;
pub(super) const VPD: u16 = 0xe0;
pub(super) const ALLOCATION: u16 = 0xe8;
pub(super) const RESET: u16 = 0xf4;

/// The function. BAR 0 has 64 ports, BAR 2 is 64-bit memory of 16 KiB with the MSI-X structures in
/// its last page.
pub(super) fn test_function() -> Arc<MockFunction> {
    let null = Arc::new(File::open("/dev/null").unwrap());
    let function = MockFunction::new("test")
        .with_fixed_config()
        .with_bar(0, Region { size: 64, is_io: true, is_64bit: false, prefetchable: false })
        .with_bar(2, Region { size: 0x4000, is_io: false, is_64bit: true, prefetchable: true })
        .with_mappable(2, MappableArea { offset: 0, size: 0x3000, file: null, file_offset: 0 })
        .with_vectors(4, 8)
        .with_intx();
    let registers: [(u16, &[u8]); 15] = [
        (0, &[0xf4, 0x1a, 0x41, 0x10, 0, 0, 0x10, 0, 7, 0, 0, 2]),
        (0x2c, &[0xf4, 0x1a, 0x41, 0x11]),
        (0x30, &[1, 0, 0xf0, 0xfe]),
        (0x34, &[PM as u8]),
        (0x3d, &[1]),
        (PM, &[0x01, MSI as u8, 0xc3, 0xff, 0x03, 0x81]),
        (MSI, &[0x05, MSIX as u8, 0x86, 0x01]),
        (MSIX, &[0x11, EXPRESS as u8, 3, 0, 2, 0x30, 0, 0, 2, 0x38, 0, 0]),
        (EXPRESS, &[0x10, VIRTIO_ACCESS as u8, 2, 0, 1, 0x80, 0, 0x10, 0x10, 0x28]),
        (VIRTIO_ACCESS, &[0x09, VENDOR as u8, 0x14, 5]),
        (VENDOR, &[0x09, VPD as u8, 0x10, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
        (VPD, &[0x03, ALLOCATION as u8]),
        (ALLOCATION, &[0x14, RESET as u8, 1, 0]),
        (RESET, &[0x13, 0, 6, 3]),
        (0x100, &[0x10, 0, 1, 0]),
    ];
    Arc::new(registers.iter().fold(function, |function, (at, bytes)| function.with_config(*at, bytes)))
}

/// A device over the function, and what is around it.
pub(super) struct Bench {
    pub function: Arc<MockFunction>,
    pub device: Arc<PassthroughDevice>,
    pub line: Arc<MockLine>,
    /// Interrupts 0 to 3 are MSI-X vectors, 4 to 11 MSI's.
    pub msi: MockMsi,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (function, line, msi) = (test_function(), Arc::new(MockLine::default()), MockMsi::default());
        let parts = PassthroughParts {
            function: function.clone(),
            msi: Arc::new(msi.clone()),
            irq_line: Some(line.clone()),
            irq_number: 10,
        };
        Self { device: PassthroughDevice::new("dev", parts).unwrap(), function, line, msi }
    }
}
