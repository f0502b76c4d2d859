// SPDX-License-Identifier: Apache-2.0
//! A PCI function whose registers are plain memory.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use vm_memory::{GuestMemoryRegion, GuestRegionMmap};
use vmm_sys_util::eventfd::EventFd;

use super::Log;
use crate::contract::Width;
use crate::contract::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, IntxEvents, KickLink, Lifetime, MappableArea,
    Named, Region, Result,
};

/// What a BAR without memory reads as, cut to the width.
const PATTERN: u64 = 0x1122_3344_5566_7788;
const COMMAND: usize = 4;
const BUS_MASTER: u8 = 1 << 2;

/// What a function can be told to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// All of it: the function is gone.
    All,
    /// A write to a BAR: the function is gone.
    BarWrite,
    /// A mapping, with this errno.
    Map(i32),
    /// It has no reset.
    Reset,
    /// It has no ioeventfds.
    Link,
}

type OnRead = Box<dyn Fn(u8, u64, Width) -> Option<u64> + Send + Sync>;
type OnWrite = Box<dyn Fn(u8, u64, Width, u64) -> bool + Send + Sync>;
type OnReset = Box<dyn Fn() + Send + Sync>;

/// A function. Without more it has an empty configuration space of 4096 bytes and nothing else; see
/// the methods that are named `with_` and `on_`.
pub struct MockFunction {
    name: &'static str,
    log: Log,
    prefix: String,
    regions: [Option<Region>; 6],
    msix: u16,
    msi: u16,
    intx: bool,
    config_is_fixed: bool,
    on_read: Option<OnRead>,
    on_write: Option<OnWrite>,
    on_reset: Mutex<Option<OnReset>>,
    /// Writes that ioeventfds made, as their links tell; `u64::MAX` for a function that does not count.
    pub link_kicks: Arc<AtomicU64>,
    state: Mutex<MockState>,
}

/// What it has, and what was done to it.
#[derive(Debug, Default)]
pub struct MockState {
    pub config: Vec<u8>,
    /// The memory of BARs; those without read as a pattern.
    pub bars: [Vec<u8>; 6],
    pub mappable: [Vec<MappableArea>; 6],
    /// The events of MSI-X while it is enabled.
    pub msix: Option<Vec<Option<EventFd>>>,
    pub msix_calls: usize,
    pub msi: Vec<Option<EventFd>>,
    /// Trigger and unmask.
    pub intx: Option<(EventFd, EventFd)>,
    pub dma: Vec<DmaRegion>,
    pub resets: usize,
    pub refused: Option<Call>,
}

impl fmt::Debug for MockFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl MockFunction {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            log: Log::default(),
            prefix: String::new(),
            regions: [None; 6],
            msix: 0,
            msi: 0,
            intx: false,
            config_is_fixed: false,
            on_read: None,
            on_write: None,
            on_reset: Mutex::default(),
            link_kicks: Arc::default(),
            state: Mutex::new(MockState { config: vec![0; 4096], ..MockState::default() }),
        }
    }

    /// It writes to a log that others share, with its name before each line.
    pub fn with_log(mut self, log: &Log) -> Self {
        self.log = log.clone();
        self.prefix = format!("{} ", self.name);
        self
    }

    pub fn with_config(self, at: u16, bytes: &[u8]) -> Self {
        self.state().config[usize::from(at)..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Writes to configuration space change nothing.
    pub fn with_fixed_config(mut self) -> Self {
        self.config_is_fixed = true;
        self
    }

    pub fn with_bar(mut self, bar: usize, region: Region) -> Self {
        self.regions[bar] = Some(region);
        self
    }

    /// The BAR has memory of its size.
    pub fn with_memory(self, bar: usize) -> Self {
        let size = self.regions[bar].map_or(0, |region| region.size);
        self.state().bars[bar] = vec![0; size as usize];
        self
    }

    pub fn with_mappable(self, bar: usize, area: MappableArea) -> Self {
        self.state().mappable[bar].push(area);
        self
    }

    pub fn with_vectors(mut self, msix: u16, msi: u16) -> Self {
        (self.msix, self.msi) = (msix, msi);
        self
    }

    pub fn with_intx(mut self) -> Self {
        self.intx = true;
        self
    }

    /// Reads of BARs (BAR, offset, width) that get a value here are not logged.
    pub fn on_read(mut self, read: impl Fn(u8, u64, Width) -> Option<u64> + Send + Sync + 'static) -> Self {
        self.on_read = Some(Box::new(read));
        self
    }

    /// Writes to BARs (BAR, offset, width, value) that `write` says it took are not logged.
    pub fn on_write(mut self, write: impl Fn(u8, u64, Width, u64) -> bool + Send + Sync + 'static) -> Self {
        self.on_write = Some(Box::new(write));
        self
    }

    /// Runs at the end of each reset.
    pub fn on_reset(&self, reset: impl Fn() + Send + Sync + 'static) {
        *self.on_reset.lock().unwrap() = Some(Box::new(reset));
    }

    pub fn state(&self) -> MutexGuard<'_, MockState> {
        self.state.lock().unwrap()
    }

    /// From now on it refuses this, and nothing else.
    pub fn refuse(&self, call: Option<Call>) {
        self.state().refused = call;
    }

    /// What was done to it since the last question.
    pub fn take_log(&self) -> Vec<String> {
        self.log.take()
    }

    pub fn is_bus_master(&self) -> bool {
        self.state().config[COMMAND] & BUS_MASTER != 0
    }

    /// Signals an MSI-X vector, if that is enabled and has an event.
    pub fn interrupt(&self, vector: usize) -> bool {
        let state = self.state();
        let event = state.msix.as_ref().and_then(|events| events.get(vector)).and_then(Option::as_ref);
        event.is_some_and(|event| event.write(1).is_ok())
    }

    /// As on a real bus, where a message is a write to memory.
    pub fn signal(&self, vector: usize) -> bool {
        self.is_bus_master() && self.interrupt(vector)
    }

    /// What is mapped for DMA: address and bytes, sorted.
    pub fn mapped(&self) -> Vec<(u64, u64)> {
        let mut mapped: Vec<_> = self.state().dma.iter().map(|r| (r.start_addr().0, r.len())).collect();
        mapped.sort_unstable();
        mapped
    }

    fn told(&self, what: String) -> Result<()> {
        self.gone_if(Call::All)?;
        self.log.add(format!("{}{what}", self.prefix));
        Ok(())
    }

    fn gone_if(&self, call: Call) -> Result<()> {
        if self.state().refused == Some(call) {
            return Err(FunctionError::Gone { name: self.name.to_owned() });
        }
        Ok(())
    }
}

fn load(bytes: &[u8], at: usize, width: Width) -> u64 {
    bytes[at..at + width.bytes()].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn store(bytes: &mut [u8], at: usize, width: Width, value: u64) {
    bytes[at..at + width.bytes()].copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
}

fn owned(events: &[Option<&EventFd>]) -> Vec<Option<EventFd>> {
    events.iter().map(|event| event.map(|event| event.try_clone().unwrap())).collect()
}

impl Named for MockFunction {
    fn name(&self) -> &str {
        self.name
    }
}

impl Configuration for MockFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.gone_if(Call::All)?;
        Ok(load(&self.state().config, offset.into(), width) as u32)
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.told(format!("config {offset:x}.{}={value:x}", width.bytes()))?;
        if !self.config_is_fixed {
            store(&mut self.state().config, offset.into(), width, value.into());
        }
        Ok(())
    }
}

impl Bars for MockFunction {
    fn region(&self, bar: u8) -> Option<Region> {
        self.regions[usize::from(bar)]
    }

    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        if let Some(value) = self.on_read.as_ref().and_then(|read| read(bar, offset, width)) {
            return Ok(value);
        }
        self.told(format!("read {bar}+{offset:x}.{}", width.bytes()))?;
        let memory = &self.state().bars[usize::from(bar)];
        Ok(if memory.is_empty() { width.truncate(PATTERN) } else { load(memory, offset as usize, width) })
    }

    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if self.on_write.as_ref().is_some_and(|write| write(bar, offset, width, value)) {
            return Ok(());
        }
        self.told(format!("store {bar}+{offset:x}.{}={value:x}", width.bytes()))?;
        self.gone_if(Call::BarWrite)?;
        let memory = &mut self.state().bars[usize::from(bar)];
        if !memory.is_empty() {
            store(memory, offset as usize, width, value);
        }
        Ok(())
    }

    fn mappable(&self, bar: u8) -> Result<Vec<MappableArea>> {
        Ok(self.state().mappable[usize::from(bar)].clone())
    }

    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, _: &EventFd) -> Result<Box<dyn KickLink>> {
        if self.state().refused == Some(Call::Link) {
            return Err(self.unsupported("ioeventfd"));
        }
        self.log.add(format!("link {value} {bar}+{offset:x}"));
        Ok(Box::new(MockLink { kicks: Arc::clone(&self.link_kicks), log: self.log.clone(), value }))
    }
}

impl Interrupts for MockFunction {
    fn msix_vectors(&self) -> u16 {
        self.msix
    }

    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.told(format!("msix {}", events.iter().flatten().count()))?;
        let mut state = self.state();
        state.msix = Some(owned(events));
        state.msix_calls += 1;
        Ok(())
    }

    fn disable_msix(&self) -> Result<()> {
        self.told("msix off".to_owned())?;
        self.state().msix = None;
        Ok(())
    }

    fn msi_vectors(&self) -> u16 {
        self.msi
    }

    fn set_msi(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.told(format!("msi {}", events.iter().flatten().count()))?;
        self.state().msi = owned(events);
        Ok(())
    }

    fn has_intx(&self) -> bool {
        self.intx
    }

    fn set_intx(&self, events: Option<IntxEvents<'_>>) -> Result<()> {
        self.told(format!("intx {}", if events.is_some() { "on" } else { "off" }))?;
        let own = |events: IntxEvents<'_>| (events.trigger.try_clone().unwrap(), events.unmask.try_clone().unwrap());
        self.state().intx = events.map(own);
        Ok(())
    }
}

impl Dma for MockFunction {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        let mut state = self.state();
        if let Some(Call::Map(errno)) = state.refused {
            let source = io::Error::from_raw_os_error(errno);
            return Err(FunctionError::Io { name: self.name.to_owned(), what: "map memory", source });
        }
        assert!(!state.dma.iter().any(|other| overlap(other, region)), "a function is never given overlapping memory");
        state.dma.push(region.clone());
        Ok(())
    }

    fn dma_unmap(&self, iova: u64) -> Result<()> {
        let mut state = self.state();
        let at = state.dma.iter().position(|region| region.start_addr().0 == iova);
        state.dma.swap_remove(at.unwrap_or_else(|| panic!("nothing is mapped at {iova:#x}")));
        Ok(())
    }
}

fn overlap(a: &GuestRegionMmap<()>, b: &GuestRegionMmap<()>) -> bool {
    a.start_addr() <= b.last_addr() && b.start_addr() <= a.last_addr()
}

impl Lifetime for MockFunction {
    fn reset(&self) -> Result<()> {
        self.told("reset".to_owned())?;
        {
            let mut state = self.state();
            if state.refused == Some(Call::Reset) {
                return Err(self.unsupported("reset"));
            }
            state.resets += 1;
            state.msix = None;
            if !self.config_is_fixed {
                state.config[COMMAND] = 0;
            }
        }
        if let Some(reset) = self.on_reset.lock().unwrap().as_ref() {
            reset();
        }
        Ok(())
    }
}

/// A link that goes by what the test says was kicked.
struct MockLink {
    kicks: Arc<AtomicU64>,
    log: Log,
    value: u16,
}

impl KickLink for MockLink {
    fn count(&self) -> Option<u64> {
        Some(self.kicks.load(Ordering::SeqCst)).filter(|kicks| *kicks != u64::MAX)
    }
}

impl Drop for MockLink {
    fn drop(&mut self) {
        self.log.add(format!("unlink {}", self.value));
        self.kicks.store(0, Ordering::SeqCst);
    }
}
