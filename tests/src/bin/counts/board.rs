// SPDX-License-Identifier: Apache-2.0
//! A machine without KVM: buses, a PCI root, one transitional function over a disk of the software PF, and a guest's
//! memory with the driver's side of that disk's queue.

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::{Bus, IoDevice, Range};
use devices::contract::Wait;
use devices::contract::platform::{IrqLine, MsiInterrupt, MsiMessage, MsiSource};
use devices::function::detachable::Detachable;
use devices::function::{DmaRegion, PciFunction};
use devices::pci::{CONFIG_PORTS, PciRoot};
use devices::soft_pf::{SoftPf, VfSpec};
use devices::transitional::{
    Deadlines, KickConfig, NotifyMode, Parts, PlatformParts, TransitionalConfig, TransitionalDevice,
};
use event_manager::{EventManager, MutEventSubscriber, SubscriberOps};
use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap, MemoryRegionAddress};
use vmm::kvm::Exit;
use vmm::vcpu::{Buses, ExitContext, Outcome, VcpuStats, handle_exit};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Result;

const PATIENCE: Duration = Duration::from_secs(60);
/// CONFIG_ADDRESS, where PCs have it.
const CONFIG_IO: u16 = 0xcf8;
/// Where BAR0 is.
const BASE: u16 = 0xc000;
/// The function's slot.
const SLOT: u8 = 1;
const MEMORY: usize = 1 << 20;
/// The queue: 128 entries at page 16, its used ring at the next page after the available ring.
const QUEUE_PAGE: u32 = 16;
const QUEUE_SIZE: u16 = 128;
const QUEUE: u64 = QUEUE_PAGE as u64 * 4096;
const AVAIL: u64 = QUEUE + 16 * QUEUE_SIZE as u64;
const USED: u64 = QUEUE + 4096;
/// A request for the disk's serial number: header, 20 bytes, status.
const REQUEST: u64 = 0x4_0000;
const GET_ID: u32 = 8;

/// One access to ports, as KVM tells of it.
pub(crate) struct Io {
    port: u16,
    is_write: bool,
    len: usize,
    bytes: [u8; 4],
}

impl Io {
    /// A read of `len` bytes.
    pub(crate) fn read(port: u16, len: usize) -> Self {
        Self { port, is_write: false, len, bytes: [0; 4] }
    }

    fn write(port: u16, len: usize, value: u32) -> Self {
        Self { port, is_write: true, len, bytes: value.to_le_bytes() }
    }
}

/// The interrupt line: how often it went high.
#[derive(Default)]
struct Line {
    raised: AtomicU32,
}

impl IrqLine for Line {
    fn set(&self, asserted: bool) {
        self.raised.fetch_add(u32::from(asserted), Ordering::Relaxed);
    }
}

/// Message-signalled interrupts that go nowhere: this guest uses its line.
struct NoMsi;

impl MsiSource for NoMsi {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        Ok(Arc::new(Unused(EventFd::new(EFD_NONBLOCK)?)))
    }
}

struct Unused(EventFd);

impl MsiInterrupt for Unused {
    fn event(&self) -> &EventFd {
        &self.0
    }
    fn enable(&self, _message: MsiMessage) -> io::Result<()> {
        Ok(())
    }
    fn disable(&self) -> io::Result<()> {
        Ok(())
    }
}

type Subscriber = Box<dyn MutEventSubscriber + Send>;

/// The machine.
pub(crate) struct Board {
    ports: Bus,
    memory: Bus,
    root: Arc<PciRoot>,
    stats: VcpuStats,
    line: Arc<Line>,
    guest: DmaRegion,
    main_loop: EventManager<Subscriber>,
    /// Requests so far.
    requests: u16,
    _soft: SoftPf,
    _driver: Arc<PfDriver>,
}

impl Board {
    /// A machine whose driver has set queue 0 up and DRIVER_OK. Its function is the last of `vfs` VFs.
    pub(crate) fn new(shadow: bool, vfs: u16) -> Result<Self> {
        let guest: DmaRegion = Arc::new(GuestRegionMmap::from_range(GuestAddress(0), MEMORY, None)?);
        let disk = |_| {
            let file = std::fs::File::from(memfd_create("disk", MemfdFlags::CLOEXEC)?);
            file.set_len(1 << 20)?;
            Ok::<_, io::Error>(VfSpec::Blk { size: None, file, read_only: false, id: "counts".to_owned() })
        };
        let soft = SoftPf::new("soft", (0..vfs).map(disk).collect::<io::Result<_>>()?)?;
        let pf = Detachable::new(soft.pf())?;
        let vf: Arc<dyn PciFunction> = Detachable::new(soft.vf(usize::from(vfs) - 1).ok_or("no VF")?)?;

        let never = AtomicBool::new(false);
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &never };
        let driver = Arc::new(PfDriver::start(pf, wait.deadline)?);
        driver.enable_vfs(vfs)?;
        driver.negotiate_commands(&wait)?;
        vf.dma_map(&guest)?;
        let member = NonZeroU16::new(vfs).ok_or("no VF")?;
        let notify = driver.notify_info(member, vf.as_ref(), &wait)?;
        let registers = Arc::new(AdminRegisters::new(Arc::clone(&driver) as Arc<dyn AdminChannel>, member, notify));
        let config = TransitionalConfig {
            shadow,
            deadlines: Deadlines { access: PATIENCE, ..Deadlines::default() },
            kicks: KickConfig { notify_mode: NotifyMode::Exit, ..KickConfig::default() },
            ..TransitionalConfig::new("guest")
        };
        let line = Arc::new(Line::default());
        let parts = Parts {
            vf,
            registers,
            platform: PlatformParts {
                msi: Arc::new(NoMsi),
                port_events: None,
                irq_line: Some(Arc::clone(&line) as Arc<dyn IrqLine>),
                irq_number: 11,
            },
            owner: Some(Arc::clone(driver.function())),
            cancelled: Arc::new(AtomicBool::new(false)),
        };
        let device = TransitionalDevice::new(config, parts)?;
        let mut main_loop = EventManager::<Subscriber>::new().map_err(|error| error.to_string())?;
        main_loop.add_subscriber(Box::new(device.pump().ok_or("no INTx")?));

        let root = Arc::new(PciRoot::new());
        root.add(SLOT, device)?;
        let (ports, memory) = (Bus::new("ports"), Bus::new("memory"));
        let config_ports = Range::new(CONFIG_IO.into(), CONFIG_PORTS).ok_or("an empty range")?;
        ports.insert(config_ports, Arc::clone(&root) as Arc<dyn IoDevice>)?;
        let mut board = Self {
            ports,
            memory,
            root,
            stats: VcpuStats::default(),
            line,
            guest,
            main_loop,
            requests: 0,
            _soft: soft,
            _driver: driver,
        };
        board.set_up()?;
        Ok(board)
    }

    /// What firmware and driver do.
    fn set_up(&mut self) -> Result<()> {
        let place_bar0 = [self.config_address(0x10), self.config_data_write(u32::from(BASE) | 1)];
        let decode = [self.config_address(4), self.config_data_write(self.command())];
        let acknowledge = [0, 1, 3].map(|status| self.register_write(18, 1, status));
        let queue = [
            self.register_write(4, 4, 0),
            self.register_write(14, 2, 0),
            self.register_write(8, 4, QUEUE_PAGE),
            self.register_write(18, 1, 7),
        ];
        let mut size = self.register_read(12, 2);
        for mut io in place_bar0.into_iter().chain(decode).chain(acknowledge).chain(queue) {
            self.exit(&mut io);
        }
        self.exit(&mut size);
        if u32::from_le_bytes(size.bytes) != u32::from(QUEUE_SIZE) {
            return Err(format!("the disk's queue has {} entries", u32::from_le_bytes(size.bytes)).into());
        }
        // Three descriptors: header, serial number, status.
        for (index, (address, len, flags, next)) in
            [(REQUEST, 16, 1, 1), (REQUEST + 16, 20, 3, 2), (REQUEST + 36, 1, 2, 0_u16)].into_iter().enumerate()
        {
            let at = QUEUE + 16 * index as u64;
            self.store(at, address)?;
            self.store(at + 8, len | u64::from(flags as u16) << 32 | u64::from(next) << 48)?;
        }
        self.store(REQUEST, u64::from(GET_ID))
    }

    fn store(&self, at: u64, value: u64) -> Result<()> {
        Ok(self.guest.write_slice(&value.to_le_bytes(), MemoryRegionAddress(at))?)
    }

    fn word(&self, at: u64) -> Result<u16> {
        Ok(self.guest.load(MemoryRegionAddress(at), Ordering::Acquire)?)
    }

    /// A read of a legacy register.
    pub(crate) fn register_read(&self, offset: u16, len: usize) -> Io {
        Io::read(BASE + offset, len)
    }

    /// A write of a legacy register.
    pub(crate) fn register_write(&self, offset: u16, len: usize, value: u32) -> Io {
        Io::write(BASE + offset, len, value)
    }

    /// Selects a register of the function's configuration space.
    pub(crate) fn config_address(&self, register: u8) -> Io {
        Io::write(CONFIG_IO, 4, 1 << 31 | u32::from(SLOT) << 11 | u32::from(register))
    }

    /// Writes the register that is selected.
    pub(crate) fn config_data_write(&self, value: u32) -> Io {
        Io::write(CONFIG_IO + 4, 4, value)
    }

    /// COMMAND: ports, memory and bus mastering.
    pub(crate) fn command(&self) -> u32 {
        7
    }

    /// Makes a request available, and kicks.
    pub(crate) fn request(&self) -> Io {
        // Descriptor 0 is the head of each, and ring entries are 0 from the beginning.
        let next = self.requests.wrapping_add(1);
        let done = self.guest.store(next, MemoryRegionAddress(AVAIL + 2), Ordering::Release);
        done.map_or_else(|_| Io::read(0, 1), |()| self.register_write(16, 2, 0))
    }

    /// Waits until the disk has answered the request.
    pub(crate) fn await_request(&mut self) -> Result<()> {
        self.requests = self.requests.wrapping_add(1);
        let end = Instant::now() + PATIENCE;
        while self.word(USED + 2)? != self.requests {
            if Instant::now() > end {
                return Err("the disk does not answer".into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// One exit.
    pub(crate) fn exit(&self, io: &mut Io) {
        let data = io.bytes.get_mut(..io.len).unwrap_or_default();
        let exit = Exit::PortIo { port: io.port, size: io.len as u8, is_write: io.is_write, data };
        let (ports, memory, root) = (&self.ports, &self.memory, &self.root);
        let context = ExitContext {
            buses: Buses { ports, memory },
            remap: &|| root.remap(ports, memory),
            between: &|| true,
            stats: &self.stats,
            vcpu: 0,
        };
        let outcome = handle_exit(exit, &context);
        assert_eq!(outcome, Outcome::Continue);
    }

    /// How often the interrupt line went high.
    pub(crate) fn raised(&self) -> u32 {
        self.line.raised.load(Ordering::Relaxed)
    }

    /// The main loop takes one event.
    pub(crate) fn interrupt(&mut self) {
        let _ = self.main_loop.run();
    }
}
