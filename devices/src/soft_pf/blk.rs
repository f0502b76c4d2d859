// SPDX-License-Identifier: Apache-2.0
//! Block device on a file (virtio 1.3, 5.2). Data goes between the file and the driver's memory
//! without a copy in between.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::chain::{Chain, Ring, RingError};
use super::device::feature;
use super::memory::Memory;
use super::model::{Field, Model, Progress};

/// Queue size. SeaBIOS gives up on more than 128, and a legacy driver cannot ask for less.
const QUEUE_SIZE: u16 = 128;
/// Bytes of a sector, whatever `blk_size` says.
const SECTOR: u64 = 512;
/// Most data of one request: how long a reset may have to wait. Far above what drivers send.
const MAX_DATA: u64 = 32 << 20;
const HEADER_LEN: usize = 16;
const ID_LEN: usize = 20;

const F_SEG_MAX: u64 = 1 << 2;
const F_GEOMETRY: u64 = 1 << 4;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;

const STATUS_OK: u8 = 0;
const STATUS_IOERR: u8 = 1;
const STATUS_UNSUPP: u8 = 2;

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
    file: File,
    read_only: bool,
    sectors: u64,
    id: [u8; ID_LEN],
    config: [u8; CONFIG_LEN],
}

/// A request's fixed part.
struct Header {
    kind: u32,
    sector: u64,
}

impl Blk {
    /// A device with all whole sectors of `file`; `id` is cut to 20 bytes.
    pub(super) fn new(mut file: File, read_only: bool, id: &str) -> std::io::Result<Self> {
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR;
        let mut padded = [0; ID_LEN];
        padded.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
        Ok(Self { file, read_only, sectors, id: padded, config: config(sectors) })
    }

    /// Serves the request in `chain`; returns how many bytes were written.
    fn request(&mut self, chain: &Chain, memory: &Memory) -> Result<u32, RingError> {
        let room = chain.writable_len();
        // Without room for the status there is no way to answer.
        let Some(data_room) = room.checked_sub(1).filter(|len| *len <= MAX_DATA) else { return Err(RingError::Size) };
        let mut header = [0; HEADER_LEN];
        let complete = chain.read(memory, 0, &mut header)? == HEADER_LEN;
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let header = Header { kind: u32::from_le_bytes([k0, k1, k2, k3]), sector: u64::from_le_bytes(sector) };

        // The used length covers the status, so it covers all before it, which must be written.
        if header.kind != TYPE_IN {
            blank(chain, memory, data_room)?;
        }
        let status = if complete { self.execute(&header, chain, memory, data_room) } else { STATUS_IOERR };
        if header.kind == TYPE_IN && status != STATUS_OK {
            blank(chain, memory, data_room)?;
        }
        chain.write(memory, data_room, &[status])?;
        Ok(u32::try_from(room).unwrap_or(u32::MAX))
    }

    fn execute(&mut self, header: &Header, chain: &Chain, memory: &Memory, data_room: u64) -> u8 {
        let result = match header.kind {
            TYPE_IN => self.read(header.sector, data_room, chain, memory),
            TYPE_OUT => self.write(header.sector, chain, memory),
            TYPE_FLUSH if self.read_only => Some(()),
            TYPE_FLUSH => self.file.sync_data().ok(),
            TYPE_GET_ID => (chain.write(memory, 0, &self.id[..ID_LEN.min(data_room as usize)]).is_ok()).then_some(()),
            _ => return STATUS_UNSUPP,
        };
        if result.is_some() { STATUS_OK } else { STATUS_IOERR }
    }

    /// Puts the file at `sector`, if `len` bytes from there are whole sectors of the device.
    fn seek(&mut self, sector: u64, len: u64) -> Option<()> {
        let end = sector.checked_add(len / SECTOR)?;
        if !len.is_multiple_of(SECTOR) || len > MAX_DATA || end > self.sectors {
            return None;
        }
        self.file.seek(SeekFrom::Start(sector * SECTOR)).ok().map(drop)
    }

    fn read(&mut self, sector: u64, len: u64, chain: &Chain, memory: &Memory) -> Option<()> {
        self.seek(sector, len)?;
        for (address, len) in chain.writable(0, len) {
            in_memory(chain, memory, address, len)?;
            memory.read_exact_volatile_from(address, &mut self.file, len).ok()?;
        }
        Some(())
    }

    fn write(&mut self, sector: u64, chain: &Chain, memory: &Memory) -> Option<()> {
        if self.read_only {
            return None;
        }
        let len = chain.readable_len().checked_sub(HEADER_LEN as u64)?;
        self.seek(sector, len)?;
        for (address, len) in chain.readable(HEADER_LEN as u64, len) {
            in_memory(chain, memory, address, len)?;
            memory.write_all_volatile_to(address, &mut self.file, len).ok()?;
        }
        Some(())
    }
}

/// Counts a fault if a piece of a buffer is not mapped: the copy that follows could not tell that from an error of
/// the file.
fn in_memory(chain: &Chain, memory: &Memory, address: GuestAddress, len: usize) -> Option<()> {
    if GuestMemoryBackend::check_range(memory, address, len) {
        return Some(());
    }
    let _: RingError = chain.fault(address.0);
    None
}

/// Zeroes `len` bytes of the writable stream.
fn blank(chain: &Chain, memory: &Memory, len: u64) -> Result<(), RingError> {
    let zeroes = [0; 4096];
    let mut done = 0;
    while done < len {
        let part = (len - done).min(zeroes.len() as u64);
        chain.write(memory, done, &zeroes[..part as usize])?;
        done += part;
    }
    Ok(())
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
        let ro = if self.read_only { F_RO } else { 0 };
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

    fn process(&mut self, _queue: usize, ring: &mut Ring<'_>, _features: u64) -> Result<Progress, RingError> {
        while ring.budget > 0 {
            if !ring.pop()? {
                return Ok(Progress::Drained);
            }
            let written = self.request(ring.chain, ring.memory)?;
            ring.complete(written)?;
        }
        Ok(Progress::More)
    }

    fn reset(&mut self) {}
}

#[cfg(test)]
#[path = "blk_tests.rs"]
mod tests;
