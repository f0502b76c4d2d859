// SPDX-License-Identifier: Apache-2.0
//! A PCI function that a vfio-user server offers. See [`VfioUserFunction`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use vm_memory::GuestMemoryRegion;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::connection::{Connection, Failure};
use super::discovery::{self, Discovered};
use super::version::Capabilities;
use super::watcher::{Mapped, Watcher};
use super::wire::{DmaMap, DmaUnmap, RegionAccess, Request, SetIrqs, dma_flag, read_data, set_irqs_flag, written};
use super::{CONFIG_REGION, irqs};
use crate::bus::Width;
use crate::function::capabilities::MsixStructures;
use crate::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, IntxEvents, KickLink, Lifetime, MappableArea,
    Named, Region, Result, eventfds,
};
use crate::spec::pci::CONFIG_SPACE_SIZE;

/// How long a server may take for a request, unless told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Descriptors sent in one message, whatever the server says it takes.
const MOST_FDS: usize = 16;

/// A PCI function behind a vfio-user socket.
///
/// Every request has a deadline. A server that misses one is taken for dead: the connection ends, the
/// removal event is signalled, and all calls fail from then on ([`FunctionError::Gone`]).
pub struct VfioUserFunction {
    name: String,
    connection: Arc<Connection>,
    theirs: Capabilities,
    found: Discovered,
    /// What the server may reach, also by messages.
    mapped: Mapped,
    /// Vectors that the server has been told of: MSI and MSI-X.
    vectors: Mutex<Vectors>,
    removed: EventFd,
    /// Its thread ends with it.
    _watcher: Watcher,
}

#[derive(Default)]
struct Vectors {
    msi: usize,
    msix: usize,
}

impl VfioUserFunction {
    /// Connects to the server that listens at `path`. `deadline` is for each request, [`DEADLINE`] is a
    /// good one. The function has the path as its name.
    pub fn connect(path: &Path, deadline: Duration) -> Result<Self> {
        let name = path.display().to_string();
        let error = |source| FunctionError::Io { name: name.clone(), what: "connect to its vfio-user server", source };
        let stream = UnixStream::connect(path).map_err(error)?;
        Self::from_stream(&name, stream, deadline)
    }

    /// The function that the server at the other end of `stream` offers.
    pub fn from_stream(name: &str, stream: UnixStream, deadline: Duration) -> Result<Self> {
        let error = |source| FunctionError::Io { name: name.to_owned(), what: "use its vfio-user connection", source };
        let removed = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(error)?;
        let connection = Arc::new(Connection::new(stream, deadline).map_err(error)?);
        let mapped = Mapped::new(RwLock::new(BTreeMap::new()));
        let signal = removed.try_clone().map_err(error)?;
        let watcher = Watcher::spawn(name, connection.clone(), mapped.clone(), signal).map_err(error)?;
        let fail = |what, failure| failed(name, what, failure);
        let theirs = discovery::negotiate(&connection).map_err(|failure| fail("agree on a version with", failure))?;
        let found = discovery::discover(&connection).map_err(|failure| fail("learn what it is from", failure))?;
        let mut function = Self {
            name: name.to_owned(),
            connection,
            theirs,
            found,
            mapped,
            vectors: Mutex::default(),
            removed,
            _watcher: watcher,
        };
        if let Some(msix) = MsixStructures::find(&function)? {
            function.found.cut(&msix);
        }
        function.connection.refuse_fds();
        Ok(function)
    }

    fn fail(&self, what: &'static str, failure: Failure) -> FunctionError {
        failed(&self.name, what, failure)
    }

    /// A request whose reply is of no interest beyond success.
    fn tell(&self, what: &'static str, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Result<()> {
        self.connection.ask(request, fds, |_, _| Ok(())).map_err(|failure| self.fail(what, failure))
    }

    fn read(&self, access: RegionAccess) -> Result<u64> {
        let value = self.connection.ask(&Request::RegionRead(access), &[], |payload, _| {
            let data = read_data(payload, &access)?;
            Ok(data.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        });
        value.map_err(|failure| self.fail("read a register through", failure))
    }

    fn write(&self, access: RegionAccess, value: u64) -> Result<()> {
        let bytes = value.to_le_bytes();
        let data = bytes.get(..access.count as usize).unwrap_or_default();
        let done = self.connection.ask(&Request::RegionWrite(access, data), &[], |payload, _| Ok(written(payload)?));
        let failure = match done {
            Ok(count) if count == access.count => return Ok(()),
            Ok(count) => Failure::Lost(io::Error::other(format!("{count} of {} bytes were written", access.count))),
            Err(failure) => failure,
        };
        Err(self.fail("write a register through", failure))
    }

    fn config_access(&self, offset: u16, width: Width) -> Result<RegionAccess> {
        if width > Width::B4 || usize::from(offset) + width.bytes() > CONFIG_SPACE_SIZE {
            return Err(self.out_of_range("configuration space".to_owned(), offset.into(), width));
        }
        Ok(RegionAccess { offset: offset.into(), region: CONFIG_REGION, count: width.bytes() as u32 })
    }

    fn bar_access(&self, bar: u8, offset: u64, width: Width) -> Result<RegionAccess> {
        let size = self.region(bar).map_or(0, |region| region.size);
        match offset.checked_add(width.bytes() as u64) {
            Some(end) if end <= size => Ok(RegionAccess { offset, region: bar.into(), count: width.bytes() as u32 }),
            _ => Err(self.out_of_range(format!("BAR {bar}"), offset, width)),
        }
    }

    fn out_of_range(&self, what: String, offset: u64, width: Width) -> FunctionError {
        FunctionError::OutOfRange { name: self.name.clone(), what, offset, width: width.bytes() }
    }

    fn set_irqs(&self, index: u32, flags: u32, vectors: Range<usize>, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let (start, count) = (vectors.start as u32, vectors.len() as u32);
        let set = SetIrqs { flags, index, start, count, data: &[] };
        self.tell("set up interrupts through", &Request::SetIrqs(set), fds)
    }

    fn disable(&self, index: u32) -> Result<()> {
        self.set_irqs(index, set_irqs_flag::NONE | set_irqs_flag::TRIGGER, 0..0, &[])
    }

    /// Gives the vectors from 0 these events, in messages of as many as the server takes, and takes theirs
    /// from those behind, of which there were `before`.
    fn assign(&self, index: u32, events: &[Option<&EventFd>], before: usize) -> Result<()> {
        let flags = set_irqs_flag::EVENTFD | set_irqs_flag::TRIGGER;
        let most = (self.theirs.max_fds as usize).clamp(1, MOST_FDS);
        let mut start = 0;
        let mut run = |fds: &mut Vec<BorrowedFd<'_>>, count: usize| {
            let done = if count == 0 { Ok(()) } else { self.set_irqs(index, flags, start..start + count, fds) };
            start += count;
            fds.clear();
            done
        };
        let (mut fds, mut holes) = (Vec::new(), 0);
        for event in events {
            match event {
                Some(event) => {
                    run(&mut Vec::new(), std::mem::take(&mut holes))?;
                    fds.push(eventfds::borrow(event));
                }
                None => {
                    let count = fds.len();
                    run(&mut fds, count)?;
                    holes += 1;
                }
            }
            if fds.len() == most {
                run(&mut fds, most)?;
            }
        }
        let count = fds.len();
        run(&mut fds, count)?;
        run(&mut Vec::new(), holes + before.saturating_sub(events.len()))
    }

    fn set_vectors(&self, index: u32, events: &[Option<&EventFd>], most: u16, before: &mut usize) -> Result<()> {
        if events.len() > usize::from(most) {
            return Err(self.unsupported("more interrupt vectors than it has"));
        }
        let set = if events.is_empty() { self.disable(index) } else { self.assign(index, events, *before) };
        if let Err(error) = set {
            // Some may be set up and some not: better none.
            *before = usize::from(most);
            if self.disable(index).is_ok() {
                *before = 0;
            }
            return Err(error);
        }
        *before = events.len();
        Ok(())
    }

    fn vectors(&self) -> MutexGuard<'_, Vectors> {
        self.vectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsupported(&self, what: &'static str) -> FunctionError {
        FunctionError::Unsupported { name: self.name.clone(), what }
    }

    fn refuse_memory(&self, reason: &str) -> FunctionError {
        let source = io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
        FunctionError::Io { name: self.name.clone(), what: MAP, source }
    }
}

const MAP: &str = "map memory for DMA through its vfio-user server";

/// What a failure is to whoever uses the function.
fn failed(name: &str, what: &'static str, failure: Failure) -> FunctionError {
    let name = name.to_owned();
    let source = match failure {
        Failure::Refused(errno) if errno == libc::ENODEV as u32 => return FunctionError::Gone { name },
        Failure::Refused(0) => io::Error::other("the server refused and gives no reason"),
        Failure::Refused(errno) => io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or(libc::EIO)),
        Failure::Wire(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        Failure::Lost(error) if error.kind() == io::ErrorKind::ConnectionReset => return FunctionError::Gone { name },
        Failure::Lost(error) => error,
    };
    FunctionError::Io { name, what, source }
}

impl fmt::Debug for VfioUserFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfioUserFunction").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Named for VfioUserFunction {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Configuration for VfioUserFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.read(self.config_access(offset, width)?).map(|value| value as u32)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.write(self.config_access(offset, width)?, value.into())
    }
}

impl Bars for VfioUserFunction {
    fn region(&self, bar: u8) -> Option<Region> {
        self.found.bars.get(usize::from(bar))?.region
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.read(self.bar_access(bar, offset, width)?)
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.write(self.bar_access(bar, offset, width)?, value)
    }
    fn mappable(&self, bar: u8) -> Result<Vec<MappableArea>> {
        Ok(self.found.bars.get(usize::from(bar)).map(|bar| bar.areas.clone()).unwrap_or_default())
    }
    fn link_ioeventfd(&self, _bar: u8, _offset: u64, _value: u16, _event: &EventFd) -> Result<Box<dyn KickLink>> {
        // Servers choose the descriptor (GET_REGION_IO_FDS), users of this trait do: nothing joins two.
        Err(self.unsupported("an ioeventfd"))
    }
}

impl Interrupts for VfioUserFunction {
    fn msix_vectors(&self) -> u16 {
        self.found.msix
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.set_vectors(irqs::MSIX, events, self.found.msix, &mut self.vectors().msix)
    }
    fn disable_msix(&self) -> Result<()> {
        let mut vectors = self.vectors();
        self.disable(irqs::MSIX)?;
        vectors.msix = 0;
        Ok(())
    }
    fn msi_vectors(&self) -> u16 {
        self.found.msi
    }
    fn set_msi(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.set_vectors(irqs::MSI, events, self.found.msi, &mut self.vectors().msi)
    }
    fn has_intx(&self) -> bool {
        self.found.intx
    }
    fn set_intx(&self, events: Option<IntxEvents<'_>>) -> Result<()> {
        let Some(IntxEvents { trigger, unmask }) = events else { return self.disable(irqs::INTX) };
        let eventfd = set_irqs_flag::EVENTFD;
        self.set_irqs(irqs::INTX, eventfd | set_irqs_flag::UNMASK, 0..1, &[eventfds::borrow(unmask)])?;
        self.set_irqs(irqs::INTX, eventfd | set_irqs_flag::TRIGGER, 0..1, &[eventfds::borrow(trigger)])
    }
}

impl Dma for VfioUserFunction {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        const FIX: &str = "its memory is not shared with other processes; a vfio-user function needs guest memory \
                           that is a shared mapping of a file or memfd";
        let place = region.file_offset().filter(|_| region.flags() & libc::MAP_SHARED != 0);
        let place = place.ok_or_else(|| self.refuse_memory(FIX))?;
        let writable = if region.prot() & libc::PROT_WRITE != 0 { dma_flag::WRITE } else { 0 };
        let (address, size) = (region.start_addr().0, region.len());
        let map = DmaMap { flags: dma_flag::READ | writable, offset: place.start(), address, size };
        let mut mapped = self.mapped.write().unwrap_or_else(PoisonError::into_inner);
        let below = mapped.range(..=region.last_addr().0).next_back();
        if below.is_some_and(|(_, other)| other.last_addr().0 >= address) {
            return Err(self.refuse_memory("the range overlaps one that is mapped"));
        }
        if mapped.len() as u64 >= self.theirs.max_dma_maps {
            return Err(self.refuse_memory("the server takes no more mappings"));
        }
        // Before the server can use it, so that it finds it if it asks by a message.
        mapped.insert(address, region.clone());
        drop(mapped);
        let fd = [std::os::fd::AsFd::as_fd(place.file())];
        let told = self.tell(MAP, &Request::DmaMap(map), &fd);
        if told.is_err() {
            self.mapped.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
        }
        told
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        let what = "unmap memory for DMA through its vfio-user server";
        let region = self.mapped.write().unwrap_or_else(PoisonError::into_inner).remove(&iova);
        let Some(region) = region else {
            let source = io::Error::new(io::ErrorKind::NotFound, "no mapping starts at this address");
            return Err(FunctionError::Io { name: self.name.clone(), what, source });
        };
        let unmap = DmaUnmap { argsz: 24, flags: 0, address: iova, size: region.len() };
        self.tell(what, &Request::DmaUnmap(unmap), &[])
    }
}

impl Lifetime for VfioUserFunction {
    fn removal_event(&self) -> Option<&EventFd> {
        Some(&self.removed)
    }
    fn reset(&self) -> Result<()> {
        let mut vectors = self.vectors();
        self.tell("reset the function through", &Request::Reset, &[])?;
        *vectors = Vectors::default();
        Ok(())
    }
    fn give_up(&self) {
        self.connection.lose();
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
