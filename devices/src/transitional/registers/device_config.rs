// SPDX-License-Identifier: Apache-2.0
//! The guest's accesses to device configuration, field by field.

use super::Registers;
use super::cache::RegisterCache;
use crate::contract::{Area, Width};
use crate::transitional::below::back_end::Denied;
use crate::transitional::layout::fields::{Piece, Split};
use crate::transitional::telemetry::stats::DeviceCounter;

impl Registers {
    /// Bytes in no piece, or in one that failed, read as ones.
    pub(super) fn read_config(&self, cache: &mut RegisterCache, split: &Split, width: Width) -> u64 {
        let mut value = width.all_ones();
        let mut asked = false;
        for piece in split.pieces() {
            let known = cache.config.get(piece);
            asked |= known.is_none();
            if let Some(part) = known.or_else(|| self.read_field(cache, piece)) {
                let shift = 8 * u32::from(piece.position);
                value = value & !(piece.width.all_ones() << shift) | piece.width.truncate(part.into()) << shift;
            }
        }
        if !asked {
            self.back_end.stats().add(DeviceCounter::ShadowReads);
        }
        value
    }

    /// Reads a piece of a field from the device, and what the guest will ask for next along with it.
    fn read_field(&self, cache: &mut RegisterCache, piece: &Piece) -> Option<u32> {
        let room = self.layout.device.rest_of_field(piece.offset);
        let room = room.min(self.layout.config_len.saturating_sub(piece.offset));
        let config = &mut cache.config;
        let width = config.width_to_read(piece, room);
        if width != piece.width {
            match self.back_end.read_area(Area::Device, piece.offset, width) {
                Ok(value) => {
                    config.read(piece, width, value);
                    return Some(value);
                }
                Err(Denied::Refused) => config.refused_run(),
                Err(_) => return None,
            }
        }
        let value = self.read_piece(piece)?;
        config.read(piece, piece.width, value);
        Some(value)
    }

    /// A device may be stricter about arrays than the standard and refuse several bytes at once; then
    /// they are read one by one.
    fn read_piece(&self, piece: &Piece) -> Option<u32> {
        match self.back_end.read_area(Area::Device, piece.offset, piece.width) {
            Ok(value) => Some(value),
            Err(Denied::Refused) if piece.width != Width::B1 => {
                let mut value = 0;
                for byte in 0..piece.width.bytes() as u8 {
                    let offset = piece.offset.checked_add(byte)?;
                    let part = self.back_end.read_area(Area::Device, offset, Width::B1).ok()?;
                    value |= (part & 0xff) << (8 * byte);
                }
                Some(value)
            }
            Err(_) => None,
        }
    }

    pub(super) fn write_config(&self, split: &Split, value: u32) {
        for piece in split.pieces() {
            let part = piece.width.truncate(u64::from(value) >> (8 * piece.position)) as u32;
            let result = self.back_end.write_area(Area::Device, piece.offset, piece.width, part);
            if result == Err(Denied::Refused) && piece.width != Width::B1 {
                self.write_bytes(piece, part);
            }
        }
    }

    fn write_bytes(&self, piece: &Piece, value: u32) {
        for byte in 0..piece.width.bytes() as u8 {
            let part = value >> (8 * byte) & 0xff;
            let Some(offset) = piece.offset.checked_add(byte) else { return };
            if self.back_end.write_area(Area::Device, offset, Width::B1, part).is_err() {
                return;
            }
        }
    }
}
