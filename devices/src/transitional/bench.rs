// SPDX-License-Identifier: Apache-2.0
//! The test bench of this module: the function of reference section 6.1 (three queues of 256, four
//! vectors, doorbell in BAR 2 at 0x1000) over a model of a legacy device that is strict where
//! hardware may be, with one log of all that reaches it, in order.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_manager::{EventManager, SubscriberOps};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::admin::{AdminError, Wait};
use crate::bus::{Access, Effect, Width};
use crate::function::{DmaRegion, FunctionError, KickLink, PciFunction, Region};
use crate::pci::{Command, PciDevice};
use crate::platform::{IrqLine, MsiInterrupt, MsiMessage, MsiSource, PortEvents};

pub const NET_FEATURES: u32 = 0x3803_99a3;
pub const BASE: u16 = 0xc040;

/// All that reached the function, in order: `R C18.1=7` is a read of 1 byte at common offset 18.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// Takes all lines.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Failures and delays to inject, by the start of the log line without the value.
#[derive(Default)]
pub struct Trouble {
    rules: Mutex<Vec<(String, RegisterError)>>,
    slow: Mutex<Option<(String, Duration)>>,
}

impl Trouble {
    /// Every access that starts so fails from now on.
    pub fn fail(&self, prefix: &str, error: RegisterError) {
        self.rules.lock().unwrap().push((prefix.to_owned(), error));
    }

    /// Every access that starts so takes this long from now on.
    pub fn slow(&self, prefix: &str, time: Duration) {
        *self.slow.lock().unwrap() = Some((prefix.to_owned(), time));
    }

    /// No trouble any more.
    pub fn end(&self) {
        self.rules.lock().unwrap().clear();
        *self.slow.lock().unwrap() = None;
    }

    fn check(&self, what: &str, wait: &Wait<'_>) -> Result<(), RegisterError> {
        let slow = self.slow.lock().unwrap().clone();
        if let Some((_, time)) = slow.filter(|(prefix, _)| what.starts_with(prefix.as_str())) {
            let end = Instant::now() + time;
            while Instant::now() < end {
                if let Some(error) = wait.over() {
                    return Err(error.into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let rules = self.rules.lock().unwrap();
        rules.iter().find(|(prefix, _)| what.starts_with(prefix.as_str())).map_or(Ok(()), |(_, e)| Err(e.clone()))
    }
}

pub fn refused(qualifier: u16) -> RegisterError {
    RegisterError::Admin(AdminError::Refused { status: 22, qualifier })
}

#[derive(Clone, Copy, Default)]
struct ModelQueue {
    pfn: u32,
    vector: u16,
}

struct ModelState {
    driver_features: u32,
    select: u16,
    status: u8,
    config_vector: u16,
    queues: Vec<ModelQueue>,
    config: Vec<u8>,
}

/// A legacy device. Refuses accesses that are not within one field, and vectors while the VF's
/// MSI-X is off.
pub struct Model {
    pub log: Log,
    pub trouble: Trouble,
    pub features: u32,
    /// Field of each byte of the device configuration.
    fields: Vec<usize>,
    /// Vectors that the VF has enabled, shared with it.
    vectors: Arc<AtomicU64>,
    /// The device keeps only vectors below this.
    pub accepts: AtomicU64,
    /// Reads of status it takes for a reset to end; `u64::MAX` is never.
    pub reset_reads: AtomicU64,
    pending_reset: AtomicU64,
    /// Accesses that crossed fields or went past the end.
    pub violations: AtomicU64,
    notify: Option<NotifyAddress>,
    state: Mutex<ModelState>,
}

impl Model {
    fn field(&self, area: Area, offset: u8) -> Option<(usize, bool)> {
        match area {
            Area::Common => {
                let starts = [0_u8, 4, 8, 12, 14, 16, 18, 19, 20, 22, 24];
                let field = starts.iter().rposition(|start| *start <= offset)?;
                (offset < 24).then_some((field, offset >= 20))
            }
            Area::Device => self.fields.get(usize::from(offset)).map(|field| (*field, false)),
        }
    }

    fn check(&self, area: Area, offset: u8, width: Width) -> Result<(), RegisterError> {
        let first = self.field(area, offset);
        let last = self.field(area, offset.wrapping_add(width.bytes() as u8 - 1));
        if first.is_none() || first != last {
            self.violations.fetch_add(1, Ordering::SeqCst);
            return Err(refused(3));
        }
        if first.is_some_and(|(_, vector)| vector) && self.vectors.load(Ordering::SeqCst) == 0 {
            self.violations.fetch_add(1, Ordering::SeqCst);
            return Err(refused(3));
        }
        Ok(())
    }

    fn keep_vector(&self, vector: u16) -> u16 {
        let limit = self.vectors.load(Ordering::SeqCst).min(self.accepts.load(Ordering::SeqCst));
        if u64::from(vector) < limit { vector } else { 0xffff }
    }

    pub fn reset(&self) {
        let mut state = self.state.lock().unwrap();
        state.driver_features = 0;
        state.select = 0;
        state.status = 0;
        state.config_vector = 0xffff;
        state.queues.fill(ModelQueue { pfn: 0, vector: 0xffff });
        self.pending_reset.store(0, Ordering::SeqCst);
    }

    /// Vector of a queue, as the device has it.
    pub fn queue_vector(&self, queue: usize) -> u16 {
        self.state.lock().unwrap().queues[queue].vector
    }

    pub fn pfn(&self, queue: usize) -> u32 {
        self.state.lock().unwrap().queues[queue].pfn
    }

    pub fn driver_features(&self) -> u32 {
        self.state.lock().unwrap().driver_features
    }

    fn common_read(&self, state: &ModelState, offset: u8) -> (u32, u8) {
        let queue = state.queues.get(usize::from(state.select)).copied();
        match offset {
            0..4 => (self.features, 0),
            4..8 => (state.driver_features, 4),
            8..12 => (queue.map_or(0, |q| q.pfn), 8),
            12..14 => (queue.map_or(0, |_| 256), 12),
            14..16 => (state.select.into(), 14),
            18 => (state.status.into(), 18),
            20..22 => (state.config_vector.into(), 20),
            22..24 => (queue.map_or(0xffff, |q| q.vector.into()), 22),
            _ => (0, offset),
        }
    }

    fn common_write(&self, state: &mut ModelState, offset: u8, value: u32) {
        let select = usize::from(state.select);
        match offset {
            4 => state.driver_features = value,
            8 => {
                if let Some(queue) = state.queues.get_mut(select) {
                    queue.pfn = value;
                }
            }
            14 => state.select = value as u16,
            18 => state.status = value as u8,
            20 => state.config_vector = self.keep_vector(value as u16),
            22 => {
                let vector = self.keep_vector(value as u16);
                if let Some(queue) = state.queues.get_mut(select) {
                    queue.vector = vector;
                }
            }
            _ => {}
        }
    }
}

fn letter(area: Area) -> char {
    if area == Area::Common { 'C' } else { 'D' }
}

impl LegacyRegisters for Model {
    fn read(&self, area: Area, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError> {
        let what = format!("R {}{offset}.{}", letter(area), width.bytes());
        let result = self.trouble.check(&what, wait).and_then(|()| self.check(area, offset, width));
        if let Err(error) = result {
            self.log.add(format!("{what}!"));
            return Err(error);
        }
        if (area, offset) == (Area::Common, 18) && self.pending_reset.load(Ordering::SeqCst) != 0 {
            let left = self.pending_reset.load(Ordering::SeqCst);
            if left == 1 {
                self.reset();
            } else if left != u64::MAX {
                self.pending_reset.store(left - 1, Ordering::SeqCst);
            }
        }
        let state = self.state.lock().unwrap();
        let value = match area {
            Area::Common => {
                let (register, start) = self.common_read(&state, offset);
                register >> (8 * (offset - start))
            }
            Area::Device => (0..width.bytes()).fold(0, |v, byte| {
                v | u32::from(state.config[usize::from(offset) + byte]) << (8 * byte)
            }),
        };
        let value = width.truncate(value.into()) as u32;
        self.log.add(format!("{what}={value:x}"));
        Ok(value)
    }

    fn write(&self, area: Area, offset: u8, width: Width, value: u32, wait: &Wait<'_>) -> Result<(), RegisterError> {
        let what = format!("W {}{offset}.{}", letter(area), width.bytes());
        let result = self.trouble.check(&what, wait).and_then(|()| self.check(area, offset, width));
        self.log.add(format!("{what}={value:x}{}", if result.is_err() { "!" } else { "" }));
        result?;
        if (area, offset, value) == (Area::Common, 18, 0) {
            match self.reset_reads.load(Ordering::SeqCst) {
                0 => self.reset(),
                reads => self.pending_reset.store(reads, Ordering::SeqCst),
            }
            return Ok(());
        }
        let mut state = self.state.lock().unwrap();
        match area {
            Area::Common => self.common_write(&mut state, offset, value),
            Area::Device => {
                for byte in 0..width.bytes() {
                    state.config[usize::from(offset) + byte] = (value >> (8 * byte)) as u8;
                }
            }
        }
        Ok(())
    }

    fn notify_address(&self) -> Option<NotifyAddress> {
        self.notify
    }
}

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
        Some(self.0.load(Ordering::SeqCst))
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
        Ok(())
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

/// A line with its level and the number of times it rose.
#[derive(Default)]
pub struct FakeLine {
    high: AtomicBool,
    pub rises: AtomicU64,
}

impl FakeLine {
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::SeqCst)
    }
}

impl IrqLine for FakeLine {
    fn set(&self, asserted: bool) {
        if !self.high.swap(asserted, Ordering::SeqCst) && asserted {
            self.rises.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Interrupts that only have their event.
pub struct FakeMsi;
struct FakeInterrupt(EventFd);

impl MsiSource for FakeMsi {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        Ok(Arc::new(FakeInterrupt(EventFd::new(EFD_NONBLOCK)?)))
    }
}

impl MsiInterrupt for FakeInterrupt {
    fn event(&self) -> &EventFd {
        &self.0
    }
    fn enable(&self, _: MsiMessage) -> io::Result<()> {
        Ok(())
    }
    fn disable(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Port events that refuse a place that is taken.
pub struct FakePorts {
    log: Log,
    pub attached: Mutex<Vec<(u16, u16)>>,
}

impl PortEvents for FakePorts {
    fn attach(&self, port: u16, value: u16, _: &EventFd) -> io::Result<()> {
        let mut attached = self.attached.lock().unwrap();
        if attached.contains(&(port, value)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        attached.push((port, value));
        self.log.add(format!("attach {port:x}={value}"));
        Ok(())
    }
    fn detach(&self, port: u16, value: u16, _: &EventFd) -> io::Result<()> {
        self.attached.lock().unwrap().retain(|place| *place != (port, value));
        self.log.add(format!("detach {port:x}={value}"));
        Ok(())
    }
}

/// What a bench is made with.
pub struct Setup {
    pub config: TransitionalConfig,
    pub device_id: u16,
    pub vectors: u16,
    pub queues: u16,
    pub notify: Option<NotifyAddress>,
    pub owner: bool,
    pub line: bool,
    pub ports: bool,
    pub features: u32,
    pub config_bytes: Vec<u8>,
    pub structure: &'static str,
}

impl Setup {
    /// The network card of reference 6.1; kicks by exits unless a test says otherwise.
    pub fn net() -> Self {
        let config_bytes = [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 1, 0, 0xdc, 5, 0, 0, 0, 0, 0].to_vec();
        let mut config = TransitionalConfig::new("net0");
        config.deadline = Duration::from_secs(5);
        config.reset_deadline = Duration::from_secs(10);
        Self {
            config,
            device_id: 0x1041,
            vectors: 4,
            queues: 3,
            notify: Some(NotifyAddress::Member { bar: 2, offset: 0x1000 }),
            owner: false,
            line: true,
            ports: false,
            features: NET_FEATURES,
            config_bytes,
            structure: "6 2 2 2 4 1",
        }
    }

    /// The disk of reference 6.1.
    pub fn blk() -> Self {
        let mut config_bytes = vec![0; 60];
        config_bytes[0..8].copy_from_slice(&0x1234_5600_u64.to_le_bytes());
        config_bytes[16..20].copy_from_slice(&[0xff, 0x3f, 0x10, 0x3f]);
        let structure = "8 4 4 2 1 1 4 1 1 2 4 1 1 2 4 4 4 4 4 1 3";
        Self { device_id: 0x1042, queues: 1, config_bytes, structure, ..Self::net() }
    }

    pub fn build(self) -> Bench {
        Bench::new(self).unwrap()
    }
}

/// A function on its bench.
pub struct Bench {
    pub device: Arc<TransitionalDevice>,
    pub vf: Arc<FakeFunction>,
    pub model: Arc<Model>,
    pub line: Arc<FakeLine>,
    pub ports: Arc<FakePorts>,
    pub log: Log,
    pub cancelled: Arc<AtomicBool>,
    events: Mutex<Option<EventManager<InterruptPump>>>,
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
    let places = [(1, 2, 0, 64), (2, 2, 0x1000, 16), (3, 2, 0x3000, 1), (4, 2, 0x2000, config_len), (5, 2, 0, 4), (4, 0, 0, 4)];
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

impl Bench {
    pub fn net() -> Self {
        Setup::net().build()
    }

    pub fn new(setup: Setup) -> Result<Self, TransitionalError> {
        let log = Log::default();
        let enabled = Arc::new(AtomicU64::new(0));
        let memory = |size| Some(Region { size, is_64bit: false, prefetchable: false });
        let big = Some(Region { size: 1 << 20, is_64bit: true, prefetchable: true });
        let function = |name, config, regions| FakeFunction {
            name,
            log: log.clone(),
            config: Mutex::new(config),
            regions,
            vectors: setup.vectors,
            enabled: Arc::clone(&enabled),
            events: Mutex::default(),
            model: Mutex::default(),
            can_reset: AtomicBool::new(true),
            can_link: AtomicBool::new(true),
            link_kicks: Arc::default(),
            queues: setup.queues,
        };
        let config = vf_config(setup.device_id, setup.vectors, setup.config_bytes.len() as u32);
        let vf = Arc::new(function("vf", config, [None, None, big, None, memory(4096), None]));
        let pf = Arc::new(function("pf", vec![0; 4096], [None, None, None, None, memory(0x10000), None]));
        let fields = setup.structure.split(' ').map(|size| size.parse().unwrap()).enumerate();
        let model = Arc::new(Model {
            log: log.clone(),
            trouble: Trouble::default(),
            features: setup.features,
            fields: fields.flat_map(|(n, size): (usize, usize)| vec![n; size]).collect(),
            vectors: enabled,
            accepts: AtomicU64::new(u64::MAX),
            reset_reads: AtomicU64::new(0),
            pending_reset: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            notify: setup.notify,
            state: Mutex::new(ModelState {
                driver_features: 0,
                select: 0,
                status: 0,
                config_vector: 0xffff,
                queues: vec![ModelQueue { pfn: 0, vector: 0xffff }; setup.queues.into()],
                config: setup.config_bytes,
            }),
        });
        *vf.model.lock().unwrap() = Some(Arc::clone(&model));
        let line = Arc::new(FakeLine::default());
        let ports = Arc::new(FakePorts { log: log.clone(), attached: Mutex::default() });
        let cancelled = Arc::new(AtomicBool::new(false));
        let device = TransitionalDevice::new(
            setup.config,
            Parts {
                vf: vf.clone(),
                registers: model.clone(),
                msi: Arc::new(FakeMsi),
                port_events: setup.ports.then(|| ports.clone() as Arc<dyn PortEvents>),
                irq_line: setup.line.then(|| line.clone() as Arc<dyn IrqLine>),
                irq_number: 11,
                owner: setup.owner.then(|| pf as Arc<dyn PciFunction>),
                cancelled: cancelled.clone(),
            },
        )?;
        let events = device.pump().map(|pump| {
            let mut events = EventManager::new().unwrap();
            events.add_subscriber(pump);
            events
        });
        let bench = Self { device, vf, model, line, ports, log, cancelled, events: Mutex::new(events) };
        bench.device.place_bar(0, BASE.into());
        bench.device.place_bar(2, 0xe000_0000);
        bench.device.place_bar(4, 0xe010_0000);
        bench.config_write(4, Width::B2, 0x3);
        bench.log.take();
        Ok(bench)
    }

    pub fn read(&self, offset: u64, width: Width) -> u32 {
        self.device.bar_read(0, Access { offset, width, vcpu: 0 }) as u32
    }
    pub fn write(&self, offset: u64, width: Width, value: u32) {
        let access = Access { offset, width, vcpu: 0 };
        assert_eq!(self.device.bar_write(0, access, width.truncate(value.into())), Effect::None);
    }
    pub fn r8(&self, offset: u64) -> u32 {
        self.read(offset, Width::B1)
    }
    pub fn r16(&self, offset: u64) -> u32 {
        self.read(offset, Width::B2)
    }
    pub fn r32(&self, offset: u64) -> u32 {
        self.read(offset, Width::B4)
    }
    pub fn w8(&self, offset: u64, value: u32) {
        self.write(offset, Width::B1, value);
    }
    pub fn w16(&self, offset: u64, value: u32) {
        self.write(offset, Width::B2, value);
    }
    pub fn w32(&self, offset: u64, value: u32) {
        self.write(offset, Width::B4, value);
    }

    /// A configuration write, with what the bus does after it: all windows are placed.
    pub fn config_write(&self, offset: u16, width: Width, value: u32) {
        if self.device.config_write(offset, width, value) == Effect::Remap {
            self.device.placed(&self.device.windows());
        }
    }

    pub fn config_read(&self, offset: u16, width: Width) -> u32 {
        self.device.config_read(offset, width)
    }

    /// Offset of the guest's MSI-X capability, found as a guest does.
    pub fn msix_capability(&self) -> Option<u16> {
        let mut at = self.config_read(0x34, Width::B1) as u16;
        while at != 0 {
            let header = self.config_read(at, Width::B2);
            if header & 0xff == 0x11 {
                return Some(at);
            }
            at = (header >> 8) as u16;
        }
        None
    }

    /// The guest switches MSI-X on or off.
    pub fn set_msix(&self, on: bool) {
        let at = self.msix_capability().unwrap();
        self.config_write(at + 2, Width::B2, if on { 0x8000 } else { 0 });
    }

    pub fn set_command(&self, bits: Command) {
        self.config_write(4, Width::B2, bits.bits().into());
    }

    /// Lets the event loop run until it has nothing to do.
    pub fn pump(&self) {
        if let Some(events) = &mut *self.events.lock().unwrap() {
            while events.run_with_timeout(0).unwrap() != 0 {}
        }
    }

    /// What is logged since the last call, or since the bench was made.
    pub fn log(&self) -> Vec<String> {
        self.log.take()
    }

    /// Sets queue `queue` up as drivers do.
    pub fn set_up_queue(&self, queue: u32, pfn: u32) {
        self.w16(14, queue);
        assert_eq!(self.r16(12), 256);
        assert_eq!(self.r32(8), 0);
        self.w32(8, pfn);
    }

    /// A driver without MSI-X: status, two queues, DRIVER_OK. Clears the log.
    pub fn start_intx(&self) {
        self.w8(18, 0);
        self.w8(18, 1);
        self.w8(18, 3);
        self.set_up_queue(0, 0x100);
        self.set_up_queue(1, 0x200);
        self.w8(18, 7);
        self.log();
    }

    pub fn violations(&self) -> u64 {
        self.model.violations.load(Ordering::SeqCst)
    }
}
