// SPDX-License-Identifier: Apache-2.0
//! The bench's VF and PF.

use std::fs::File;
use std::sync::Arc;

use super::{Log, Setup};
use crate::bus::Width;
use crate::contract::mock::MockFunction;
use crate::function::{MappableArea, Region};

/// The VF: BAR 2 as 64-bit, BAR 4 with MSI-X.
pub(crate) fn vf(setup: &Setup, log: &Log) -> MockFunction {
    let big = Region { size: 1 << 20, is_io: false, is_64bit: true, prefetchable: true };
    let small = Region { size: 4096, is_io: false, is_64bit: false, prefetchable: false };
    let null = Arc::new(File::open("/dev/null").unwrap());
    let queues = setup.queues;
    let vf = MockFunction::new("vf")
        .with_log(log)
        .with_config(0, &vf_config(setup.device_id, setup.vectors, setup.config_bytes.len() as u32))
        .with_bar(2, big)
        .with_bar(4, small)
        .with_mappable(2, MappableArea { offset: 0, size: big.size, file: null, file_offset: 0 })
        .with_vectors(setup.vectors, 0)
        // Its num_queues.
        .on_read(move |bar, offset, width| ((bar, offset, width) == (2, 18, Width::B2)).then_some(queues.into()));
    if setup.bar0 { vf.with_bar(0, small) } else { vf }
}

/// The PF: nothing but BAR 4 of 64 KiB.
pub(crate) fn pf(setup: &Setup, log: &Log) -> MockFunction {
    let region = Region { size: 0x10000, is_io: false, is_64bit: false, prefetchable: false };
    MockFunction::new("pf").with_log(log).with_bar(4, region).with_vectors(setup.vectors, 0)
}

/// BAR 2 as 64-bit, BAR 4 with MSI-X; virtio capabilities 1 to 5 with the last one and one in BAR 0
/// not fit for a guest.
fn vf_config(device_id: u16, vectors: u16, config_len: u32) -> Vec<u8> {
    let mut c = vec![0_u8; 4096];
    c[0..2].copy_from_slice(&[0xf4, 0x1a]);
    c[2..4].copy_from_slice(&device_id.to_le_bytes());
    c[6] = 0x10;
    c[8] = 1;
    c[0x34] = 0x40;
    let mut at = 0x40_usize;
    let mut cap = |bytes: &[u8]| {
        c[at..at + bytes.len()].copy_from_slice(bytes);
        let next = (at + bytes.len()).next_multiple_of(4);
        c[at + 1] = next as u8;
        at = next;
    };
    let mut msix = vec![0x11, 0];
    msix.extend(vectors.wrapping_sub(1).to_le_bytes());
    msix.extend(4_u32.to_le_bytes());
    msix.extend(0x804_u32.to_le_bytes());
    cap(&msix);
    let places =
        [(1, 2, 0, 64), (2, 2, 0x1000, 16), (3, 2, 0x3000, 1), (4, 2, 0x2000, config_len), (5, 2, 0, 4), (4, 0, 0, 4)];
    for (kind, bar, offset, length) in places {
        let mut bytes = vec![0x09, 0, if kind == 2 { 20 } else { 16 }, kind, bar, 0, 0, 0];
        bytes.extend(u32::to_le_bytes(offset));
        bytes.extend(u32::to_le_bytes(length));
        if kind == 2 {
            bytes.extend(4_u32.to_le_bytes());
        }
        cap(&bytes);
    }
    cap(&[0x10, 0, 2, 0]);
    let last = at - 4;
    c[last + 1] = 0;
    c
}
