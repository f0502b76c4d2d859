// SPDX-License-Identifier: Apache-2.0
//! The fields of the legacy registers, written down once more from the standard ("Legacy Interfaces: A
//! Note on PCI Device Layout", "Device configuration layout"). On purpose not those of the devices
//! crate: they are what is tested.

/// Virtio header: features, driver features, address, size, select, notify, status, ISR, and the two
/// vectors that are there while MSI-X is on.
const COMMON: &[(u8, u8)] = &[(0, 4), (4, 4), (8, 4), (12, 2), (14, 2), (16, 2), (18, 1), (19, 1), (20, 2), (22, 2)];
/// mac, status, max_virtqueue_pairs, mtu, speed, duplex.
const NET: &[(u8, u8)] = &[(0, 6), (6, 2), (8, 2), (10, 2), (12, 4), (16, 1)];
/// From capacity to the zoned part; 24 is topology, 57 and 93 padding.
const BLK: &[(u8, u8)] = &[
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 2),
    (18, 1),
    (19, 1),
    (20, 4),
    (24, 1),
    (25, 1),
    (26, 2),
    (28, 4),
    (32, 1),
    (33, 1),
    (34, 2),
    (36, 4),
    (40, 4),
    (44, 4),
    (48, 4),
    (52, 4),
    (56, 1),
    (57, 3),
    (60, 4),
    (64, 4),
    (68, 4),
    (72, 4),
    (76, 4),
    (80, 4),
    (84, 4),
    (88, 4),
    (92, 1),
    (93, 3),
];

/// The device types that the targets use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Network interface.
    Net,
    /// Disk.
    Blk,
}

/// Whether `count` bytes from `offset` lie inside one field of the common registers (`device` false) or
/// of the device configuration.
pub fn inside_one(kind: Kind, device: bool, offset: u8, count: usize) -> bool {
    let fields = match (device, kind) {
        (false, _) => COMMON,
        (true, Kind::Net) => NET,
        (true, Kind::Blk) => BLK,
    };
    let end = usize::from(offset) + count;
    let covers = |(start, size): &(u8, u8)| *start <= offset && end <= usize::from(*start) + usize::from(*size);
    // A byte that no field covers stands for itself.
    count == 1 || fields.iter().any(covers)
}
