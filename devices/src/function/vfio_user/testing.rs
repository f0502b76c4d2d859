// SPDX-License-Identifier: Apache-2.0
//! For tests: a function with registers that are plain memory, a log of what it was told, and ends of
//! sockets that say what they like.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use vm_memory::GuestMemoryRegion;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::channel;
use super::version::Capabilities;
use super::wire::{HEADER_LEN, Header, Request};
use crate::bus::Width;
use crate::function::{DmaRegion, FunctionError, IntxEvents, KickLink, MappableArea, PciFunction, Region, Result};

/// Passing tests do not wait for it.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const VECTORS: u16 = 40;

#[derive(Default)]
pub struct Inner {
    pub config: Vec<u8>,
    pub bar: Vec<u8>,
    /// Accesses to the BAR: whether it was a write, where, how wide.
    pub log: Vec<(bool, u64, Width)>,
    pub msix: Option<Vec<Option<EventFd>>>,
    pub msix_calls: usize,
    pub msi: Vec<Option<EventFd>>,
    pub intx: Option<(EventFd, EventFd)>,
    pub dma: Vec<DmaRegion>,
    pub resets: usize,
    pub mappable: Vec<MappableArea>,
    /// What `dma_map` answers instead of working.
    pub refuse: Option<i32>,
}

/// The function. BAR 2 has 16 KiB, there are [`VECTORS`] vectors of MSI-X, 4 of MSI, and INTx.
#[derive(Default)]
pub struct Fake(Mutex<Inner>);

impl Fake {
    pub fn new() -> Arc<Self> {
        let (mut config, bar) = (vec![0; 4096], vec![0; 0x4000]);
        config[..4].copy_from_slice(&[0xf4, 0x1a, 0x42, 0x10]);
        config[0x18] = 8;
        Arc::new(Self(Mutex::new(Inner { config, bar, ..Inner::default() })))
    }

    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Signals a vector as a device does.
    pub fn interrupt(&self, vector: usize) {
        if let Some(Some(event)) = self.inner().msix.as_ref().and_then(|events| events.get(vector)) {
            event.write(1).unwrap();
        }
    }

    /// What is mapped: address and bytes, sorted.
    pub fn mapped(&self) -> Vec<(u64, u64)> {
        let mut mapped: Vec<_> = self.inner().dma.iter().map(|r| (r.start_addr().0, r.len())).collect();
        mapped.sort_unstable();
        mapped
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

fn load(bytes: &[u8], at: usize, width: Width) -> u64 {
    bytes[at..at + width.bytes()].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn owned(events: &[Option<&EventFd>]) -> Vec<Option<EventFd>> {
    events.iter().map(|event| event.map(|event| event.try_clone().unwrap())).collect()
}

impl PciFunction for Fake {
    fn name(&self) -> &str {
        "fake"
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        Ok(load(&self.inner().config, offset.into(), width) as u32)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let at = usize::from(offset);
        self.inner().config[at..at + width.bytes()].copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
        Ok(())
    }
    fn region(&self, bar: u8) -> Option<Region> {
        (bar == 2).then_some(Region { size: 0x4000, is_io: false, is_64bit: false, prefetchable: true })
    }
    fn region_read(&self, _bar: u8, offset: u64, width: Width) -> Result<u64> {
        let mut inner = self.inner();
        inner.log.push((false, offset, width));
        Ok(load(&inner.bar, offset as usize, width))
    }
    fn region_write(&self, _bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        let mut inner = self.inner();
        inner.log.push((true, offset, width));
        let at = offset as usize;
        inner.bar[at..at + width.bytes()].copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
        Ok(())
    }
    fn mappable(&self, bar: u8) -> Result<Vec<MappableArea>> {
        Ok(if bar == 2 { self.inner().mappable.clone() } else { Vec::new() })
    }
    fn msix_vectors(&self) -> u16 {
        VECTORS
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        let mut inner = self.inner();
        inner.msix = Some(owned(events));
        inner.msix_calls += 1;
        Ok(())
    }
    fn disable_msix(&self) -> Result<()> {
        self.inner().msix = None;
        Ok(())
    }
    fn msi_vectors(&self) -> u16 {
        4
    }
    fn set_msi(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.inner().msi = owned(events);
        Ok(())
    }
    fn has_intx(&self) -> bool {
        true
    }
    fn set_intx(&self, events: Option<IntxEvents<'_>>) -> Result<()> {
        let own = |events: IntxEvents<'_>| (events.trigger.try_clone().unwrap(), events.unmask.try_clone().unwrap());
        self.inner().intx = events.map(own);
        Ok(())
    }
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        let mut inner = self.inner();
        if let Some(errno) = inner.refuse {
            let source = std::io::Error::from_raw_os_error(errno);
            return Err(FunctionError::Io { name: "fake".into(), what: "map memory", source });
        }
        let overlaps =
            |other: &DmaRegion| other.start_addr() <= region.last_addr() && region.start_addr() <= other.last_addr();
        assert!(!inner.dma.iter().any(overlaps), "a function is never given overlapping memory");
        inner.dma.push(region.clone());
        Ok(())
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        let mut inner = self.inner();
        let at = inner.dma.iter().position(|r| r.start_addr().0 == iova).expect("only what is mapped is unmapped");
        inner.dma.swap_remove(at);
        Ok(())
    }
    fn reset(&self) -> Result<()> {
        let mut inner = self.inner();
        inner.resets += 1;
        inner.msix = None;
        Ok(())
    }
    fn link_ioeventfd(&self, _: u8, _: u64, _: u16, _: &EventFd) -> Result<Box<dyn KickLink>> {
        Err(FunctionError::Unsupported { name: "fake".into(), what: "an ioeventfd" })
    }
}

pub fn event() -> EventFd {
    EventFd::new(EFD_NONBLOCK).unwrap()
}

/// Waits until `done`.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A peer that is driven by hand. Reads give up after [`PATIENCE`].
pub struct Peer(pub UnixStream);

impl Peer {
    /// Two ends: one by hand, one for what is tested.
    pub fn pair() -> (Self, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        (Self(ours), theirs)
    }

    pub fn send(&self, header: &Header, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let message = [&header.encode(), payload].concat();
        channel::send(self.0.as_fd(), &message, fds, None, PATIENCE).unwrap();
    }

    pub fn request(&self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        self.send(&Header::request(7, request.command(), payload.len()), &payload, fds);
    }

    /// The next message; `None` at the end of the connection.
    pub fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).ok()?;
        let header = Header::decode(&header).unwrap();
        let mut payload = vec![0; header.payload()];
        self.0.read_exact(&mut payload).unwrap();
        Some((header, payload))
    }

    /// Asks, and gives the reply or its errno.
    pub fn ask(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> std::result::Result<Vec<u8>, u32> {
        self.request(request, fds);
        let (header, payload) = self.receive().expect("a reply");
        assert!(header.is_reply() && header.id == 7 && header.command == request.command());
        header.error().map_or(Ok(payload), Err)
    }

    pub fn negotiate(&mut self) {
        let text = Capabilities::ours().encode(true);
        self.ask(&Request::Version { major: 0, minor: 1, text: &text }, &[]).unwrap();
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        // The other side may have hung up, which is what some tests want.
        let _ = self.0.write_all(bytes);
    }
}
