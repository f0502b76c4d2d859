// SPDX-License-Identifier: Apache-2.0
//! What a server does with the messages of one client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::channel::{self, Ready, Receiver};
use super::dma::DmaTable;
use super::irqs::{self, Irqs};
use super::version::{self, Capabilities};
use super::wire::{
    DeviceInfo, Header, RegionAccess, RegionInfo, Request, SparseArea, WireError, Writes, put_access, put_u64,
    put_version, region_flag,
};
use super::{CONFIG_REGION, REGIONS, errno};
use crate::bus::Width;
use crate::function::received::Received;
use crate::function::{MappableArea, PciFunction};
use crate::spec::pci::CONFIG_SPACE_SIZE;

/// A message that has begun must be complete within this, and a reply taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// `VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI`.
const DEVICE_FLAGS: u32 = 3;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client went away")]
    Gone,
    #[error("the server stops")]
    Stopped,
    #[error("the client's memory is gone: it shortened a file, or the host has no memory left for one")]
    Memory,
    #[error("a message was not complete within {PATIENCE:?}")]
    Slow,
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the client did not begin with VERSION, or with another major version than {}", version::MAJOR)]
    Version,
}

/// The payload of a reply is in the session's buffer; a file may go along.
type Answer = Result<Option<Arc<std::fs::File>>, i32>;

/// One client.
pub(super) struct Session<'a> {
    function: &'a dyn PciFunction,
    dma: DmaTable,
    irqs: Irqs,
    /// The reply that is being made: room for a header, then the payload.
    reply: Vec<u8>,
    negotiated: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(function: &'a dyn PciFunction) -> Self {
        let (dma, irqs) = (DmaTable::default(), Irqs::default());
        Self { function, dma, irqs, reply: Vec::new(), negotiated: false }
    }

    /// Serves the client until it goes away or `stop` is readable. The function is left in peace then.
    pub(super) fn run(mut self, socket: BorrowedFd<'_>, stop: BorrowedFd<'_>) {
        let end = self.serve(socket, stop);
        match end {
            Err(end @ (End::Gone | End::Stopped)) => {
                tracing::debug!(function = self.function.name(), %end, "vfio-user connection ended");
            }
            Err(end) => tracing::warn!(function = self.function.name(), %end, "vfio-user connection ended"),
            Ok(()) => {}
        }
        self.irqs.clear(self.function);
        if let Err(error) = self.function.reset() {
            tracing::debug!(function = self.function.name(), %error, "no reset after the client");
        }
        self.dma.clear(self.function);
    }

    fn serve(&mut self, socket: BorrowedFd<'_>, stop: BorrowedFd<'_>) -> Result<(), End> {
        let mut receiver = Receiver::new();
        let mut begun = None;
        loop {
            while let Some(message) = receiver.next()? {
                if self.dma.is_lost() {
                    return Err(End::Memory);
                }
                self.message(socket, stop, message)?;
                begun = None;
            }
            if receiver.has_part() {
                begun.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
            match channel::wait(socket, PollFlags::IN, Some(stop), begun)? {
                Ready::Stop => return Err(End::Stopped),
                Ready::Late => return Err(End::Slow),
                Ready::Socket => {}
            }
            match receiver.fill(socket, true) {
                Ok(true) => {}
                Ok(false) => return Err(End::Gone),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(End::Gone),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Carries one message out and replies to it.
    fn message(
        &mut self,
        socket: BorrowedFd<'_>,
        stop: BorrowedFd<'_>,
        message: channel::Message<'_>,
    ) -> Result<(), End> {
        let header = message.header;
        if header.is_reply() {
            // Nothing was asked; a late reply does no harm.
            return Ok(());
        }
        self.reply.clear();
        self.reply.resize(super::wire::HEADER_LEN, 0);
        let request = Request::decode(header.command, message.payload);
        let answer = match request {
            Ok(request @ Request::Version { .. }) if !self.negotiated => Ok(self.version(&request)?),
            _ if !self.negotiated => return Err(End::Version),
            Ok(request) => self.request(&request, message.fds),
            Err(error) => {
                tracing::debug!(function = self.function.name(), %error, "refused a message");
                Err(if matches!(error, WireError::Unknown { .. }) { libc::EOPNOTSUPP } else { libc::EINVAL })
            }
        };
        if header.no_reply() {
            return Ok(());
        }
        let (reply, file) = match answer {
            Ok(file) => (header.reply(self.reply.len() - super::wire::HEADER_LEN), file),
            Err(errno) => {
                self.reply.truncate(super::wire::HEADER_LEN);
                (header.failure(errno), None)
            }
        };
        self.send(socket, stop, &reply, file.as_deref())
    }

    fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        stop: BorrowedFd<'_>,
        header: &Header,
        file: Option<&std::fs::File>,
    ) -> Result<(), End> {
        if let Some(place) = self.reply.first_chunk_mut() {
            *place = header.encode();
        }
        let fds = file.map(|file| [file.as_fd()]);
        match channel::send(socket, &self.reply, fds.as_ref().map_or(&[], |fds| fds), Some(stop), PATIENCE) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(End::Stopped),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(End::Gone),
            other => Ok(other?),
        }
    }

    fn version(&mut self, request: &Request<'_>) -> Result<Option<Arc<std::fs::File>>, End> {
        let Request::Version { major, minor, text } = *request else { return Err(End::Version) };
        if major != version::MAJOR {
            return Err(End::Version);
        }
        let theirs = Capabilities::decode(text).map_err(|error| {
            tracing::debug!(function = self.function.name(), %error, "bad version");
            End::Version
        })?;
        let text = Capabilities::ours().encode(theirs.write_multiple);
        put_version(&mut self.reply, major, minor.min(version::MINOR), &text);
        self.negotiated = true;
        Ok(None)
    }

    fn request(&mut self, request: &Request<'_>, fds: Vec<Received>) -> Answer {
        let function = self.function;
        match request {
            Request::Version { .. } | Request::DmaRead(_) | Request::DmaWrite(..) => return Err(libc::EINVAL),
            Request::GetRegionIoFds { .. } => return Err(libc::EOPNOTSUPP),
            Request::DmaMap(map) => {
                let mut fds = fds.into_iter();
                let (fd, more) = (fds.next(), fds.next());
                if more.is_some() {
                    return Err(libc::EINVAL);
                }
                self.dma.map(function, map, fd)?;
            }
            Request::DmaUnmap(unmap) => {
                self.dma.unmap(function, unmap)?;
                unmap.encode(&mut self.reply);
            }
            Request::GetInfo(_) => {
                let info = DeviceInfo { argsz: 16, flags: DEVICE_FLAGS, regions: REGIONS, irqs: irqs::KINDS };
                info.encode(&mut self.reply);
            }
            Request::GetRegionInfo { argsz, index } => return self.region_info(*argsz, *index),
            Request::GetIrqInfo { index } if *index < irqs::KINDS => {
                irqs::info(function, *index).encode(&mut self.reply);
            }
            Request::GetIrqInfo { .. } => return Err(libc::EINVAL),
            Request::SetIrqs(set) => self.irqs.set(function, set, fds)?,
            Request::RegionRead(access) => self.region_read(access)?,
            Request::RegionWrite(access, data) => {
                self.region_write(access, data)?;
                put_access(&mut self.reply, access);
            }
            Request::RegionWriteMulti(writes) => self.write_multi(writes)?,
            Request::Reset => {
                function.reset().map_err(|error| errno(&error))?;
                self.irqs.forget();
            }
        }
        Ok(None)
    }

    fn region_info(&mut self, argsz: u32, index: u32) -> Answer {
        if index >= REGIONS || (argsz as usize) < RegionInfo::LEN {
            return Err(libc::EINVAL);
        }
        let size = self.region_size(index);
        let mut info = RegionInfo { argsz: RegionInfo::LEN as u32, index, size, ..RegionInfo::default() };
        if size != 0 {
            info.flags = region_flag::READ | region_flag::WRITE;
        }
        let areas = if index < 6 { self.function.mappable(index as u8) } else { Ok(Vec::new()) };
        let areas = areas.map_err(|error| errno(&error))?;
        let Some((file, offset)) = one_file(&areas) else {
            info.encode(&mut self.reply);
            return Ok(None);
        };
        let areas: Vec<_> = areas.iter().map(|area| SparseArea { offset: area.offset, size: area.size }).collect();
        let needed = RegionInfo::LEN + RegionInfo::areas_len(areas.len());
        info.argsz = needed as u32;
        info.flags |= region_flag::MMAP | region_flag::CAPS;
        info.offset = offset;
        if (argsz as usize) < needed {
            // The client asks again with more room.
            info.encode(&mut self.reply);
            return Ok(None);
        }
        info.cap_offset = RegionInfo::LEN as u32;
        info.encode(&mut self.reply);
        RegionInfo::encode_areas(&areas, &mut self.reply);
        Ok(Some(file))
    }

    fn region_size(&self, index: u32) -> u64 {
        match index {
            CONFIG_REGION => CONFIG_SPACE_SIZE as u64,
            0..=5 => self.function.region(index as u8).map_or(0, |region| region.size),
            _ => 0,
        }
    }

    /// Whether the access is inside its region.
    fn check(&self, access: &RegionAccess) -> Result<(), i32> {
        let end = access.offset.checked_add(access.count.into());
        end.filter(|end| *end <= self.region_size(access.region)).map(drop).ok_or(libc::EINVAL)
    }

    fn region_read(&mut self, access: &RegionAccess) -> Result<(), i32> {
        self.check(access)?;
        put_access(&mut self.reply, access);
        for (offset, width) in pieces(access) {
            let value = match access.region {
                CONFIG_REGION => self.function.config_read(offset as u16, width).map(u64::from),
                bar => self.function.region_read(bar as u8, offset, width),
            };
            let value = value.map_err(|error| errno(&error))?;
            self.reply.extend_from_slice(value.to_le_bytes().get(..width.bytes()).unwrap_or_default());
        }
        Ok(())
    }

    fn region_write(&mut self, access: &RegionAccess, data: &[u8]) -> Result<(), i32> {
        self.check(access)?;
        let mut left = data;
        for (offset, width) in pieces(access) {
            let (piece, rest) = left.split_at_checked(width.bytes()).ok_or(libc::EINVAL)?;
            left = rest;
            let value = piece.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            let written = match access.region {
                CONFIG_REGION => self.function.config_write(offset as u16, width, value as u32),
                bar => self.function.region_write(bar as u8, offset, width, value),
            };
            written.map_err(|error| errno(&error))?;
        }
        Ok(())
    }

    fn write_multi(&mut self, writes: &Writes<'_>) -> Result<(), i32> {
        for write in writes.iter() {
            let (access, data) = write.map_err(|_| libc::EINVAL)?;
            self.region_write(&access, data)?;
        }
        put_u64(&mut self.reply, &[writes.count()]);
        Ok(())
    }
}

/// The file that all areas are in, and where in it the BAR begins. One descriptor and one offset are all
/// that a reply has room for.
fn one_file(areas: &[MappableArea]) -> Option<(Arc<std::fs::File>, u64)> {
    let first = areas.first()?;
    let offset = first.file_offset.checked_sub(first.offset)?;
    let together = areas
        .iter()
        .all(|area| Arc::ptr_eq(&area.file, &first.file) && area.file_offset.checked_sub(area.offset) == Some(offset));
    together.then(|| (first.file.clone(), offset))
}

/// The register accesses that a region access is made of: one, if there is an access of that width. Longer
/// ones are cut into aligned ones of up to 4 bytes, as there is none of more in configuration space.
fn pieces(access: &RegionAccess) -> impl Iterator<Item = (u64, Width)> + use<> {
    let widest = if access.region == CONFIG_REGION { Width::B4 } else { Width::B8 };
    let whole = Width::from_bytes(access.count as usize).filter(|width| *width <= widest);
    let (mut offset, mut left) = (access.offset, u64::from(access.count));
    std::iter::from_fn(move || {
        let width = match whole {
            Some(width) if left != 0 => width,
            _ => [Width::B4, Width::B2, Width::B1]
                .into_iter()
                .find(|width| offset.is_multiple_of(width.bytes() as u64) && width.bytes() as u64 <= left)?,
        };
        let at = offset;
        offset += width.bytes() as u64;
        left -= width.bytes() as u64;
        Some((at, width))
    })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
