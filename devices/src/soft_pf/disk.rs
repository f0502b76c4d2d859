// SPDX-License-Identifier: Apache-2.0
//! The host's side of a disk: requests that were taken out of a queue, and the file. It may wait for the host's
//! storage without a limit, so nothing here is done with a lock of the device held. Data goes between the file and
//! the driver's memory without a copy in between.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vm_memory::VolatileSlice;

use super::chain::{Chain, RingError};
use super::host_errors::{HostErrors, Operation};
use super::memory::Memory;
use crate::function::positioned;

/// Bytes of a sector, whatever `blk_size` says.
pub(super) const SECTOR: u64 = 512;
/// Most data of one request. Far above what drivers send.
pub(super) const MAX_DATA: u64 = 32 << 20;
/// Bytes of the serial number.
pub(super) const ID_LEN: usize = 20;
const HEADER_LEN: usize = 16;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;

const STATUS_OK: u8 = 0;
const STATUS_IOERR: u8 = 1;
const STATUS_UNSUPP: u8 = 2;

/// The file of a disk.
pub(super) struct Disk {
    file: File,
    read_only: bool,
    sectors: u64,
    id: [u8; ID_LEN],
    errors: HostErrors,
    /// Whether the file knows a read that does not wait; likewise a write.
    nowait_read: AtomicBool,
    nowait_write: AtomicBool,
}

/// A request's fixed part.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u32,
    sector: u64,
    /// All of it was there.
    complete: bool,
}

/// One request on its way. What it did so far is noted, so that it goes on where it was when it would have to wait.
pub(super) struct Request {
    disk: Arc<Disk>,
    chain: Arc<Chain>,
    header: Header,
    /// Writes are stable before they are completed.
    stable: bool,
    /// Bytes of data that were moved.
    done: u64,
}

/// Why a request does not go on.
enum Stop {
    /// It would have to wait.
    Wait,
    /// It failed; the driver gets this status.
    Status(u8),
    /// The driver broke the ring.
    Ring(RingError),
}

impl From<RingError> for Stop {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl Disk {
    /// All whole sectors of a file with its size, if that is known; `id` is cut to 20 bytes.
    pub(super) fn new(
        file: File,
        size: Option<u64>,
        read_only: bool,
        id: &str,
        errors: HostErrors,
    ) -> io::Result<Self> {
        let size = size.map_or_else(|| io::Seek::seek(&mut &file, io::SeekFrom::End(0)), Ok)?;
        let sectors = size / SECTOR;
        let mut padded = [0; ID_LEN];
        padded.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
        let yes = || AtomicBool::new(true);
        Ok(Self { file, read_only, sectors, id: padded, errors, nowait_read: yes(), nowait_write: yes() })
    }

    /// Capacity in sectors.
    pub(super) fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether it refuses writes.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// First byte of `len` bytes from `sector`, if they are whole sectors of the disk.
    fn position(&self, sector: u64, len: u64) -> Option<u64> {
        let end = sector.checked_add(len / SECTOR)?;
        (len.is_multiple_of(SECTOR) && len <= MAX_DATA && end <= self.sectors).then(|| sector.saturating_mul(SECTOR))
    }

    fn read(&self, pieces: &[VolatileSlice<'_>], offset: u64, nowait: bool) -> io::Result<usize> {
        known(&self.nowait_read, nowait, || positioned::read_at(&self.file, pieces, offset, nowait))
    }

    fn write(&self, pieces: &[VolatileSlice<'_>], offset: u64, nowait: bool) -> io::Result<usize> {
        known(&self.nowait_write, nowait, || positioned::write_at(&self.file, pieces, offset, nowait))
    }
}

/// A call that may not know that it must not wait: then it is as if it had to.
fn known(knows: &AtomicBool, nowait: bool, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    if !nowait {
        return call();
    }
    if !knows.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    call().map_err(|error| {
        if !is_unknown(&error) {
            return error;
        }
        knows.store(false, Ordering::Relaxed);
        io::ErrorKind::WouldBlock.into()
    })
}

fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

impl Request {
    /// The request in `chain`. `stable` says that its writes are completed when they are stable.
    pub(super) fn new(disk: &Arc<Disk>, chain: Chain, memory: &Memory, stable: bool) -> Result<Self, RingError> {
        // Without room for the status there is no way to answer.
        if !(1..=MAX_DATA + 1).contains(&chain.writable_len()) {
            return Err(RingError::Size);
        }
        let mut header = [0; HEADER_LEN];
        let complete = chain.read(memory, 0, &mut header)? == HEADER_LEN;
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let header = Header { kind, sector: u64::from_le_bytes(sector), complete };
        Ok(Self { disk: Arc::clone(disk), chain: Arc::new(chain), header, stable, done: 0 })
    }

    /// The buffer it came in.
    pub(super) fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Bytes of data that were moved.
    pub(super) fn moved(&self) -> u64 {
        self.done
    }

    /// Writes its status, and says how many bytes the used length is.
    pub(super) fn answer(&self, memory: &Memory, status: u8) -> Result<u32, RingError> {
        self.chain.write(memory, self.data_room(), &[status])?;
        Ok(u32::try_from(self.chain.writable_len()).unwrap_or(u32::MAX))
    }

    /// It failed without being tried.
    pub(super) fn fail(&self, memory: &Memory) -> Result<u8, RingError> {
        self.blank(memory).map(|()| STATUS_IOERR)
    }

    /// Carries it out; returns the status. Without `may_wait` it stops where the host's storage would have to be waited
    /// for, which is `None`; a further call goes on there.
    pub(super) fn run(&mut self, memory: &Memory, may_wait: bool) -> Option<Result<u8, RingError>> {
        match self.execute(memory, may_wait) {
            Ok(()) => Some(Ok(STATUS_OK)),
            Err(Stop::Wait) => None,
            Err(Stop::Ring(error)) => Some(Err(error)),
            // The used length covers the status, so it covers all before it, which must be written.
            Err(Stop::Status(status)) => Some(self.blank(memory).map(|()| status)),
        }
    }

    fn execute(&mut self, memory: &Memory, may_wait: bool) -> Result<(), Stop> {
        if !self.header.complete {
            return Err(Stop::Status(STATUS_IOERR));
        }
        match self.header.kind {
            TYPE_IN => self.transfer(Operation::Read, self.data_room(), memory, may_wait),
            TYPE_OUT => {
                let len = self.chain.readable_len().saturating_sub(HEADER_LEN as u64);
                if self.disk.read_only {
                    return Err(Stop::Status(STATUS_IOERR));
                }
                self.transfer(Operation::Write, len, memory, may_wait)?;
                if self.stable {
                    // Not RWF_DSYNC: FUSE takes it and does not do it.
                    self.flush(may_wait)?;
                }
                Ok(self.blank(memory)?)
            }
            TYPE_FLUSH => {
                self.flush(may_wait)?;
                Ok(self.blank(memory)?)
            }
            TYPE_GET_ID => {
                self.blank(memory)?;
                let len = ID_LEN.min(self.data_room() as usize);
                self.chain.write(memory, 0, &self.disk.id[..len]).map(drop).map_err(|_| Stop::Status(STATUS_IOERR))
            }
            _ => Err(Stop::Status(STATUS_UNSUPP)),
        }
    }

    fn data_room(&self) -> u64 {
        self.chain.writable_len().saturating_sub(1)
    }

    /// Covers the writes that were completed before it was taken: they have reached the file.
    fn flush(&self, may_wait: bool) -> Result<(), Stop> {
        if self.disk.read_only {
            return Ok(());
        }
        if !may_wait {
            return Err(Stop::Wait);
        }
        let synced = self.disk.file.sync_data();
        self.host(Operation::Flush, synced)
    }

    fn transfer(&mut self, what: Operation, len: u64, memory: &Memory, may_wait: bool) -> Result<(), Stop> {
        let failed = Stop::Status(STATUS_IOERR);
        let Some(start) = self.disk.position(self.header.sector, len) else { return Err(failed) };
        while self.done < len {
            let Some(pieces) = self.pieces(what, len, memory) else { return Err(failed) };
            let offset = start.saturating_add(self.done);
            let moved = match what {
                Operation::Read => self.disk.read(&pieces, offset, !may_wait),
                _ => self.disk.write(&pieces, offset, !may_wait),
            };
            match moved {
                Ok(0) => return self.host(what, Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(moved) => self.done += moved as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !may_wait => return Err(Stop::Wait),
                Err(error) => return self.host(what, Err(error)),
            }
        }
        self.host(what, Ok(()))
    }

    /// The memory of what is left of the data; `None` if some of it is not mapped.
    fn pieces<'m>(&self, what: Operation, len: u64, memory: &'m Memory) -> Option<Vec<VolatileSlice<'m>>> {
        let left = len - self.done;
        let mut pieces = Vec::new();
        let mut add = |(address, len)| {
            let mapped = memory.slices(address, len, &mut pieces);
            if !mapped {
                let _: RingError = self.chain.fault(address.0);
            }
            mapped
        };
        let all = match what {
            Operation::Read => self.chain.writable(self.done, left).all(&mut add),
            _ => self.chain.readable(HEADER_LEN as u64 + self.done, left).all(&mut add),
        };
        all.then_some(pieces)
    }

    /// Notes how an operation of the host ended.
    fn host(&self, what: Operation, result: io::Result<()>) -> Result<(), Stop> {
        match result {
            Ok(()) => {
                self.disk.errors.worked(what);
                Ok(())
            }
            Err(error) => {
                self.disk.errors.failed(what, self.header.sector, &error);
                Err(Stop::Status(STATUS_IOERR))
            }
        }
    }

    /// Zeroes all that can be written before the status.
    fn blank(&self, memory: &Memory) -> Result<(), RingError> {
        let zeroes = [0; 4096];
        let (mut done, len) = (0, self.data_room());
        while done < len {
            let part = (len - done).min(zeroes.len() as u64);
            self.chain.write(memory, done, &zeroes[..part as usize])?;
            done += part;
        }
        Ok(())
    }
}
