// SPDX-License-Identifier: Apache-2.0
//! The fields of each device type's configuration structure, and how an access is cut at their
//! borders. Pure.
//!
//! A guest may read its configuration with any width; the admin commands carry one field each
//! (virtio 1.3, "Legacy Interface: Group administration commands"). Offsets and sizes are those of
//! the "Device configuration layout" section of each device type.

use super::identity::DeviceType;
use crate::bus::Width;

/// One field: offset and size in bytes.
type Field = (u8, u8);

/// mac (an array counts as one field), status, max_virtqueue_pairs, mtu, speed, duplex.
const NET: &[Field] = &[(0, 6), (6, 2), (8, 2), (10, 2), (12, 4), (16, 1)];
/// capacity, size_max, seg_max, geometry (cylinders, heads, sectors), blk_size, topology (physical
/// block exponent, alignment offset, minimum and optimum I/O size), writeback, unused, num_queues,
/// discard (sectors, segments, alignment), write zeroes (sectors, segments, may unmap), unused,
/// secure erase (sectors, segments, alignment), zoned (zone size, open and active zones, append
/// sectors, write granularity, model).
const BLOCK: &[Field] = &[
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
];
/// cols, rows, max_nr_ports, emerg_wr.
const CONSOLE: &[Field] = &[(0, 2), (2, 2), (4, 4), (8, 4)];
/// num_pages, actual, free_page_hint_cmd_id, poison_val.
const BALLOON: &[Field] = &[(0, 4), (4, 4), (8, 4), (12, 4)];
/// num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size,
/// max_channel, max_target, max_lun.
const SCSI: &[Field] = &[(0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 4)];
/// tag_len; the tag after it has no size known here and is read byte by byte.
const NINE_P: &[Field] = &[(0, 2)];

impl DeviceType {
    pub(in crate::transitional) const fn fields(self) -> &'static [Field] {
        match self {
            Self::Net => NET,
            Self::Block => BLOCK,
            Self::Console => CONSOLE,
            Self::Entropy => &[],
            Self::Balloon => BALLOON,
            Self::Scsi => SCSI,
            Self::NineP => NINE_P,
        }
    }

    /// Where the field starts that `offset` lies in, if the table has it.
    pub(in crate::transitional) fn field_at(self, offset: u8) -> Option<u8> {
        let inside = |&&(start, size): &&Field| offset >= start && offset - start < size;
        self.fields().iter().find(inside).map(|&(start, _)| start)
    }

    /// Bytes up to the end of the field that `offset` lies in. A byte that no field of the table
    /// covers is a field of its own: the safe guess for a newer device.
    pub(in crate::transitional) fn rest_of_field(self, offset: u8) -> u8 {
        let inside = |&&(start, size): &&Field| offset >= start && offset - start < size;
        self.fields().iter().find(inside).map_or(1, |&(start, size)| size - (offset - start))
    }
}

/// A part of a guest access that lies in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the device configuration.
    pub offset: u8,
    /// 1, 2 or 4 bytes.
    pub width: Width,
    /// Which byte of the guest's value this piece begins at: 0..=3.
    pub position: u8,
}

/// The pieces of one guest access in ascending order; bytes past the configuration have no piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    pieces: [Piece; 4],
    count: u8,
}

impl Split {
    /// Cuts an access of up to 4 bytes at `offset` on the field borders of `device`. Bytes at
    /// `config_len` and above belong to no piece.
    pub fn new(device: DeviceType, offset: u64, width: Width, config_len: u8) -> Self {
        let mut split = Self { pieces: [Piece { offset: 0, width: Width::B1, position: 0 }; 4], count: 0 };
        let bytes = width.bytes().min(4) as u8;
        let mut position = 0;
        while position < bytes {
            let Some(at) = offset.checked_add(position.into()).and_then(|at| u8::try_from(at).ok()) else { break };
            if at >= config_len {
                break;
            }
            let room = (bytes - position).min(config_len - at).min(device.rest_of_field(at));
            let width = widest(room);
            split.push(Piece { offset: at, width, position });
            position += width.bytes() as u8;
        }
        split
    }

    /// Each round of [`Self::new`] takes at least one of at most four bytes, so there is room.
    fn push(&mut self, piece: Piece) {
        if let Some(slot) = self.pieces.get_mut(usize::from(self.count)) {
            *slot = piece;
            self.count += 1;
        }
    }

    /// The pieces.
    pub fn pieces(&self) -> &[Piece] {
        self.pieces.get(..usize::from(self.count)).unwrap_or(&[])
    }
}

/// The widest access that fits in `room` bytes (at least one).
const fn widest(room: u8) -> Width {
    match room {
        0 | 1 => Width::B1,
        2 | 3 => Width::B2,
        _ => Width::B4,
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
