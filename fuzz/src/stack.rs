// SPDX-License-Identifier: Apache-2.0
//! All that is below a guest: a transitional function over admin commands over a PF's admin virtqueue
//! over the software PF, with a spy on the wire. PF and VFs live as long as the process; each input
//! gets functions that were just reset, and a transitional function of its own.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::Width;
use devices::contract::mock::{MockLine, MockMsi, MockPorts, Proxy};
use devices::contract::{LegacyRegisters, NotifyAddress, Wait};
use devices::function::{DmaRegion, PciFunction};
use devices::soft_pf::{NetBackend, NotifyQuirk, Quirks, ReplyQuirks, SoftPf, VfQuirks, VfSpec};
use devices::transitional::{
    EarlyKicks, Interface, IrqMode, NotifyMode, Parts, PlatformParts, TransitionalConfig, TransitionalDevice,
};
use event_manager::{EventManager, SubscriberOps};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::fields::Kind;
use super::script::Script;
use super::wire_spy::WireSpy;

/// Bytes of guest memory, from address 0.
pub const MEMORY: usize = 1 << 20;
const SECTORS: u64 = 64;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// Long enough for a busy machine: a software PF answers at once, and what does not is a finding.
const PATIENCE: Duration = Duration::from_secs(20);

/// PF, driver and VFs.
pub struct Host {
    /// The software PF.
    pub soft: SoftPf,
    /// Looks at each command.
    pub spy: Arc<Proxy<WireSpy>>,
    disk: std::fs::File,
    driver: PfDriver,
    notify: [[Option<NotifyAddress>; 2]; 2],
}

impl Host {
    /// A PF with a network interface (member 1) and a disk of 64 sectors (member 2).
    pub fn new() -> Self {
        let disk = tempfile::tempfile().expect("a temporary file");
        disk.set_len(512 * SECTORS).expect("a size for it");
        let file = disk.try_clone().expect("a second descriptor");
        let specs = vec![
            VfSpec::Net { backend: NetBackend::Loopback, mac: MAC },
            VfSpec::Blk { size: None, file, read_only: false, id: "fuzz".to_owned() },
        ];
        let soft = SoftPf::new("soft", specs).expect("a software PF");
        let spy = WireSpy::new(soft.pf());
        let cancelled = AtomicBool::new(false);
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
        let driver = PfDriver::start(spy.clone(), wait.deadline).expect("the PF starts");
        driver.enable_vfs(2).expect("the VFs exist");
        driver.negotiate_commands(&wait).expect("the commands are there");
        let mut notify = [[None; 2]; 2];
        for (owner, addresses) in [false, true].into_iter().zip(&mut notify) {
            soft.set_quirks(Quirks {
                notify: if owner { NotifyQuirk::Owner } else { NotifyQuirk::Member },
                ..Quirks::default()
            });
            for (member, address) in (1..).zip(addresses) {
                let member = NonZeroU16::new(member).expect("from 1");
                let vf = soft.vf(usize::from(member.get()) - 1).expect("two VFs");
                *address = driver.notify_info(member, vf.as_ref(), &wait).expect("NOTIFY_INFO").into_iter().next();
            }
        }
        Self { soft, spy, disk, driver, notify }
    }

    /// What no guest can do to the host.
    pub fn check(&self) {
        assert_eq!(self.disk.metadata().expect("the disk's size").len(), 512 * SECTORS, "the disk has another size");
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// A guest's function and memory.
pub struct Guest {
    /// The function.
    pub device: Arc<TransitionalDevice>,
    /// Its line.
    pub line: Arc<MockLine>,
    /// Its ioeventfds.
    pub ports: Arc<MockPorts>,
    /// The guest's memory.
    pub memory: GuestMemoryMmap<()>,
    /// What makes INTx of MSI-X.
    pub events: EventManager<devices::transitional::InterruptPump>,
    registers: Arc<AdminRegisters>,
    vf: Arc<dyn PciFunction>,
}

impl Guest {
    /// A function over a VF of `host`; 4 bytes of `script` say which, and how it is set up.
    pub fn new(host: &Host, script: &mut Script<'_>) -> Self {
        let kind = if script.flag() { Kind::Blk } else { Kind::Net };
        let member = NonZeroU16::new(if kind == Kind::Net { 1 } else { 2 }).expect("not 0");
        let odd = script.u8();
        host.soft.set_quirks(Quirks {
            vf: VfQuirks { loses_early_kicks: odd & 1 != 0, pfn_zero_resets: odd & 2 != 0, ..VfQuirks::default() },
            reply: ReplyQuirks { busy_every: if odd & 4 != 0 { 5 } else { 0 }, ..ReplyQuirks::default() },
            notify: if odd & 8 != 0 { NotifyQuirk::Owner } else { NotifyQuirk::Member },
            ..Quirks::default()
        });
        let vf = host.soft.vf(usize::from(member.get()) - 1).expect("it exists");
        vf.reset().expect("a soft VF can be reset");
        let region: DmaRegion =
            Arc::new(GuestRegionMmap::from_range(GuestAddress(0), MEMORY, None).expect("guest memory"));
        vf.dma_map(&region).expect("nothing else is mapped");
        let memory = GuestMemoryMmap::from_arc_regions(vec![region]).expect("one region");
        host.spy.guard(member.get().into(), kind);

        let modes = script.u8();
        let mut config = TransitionalConfig::new("fuzz");
        (config.deadlines.access, config.deadlines.reset) = (PATIENCE, PATIENCE);
        config.offer.interface = [Interface::Both, Interface::Legacy][usize::from(modes & 1)];
        config.offer.irq_mode =
            [IrqMode::Auto, IrqMode::Auto, IrqMode::Intx, IrqMode::Msix][usize::from(modes >> 1 & 3)];
        config.kicks.early =
            [EarlyKicks::Auto, EarlyKicks::Auto, EarlyKicks::Pass, EarlyKicks::Start][usize::from(modes >> 4 & 3)];
        config.kicks.notify_mode = if modes & 8 != 0 { NotifyMode::Exit } else { NotifyMode::Auto };
        let address = match script.u8() % 4 {
            0 => None,
            1 => host.notify[1][usize::from(member.get()) - 1],
            _ => host.notify[0][usize::from(member.get()) - 1],
        };
        let channel: Arc<dyn AdminChannel> = host.driver.channel();
        let registers = Arc::new(AdminRegisters::new(channel, member, address));
        let (line, ports) = (Arc::new(MockLine::default()), Arc::new(MockPorts::default()));
        let parts = Parts {
            vf: vf.clone(),
            registers: registers.clone(),
            platform: PlatformParts {
                msi: Arc::new(MockMsi::default()),
                port_events: Some(ports.clone()),
                irq_line: Some(line.clone()),
                irq_number: 11,
            },
            owner: Some(host.driver.function().clone()),
            cancelled: Arc::new(AtomicBool::new(false)),
        };
        let device = TransitionalDevice::new(config, parts).expect("nothing is missing");
        let mut events = EventManager::new().expect("epoll");
        if let Some(pump) = device.pump() {
            events.add_subscriber(pump);
        }
        Self { device, line, ports, memory, events, registers, vf }
    }

    /// Ends the guest, and checks that nothing of it is left.
    pub fn end(self) {
        let report = self.device.report();
        assert_eq!(report.faulted, None, "a guest put its own function out of service");
        self.device.shutdown();
        assert!(!self.line.is_high(), "the line stays high after the end");
        assert_eq!(self.ports.places(), [], "ioeventfds stay after the end");
        let cancelled = AtomicBool::new(false);
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
        let status = self.registers.read(devices::contract::Area::Common, 18, Width::B1, &wait);
        assert_eq!(status, Ok(0), "the device still runs");
        self.vf.dma_unmap(0).expect("it was mapped");
    }
}
