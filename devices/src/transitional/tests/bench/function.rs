// SPDX-License-Identifier: Apache-2.0
//! A PCI function in memory that logs what is done to it.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EventFd;

use super::{Log, Model, Setup};
use crate::bus::Width;
use crate::function::{DmaRegion, FunctionError, KickLink, MappableArea, PciFunction, Region};

/// A function with a configuration space in memory, doorbells that are logged, and MSI-X that
/// needs bus mastering, as on a real bus.
pub struct FakeFunction {
    name: &'static str,
    log: Log,
    config: Mutex<Vec<u8>>,
    regions: [Option<Region>; 6],
    vectors: u16,
    enabled: Arc<AtomicU64>,
    events: Mutex<Vec<Option<EventFd>>>,
    model: Mutex<Option<Arc<Model>>>,
    pub can_reset: AtomicBool,
    pub can_store: AtomicBool,
    pub can_link: AtomicBool,
    pub link_kicks: Arc<AtomicU64>,
    queues: u16,
}

impl std::fmt::Debug for FakeFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl FakeFunction {
    /// The VF: BAR 2 as 64-bit, BAR 4 with MSI-X. `enabled` is the number of vectors it has enabled.
    pub fn vf(setup: &Setup, log: &Log, enabled: &Arc<AtomicU64>) -> Self {
        let big = Region { size: 1 << 20, is_io: false, is_64bit: true, prefetchable: true };
        let small = Region { size: 4096, is_io: false, is_64bit: false, prefetchable: false };
        let config = vf_config(setup.device_id, setup.vectors, setup.config_bytes.len() as u32);
        let regions = [setup.bar0.then_some(small), None, Some(big), None, Some(small), None];
        Self { config: Mutex::new(config), regions, enabled: Arc::clone(enabled), ..Self::pf(setup, log) }.named("vf")
    }

    /// The PF: nothing but BAR 4 of 64 KiB.
    pub fn pf(setup: &Setup, log: &Log) -> Self {
        let region = Region { size: 0x10000, is_io: false, is_64bit: false, prefetchable: false };
        Self {
            name: "pf",
            log: log.clone(),
            config: Mutex::new(vec![0; 4096]),
            regions: [None, None, None, None, Some(region), None],
            vectors: setup.vectors,
            enabled: Arc::default(),
            events: Mutex::default(),
            model: Mutex::default(),
            can_reset: AtomicBool::new(true),
            can_store: AtomicBool::new(true),
            can_link: AtomicBool::new(true),
            link_kicks: Arc::default(),
            queues: setup.queues,
        }
    }

    fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// A reset of the function resets this device.
    pub fn resets(&self, model: &Arc<Model>) {
        *self.model.lock().unwrap() = Some(Arc::clone(model));
    }

    /// Whether the bus master bit is set.
    pub fn bus_master(&self) -> bool {
        self.config.lock().unwrap()[4] & 4 != 0
    }

    /// The device signals a vector; `false` if it cannot.
    pub fn signal(&self, vector: usize) -> bool {
        let events = self.events.lock().unwrap();
        let event = events.get(vector).and_then(Option::as_ref);
        self.bus_master() && event.is_some_and(|event| event.write(1).is_ok())
    }

    fn unsupported(&self, what: &'static str) -> FunctionError {
        FunctionError::Unsupported { name: self.name.to_owned(), what }
    }
}

struct FakeLink(Arc<AtomicU64>, Log, u16);

impl KickLink for FakeLink {
    fn count(&self) -> Option<u64> {
        // As the kernel, which does not count.
        Some(self.0.load(Ordering::SeqCst)).filter(|kicks| *kicks != u64::MAX)
    }
}

impl Drop for FakeLink {
    fn drop(&mut self) {
        self.1.add(format!("unlink {}", self.2));
        self.0.store(0, Ordering::SeqCst);
    }
}

impl PciFunction for FakeFunction {
    fn name(&self) -> &str {
        self.name
    }
    fn config_read(&self, offset: u16, width: Width) -> crate::function::Result<u32> {
        let config = self.config.lock().unwrap();
        Ok((0..width.bytes()).fold(0, |v, byte| v | u32::from(config[usize::from(offset) + byte]) << (8 * byte)))
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> crate::function::Result<()> {
        self.log.add(format!("{} config {offset:x}.{}={value:x}", self.name, width.bytes()));
        let mut config = self.config.lock().unwrap();
        for byte in 0..width.bytes() {
            config[usize::from(offset) + byte] = (value >> (8 * byte)) as u8;
        }
        Ok(())
    }
    fn region(&self, bar: u8) -> Option<Region> {
        self.regions[usize::from(bar)]
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> crate::function::Result<u64> {
        if (bar, offset, width) == (2, 18, Width::B2) {
            return Ok(self.queues.into());
        }
        self.log.add(format!("{} read {bar}+{offset:x}.{}", self.name, width.bytes()));
        Ok(width.truncate(0x1122_3344_5566_7788))
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> crate::function::Result<()> {
        self.log.add(format!("{} store {bar}+{offset:x}.{}={value:x}", self.name, width.bytes()));
        if !self.can_store.load(Ordering::SeqCst) {
            return Err(FunctionError::Gone { name: self.name.into() });
        }
        Ok(())
    }
    fn mappable(&self, bar: u8) -> crate::function::Result<Vec<MappableArea>> {
        let size = self.region(bar).map_or(0, |region| region.size);
        let file = || Arc::new(File::open("/dev/null").unwrap());
        Ok((bar == 2).then(|| MappableArea { offset: 0, size, file: file(), file_offset: 0 }).into_iter().collect())
    }
    fn msix_vectors(&self) -> u16 {
        self.vectors
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> crate::function::Result<()> {
        self.log.add(format!("{} msix {}", self.name, events.len()));
        *self.events.lock().unwrap() = events.iter().map(|e| e.map(|e| e.try_clone().unwrap())).collect();
        self.enabled.store(events.len() as u64, Ordering::SeqCst);
        Ok(())
    }
    fn disable_msix(&self) -> crate::function::Result<()> {
        self.log.add(format!("{} msix off", self.name));
        self.events.lock().unwrap().clear();
        self.enabled.store(0, Ordering::SeqCst);
        Ok(())
    }
    fn dma_map(&self, _: &DmaRegion) -> crate::function::Result<()> {
        Ok(())
    }
    fn dma_unmap(&self, _: u64) -> crate::function::Result<()> {
        Ok(())
    }
    fn reset(&self) -> crate::function::Result<()> {
        self.log.add(format!("{} reset", self.name));
        if !self.can_reset.load(Ordering::SeqCst) {
            return Err(self.unsupported("reset"));
        }
        self.events.lock().unwrap().clear();
        self.enabled.store(0, Ordering::SeqCst);
        self.config.lock().unwrap()[4] = 0;
        if let Some(model) = &*self.model.lock().unwrap() {
            model.reset();
        }
        Ok(())
    }
    fn link_ioeventfd(
        &self,
        bar: u8,
        offset: u64,
        value: u16,
        _: &EventFd,
    ) -> crate::function::Result<Box<dyn KickLink>> {
        if !self.can_link.load(Ordering::SeqCst) {
            return Err(self.unsupported("ioeventfd"));
        }
        self.log.add(format!("link {value} {bar}+{offset:x}"));
        Ok(Box::new(FakeLink(Arc::clone(&self.link_kicks), self.log.clone(), value)))
    }
}

/// BAR 2 as 64-bit, BAR 4 with MSI-X; virtio capabilities 1 to 5 with the last one and one in BAR 0
/// not fit for a guest.
fn vf_config(device_id: u16, vectors: u16, config_len: u32) -> Vec<u8> {
    let mut c = vec![0_u8; 4096];
    c[0..2].copy_from_slice(&[0xf4, 0x1a]);
    c[2..4].copy_from_slice(&device_id.to_le_bytes());
    c[6] = 0x10;
    c[8] = 1;
    c[0x34] = 0x40;
    let mut at = 0x40_usize;
    let mut cap = |bytes: &[u8]| {
        c[at..at + bytes.len()].copy_from_slice(bytes);
        let next = (at + bytes.len()).next_multiple_of(4);
        c[at + 1] = next as u8;
        at = next;
    };
    let mut msix = vec![0x11, 0];
    msix.extend(vectors.wrapping_sub(1).to_le_bytes());
    msix.extend(4_u32.to_le_bytes());
    msix.extend(0x804_u32.to_le_bytes());
    cap(&msix);
    let places =
        [(1, 2, 0, 64), (2, 2, 0x1000, 16), (3, 2, 0x3000, 1), (4, 2, 0x2000, config_len), (5, 2, 0, 4), (4, 0, 0, 4)];
    for (kind, bar, offset, length) in places {
        let mut bytes = vec![0x09, 0, if kind == 2 { 20 } else { 16 }, kind, bar, 0, 0, 0];
        bytes.extend(u32::to_le_bytes(offset));
        bytes.extend(u32::to_le_bytes(length));
        if kind == 2 {
            bytes.extend(4_u32.to_le_bytes());
        }
        cap(&bytes);
    }
    cap(&[0x10, 0, 2, 0]);
    let last = at - 4;
    c[last + 1] = 0;
    c
}
