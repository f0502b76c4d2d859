// SPDX-License-Identifier: Apache-2.0
//! The whole stack below a guest with a PF that misbehaves on demand: a disk, real rings in memory,
//! and a guest's accesses on top. For tests of failures.
use std::io::Write;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use event_manager::{EventManager, SubscriberOps};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::admin::faulty::FaultyPf;
use crate::admin::{AdminChannel, AdminRegisters, PfDriver, PfHealth, PfWatchdog, WatchedVf};
use crate::bus::{Access, Effect, Width};
use crate::contract::Wait;
use crate::contract::mock::{Log, MockLine, MockMsi, MockPorts, PATIENCE, wait_until};
use crate::contract::platform::PortEvents;
use crate::function::PciFunction;
use crate::function::shared::shared_region;
use crate::function::vfio_user::{Server, VfioUserFunction};
use crate::pci::PciDevice;
use crate::soft_pf::{Quirks, SoftPf, VfSpec};
use crate::transitional::*;

const MEMORY: usize = 4 << 20;
pub(crate) const SECTOR: usize = 512;
/// Where the ring and the buffers of one request are.
pub(crate) const RING: u64 = 0x10_0000;
pub(crate) const HEADER: u64 = 0x20_0000;
pub(crate) const DATA: u64 = 0x20_1000;
pub(crate) const STATUS: u64 = 0x20_8000;
/// Entries of the software disk's queue.
pub(crate) const QUEUE: u16 = 128;
/// The longest deadline that a function may have: ends nothing in a test that passes.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// How a stack is made.
pub(crate) struct Setup {
    pub deadline: Duration,
    pub reset_deadline: Duration,
    pub quirks: Quirks,
    /// Kicks without exits.
    pub ports: bool,
    /// Reads are answered without a command where that is safe.
    pub shadow: bool,
    /// PF and VF are behind vfio-user sockets.
    pub sockets: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            deadline: 20 * second,
            reset_deadline: 20 * second,
            quirks: Quirks::default(),
            ports: false,
            shadow: true,
            sockets: false,
        }
    }
}

/// A guest with one disk, and all that is below it.
pub(crate) struct Stack {
    pub device: Arc<TransitionalDevice>,
    pub line: Arc<MockLine>,
    pub msi: MockMsi,
    pub ports: Arc<MockPorts>,
    pub log: Log,
    pub memory: GuestMemoryMmap,
    pub vf: Arc<dyn PciFunction>,
    events: EventManager<InterruptPump>,
    pub watchdog: PfWatchdog,
    pub driver: Arc<PfDriver>,
    pub pf: Arc<FaultyPf>,
    /// Of PF and VF, if they are behind sockets.
    pub servers: Vec<Server>,
    pub soft: SoftPf,
    /// Requests offered since the ring was made.
    offered: u16,
}

impl Stack {
    pub(crate) fn new(setup: &Setup) -> Self {
        let soft = SoftPf::new("soft", vec![disk()]).unwrap();
        soft.set_quirks(setup.quirks.clone());
        let mut servers = Vec::new();
        let mut reach = |function: Arc<dyn PciFunction>| match setup.sockets {
            true => over_socket(function, &mut servers),
            false => function,
        };
        let pf = FaultyPf::new(reach(soft.pf())).unwrap();
        let cancelled = Arc::new(AtomicBool::new(false));
        let deadline = Instant::now() + PATIENCE;
        let wait = Wait { deadline, cancelled: &cancelled };
        let driver = Arc::new(PfDriver::start(pf.clone(), deadline).unwrap());
        driver.enable_vfs(1).unwrap();
        driver.negotiate_commands(&wait).unwrap();
        let vf = reach(soft.vf(0).unwrap());
        let region = shared_region(0, MEMORY).unwrap();
        let memory = GuestMemoryMmap::from_arc_regions(vec![region.clone()]).unwrap();
        vf.dma_map(&region).unwrap();
        let notify = driver.notify_info(NonZeroU16::MIN, vf.as_ref(), &wait).unwrap();
        let channel: Arc<dyn AdminChannel> = driver.clone();
        let registers = Arc::new(AdminRegisters::new(channel, NonZeroU16::MIN, notify));
        let (line, msi) = (Arc::new(MockLine::default()), MockMsi::default());
        let log = Log::default();
        let ports = Arc::new(MockPorts::new(&log));
        let mut config = TransitionalConfig::new("stack");
        (config.deadlines.access, config.deadlines.reset) = (setup.deadline, setup.reset_deadline);
        config.shadow = setup.shadow;
        let parts = Parts {
            vf: vf.clone(),
            registers,
            platform: PlatformParts {
                msi: Arc::new(msi.clone()),
                port_events: setup.ports.then(|| ports.clone() as Arc<dyn PortEvents>),
                irq_line: Some(line.clone()),
                irq_number: 11,
            },
            owner: Some(Arc::clone(driver.function())),
            cancelled,
        };
        let device = TransitionalDevice::new(config, parts).unwrap();
        let mut events = EventManager::new().unwrap();
        events.add_subscriber(device.pump().unwrap());
        let client = device.clone();
        let watched = WatchedVf { member: NonZeroU16::MIN, function: vf.clone(), client };
        let watchdog = PfWatchdog::new(driver.clone(), vec![watched]);
        let stack =
            Self { device, line, msi, ports, log, memory, vf, events, watchdog, driver, pf, servers, soft, offered: 0 };
        stack.place_bars();
        stack.pf.seen();
        stack
    }

    /// What firmware does.
    fn place_bars(&self) {
        for (bar, base) in [(0, 0xc000), (2, 0xe000_0000), (4, 0xe010_0000)] {
            self.device.place_bar(bar, base);
        }
        self.config_write(4, Width::B2, 3);
    }

    pub(crate) fn config_write(&self, offset: u16, width: Width, value: u32) {
        if self.device.config_write(offset, width, value) == Effect::Remap {
            self.device.placed(&self.device.windows());
        }
    }

    pub(crate) fn read(&self, offset: u64, width: Width) -> u32 {
        self.device.bar_read(0, Access { offset, width, vcpu: 0 }) as u32
    }

    pub(crate) fn write(&self, offset: u64, width: Width, value: u32) {
        let _ = self.device.bar_write(0, Access { offset, width, vcpu: 0 }, value.into());
    }

    pub(crate) fn set_msix(&self, on: bool) {
        let mut at = self.device.config_read(0x34, Width::B1) as u16;
        while self.device.config_read(at, Width::B1) != 0x11 {
            at = self.device.config_read(at + 1, Width::B1) as u16;
            assert_ne!(at, 0, "no MSI-X capability");
        }
        self.config_write(at + 2, Width::B2, if on { 0x8000 } else { 0 });
    }

    /// Clears the ring; to be called before its address is written.
    pub(crate) fn new_ring(&mut self) {
        self.memory.write_slice(&[0; 0x4000], GuestAddress(RING)).unwrap();
        self.offered = 0;
    }

    /// Offers a request that reads `sector`.
    pub(crate) fn offer_read(&mut self, sector: u64) {
        let memory = &self.memory;
        let put16 = |at: u64, value: u16| memory.write_obj(value.to_le(), GuestAddress(at)).unwrap();
        memory.write_obj(0_u64, GuestAddress(HEADER)).unwrap();
        memory.write_obj(sector.to_le(), GuestAddress(HEADER + 8)).unwrap();
        memory.write_slice(&[0xee; SECTOR], GuestAddress(DATA)).unwrap();
        memory.write_obj(0xff_u8, GuestAddress(STATUS)).unwrap();
        for (index, (address, length, flags)) in
            (0_u16..).zip([(HEADER, 16_u32, 1), (DATA, SECTOR as u32, 3), (STATUS, 1, 2)])
        {
            let at = RING + 16 * u64::from(index);
            memory.write_obj(address.to_le(), GuestAddress(at)).unwrap();
            memory.write_obj(length.to_le(), GuestAddress(at + 8)).unwrap();
            put16(at + 12, flags);
            put16(at + 14, index + 1);
        }
        let avail = RING + 16 * u64::from(QUEUE);
        put16(avail + 4 + 2 * u64::from(self.offered % QUEUE), 0);
        self.offered = self.offered.wrapping_add(1);
        put16(avail + 2, self.offered);
    }

    /// `used.idx` of the ring.
    pub(crate) fn used(&self) -> u16 {
        let used = (RING + 18 * u64::from(QUEUE) + 6).next_multiple_of(4096);
        u16::from_le(self.memory.read_obj(GuestAddress(used + 2)).unwrap())
    }

    /// Whether the last request was carried out, and brought the sector.
    pub(crate) fn has_read(&self, sector: u64) -> bool {
        let mut data = [0; SECTOR];
        self.memory.read_slice(&mut data, GuestAddress(DATA)).unwrap();
        let status: u8 = self.memory.read_obj(GuestAddress(STATUS)).unwrap();
        self.used() == self.offered && status == 0 && data == [sector as u8; SECTOR]
    }

    /// Lets the event loop run for `time`.
    pub(crate) fn pump(&mut self, time: Duration) {
        self.events.run_with_timeout(time.as_millis() as i32).unwrap();
    }

    /// A driver with INTx: probe, one sector, and its interrupt.
    pub(crate) fn run_intx(&mut self, sector: u64) {
        self.start();
        self.offer_read(sector);
        self.write(16, Width::B2, 0);
        let end = Instant::now() + PATIENCE;
        while !self.line.is_high() {
            assert!(Instant::now() < end, "no interrupt; {:?}", self.device.report());
            self.pump(Duration::from_millis(20));
        }
        assert_eq!(self.read(19, Width::B1) & 1, 1);
        assert!(!self.line.is_high() && self.has_read(sector));
    }

    /// A driver's probe without MSI-X.
    pub(crate) fn start(&mut self) {
        for status in [0, 1, 3] {
            self.write(18, Width::B1, status);
        }
        let features = self.read(0, Width::B4);
        self.write(4, Width::B4, features & (1 << 2 | 1 << 6));
        self.new_ring();
        self.write(14, Width::B2, 0);
        assert_eq!(self.read(12, Width::B2), u32::from(QUEUE), "{:?}", self.device.report());
        self.write(8, Width::B4, (RING >> 12) as u32);
        self.write(18, Width::B1, 7);
    }

    /// Ticks the watchdog until it has nothing to do.
    pub(crate) fn watch_until_well(&mut self) {
        wait_until("the PF comes back", || self.watchdog.tick() == PfHealth::Running);
    }
}

/// The function as a client of a server of it has it.
fn over_socket(function: Arc<dyn PciFunction>, servers: &mut Vec<Server>) -> Arc<dyn PciFunction> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let name = function.name().to_owned();
    servers.push(Server::spawn_on(function, theirs).unwrap());
    Arc::new(VfioUserFunction::from_stream(&name, ours, PATIENCE).unwrap())
}

/// 64 sectors, each filled with its number.
fn disk() -> VfSpec {
    let mut file = tempfile::tempfile().unwrap();
    (0..64_u8).for_each(|sector| file.write_all(&[sector; SECTOR]).unwrap());
    VfSpec::Blk { size: None, file, read_only: false, id: "disk".into() }
}
