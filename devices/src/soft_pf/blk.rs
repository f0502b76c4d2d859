// SPDX-License-Identifier: Apache-2.0
//! Block device on a file (virtio 1.3, 5.2): its registers, and how its requests are taken. What they do with the file
//! is in `disk`.

use std::sync::Arc;

use super::chain::RingError;
use super::device::feature;
use super::disk::{Disk, Request, SECTOR};
use super::model::{Field, Model, Progress};
use super::ring::Ring;

/// Queue size. SeaBIOS gives up on more than 128, and a legacy driver cannot ask for less.
const QUEUE_SIZE: u16 = 128;

const F_SEG_MAX: u64 = 1 << 2;
const F_GEOMETRY: u64 = 1 << 4;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;

/// capacity, size_max, seg_max, cylinders, heads, sectors, blk_size
const FIELDS: [Field; 7] = [
    Field::at(0, 8),
    Field::at(8, 4),
    Field::at(12, 4),
    Field::at(16, 2),
    Field::at(18, 1),
    Field::at(19, 1),
    Field::at(20, 4),
];
const CONFIG_LEN: usize = 24;

/// A block device.
pub(super) struct Blk {
    disk: Arc<Disk>,
    config: [u8; CONFIG_LEN],
}

impl Blk {
    /// A device with the content of `disk`.
    pub(super) fn new(disk: Disk) -> Self {
        Self { config: config(disk.sectors()), disk: Arc::new(disk) }
    }
}

/// Configuration space. The geometry is what firmware expects of a disk of any size.
fn config(sectors: u64) -> [u8; CONFIG_LEN] {
    const HEADS: u8 = 16;
    const SECTORS_PER_TRACK: u8 = 63;
    // Two at least: firmware reads nothing of a disk without cylinders.
    let cylinders = (sectors / (u64::from(HEADS) * u64::from(SECTORS_PER_TRACK))).max(2);
    let mut config = [0; CONFIG_LEN];
    config[0..8].copy_from_slice(&sectors.to_le_bytes());
    config[12..16].copy_from_slice(&u32::from(QUEUE_SIZE - 2).to_le_bytes());
    config[16..18].copy_from_slice(&u16::try_from(cylinders).unwrap_or(u16::MAX).to_le_bytes());
    config[18] = HEADS;
    config[19] = SECTORS_PER_TRACK;
    config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
    config
}

impl Model for Blk {
    fn device_type(&self) -> u16 {
        2
    }

    fn features(&self) -> u64 {
        let ro = if self.disk.is_read_only() { F_RO } else { 0 };
        F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | ro | feature::EVENT_IDX
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    fn write_config(&mut self, _offset: u8, _bytes: &[u8]) -> bool {
        false
    }

    fn process(&mut self, _queue: usize, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError> {
        while ring.left.buffers > 0 {
            if !ring.pop()? {
                return Ok(Progress::Drained);
            }
            // A driver that cannot flush takes what is completed for stable (virtio 1.3, 5.2.6.2).
            let stable = features & F_FLUSH == 0;
            ring.requests.push(Request::new(&self.disk, ring.chain.detach(), ring.memory, stable)?);
        }
        Ok(Progress::More)
    }

    fn reset(&mut self) {}
}

#[cfg(test)]
#[path = "blk_tests.rs"]
mod tests;
