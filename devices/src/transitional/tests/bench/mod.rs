// SPDX-License-Identifier: Apache-2.0
//! The test bench of this module: the function of reference section 6.1 (three queues of 256, four
//! vectors, doorbell in BAR 2 at 0x1000) over a model of a legacy device that is strict where
//! hardware may be, with one log of all that reaches it, in order.

mod below;
mod function;
mod model;
mod stack;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_manager::{EventManager, SubscriberOps};

pub(crate) use below::Below;
pub(crate) use function::{pf, vf};
pub(crate) use model::{Model, refused};
pub(crate) use stack::{DEVICE_WRITES, Ring, Stack};

use crate::bus::{Access, Effect, Width};
use crate::contract::NotifyAddress;
pub(crate) use crate::contract::mock::Log;
use crate::contract::mock::{MockFunction, MockLine, MockMsi, MockPorts};
use crate::contract::platform::{IrqLine, PortEvents};
use crate::function::PciFunction;
use crate::pci::{Command, PciDevice};
use crate::transitional::*;

pub(crate) const NET_FEATURES: u32 = 0x3803_99a3;
pub(crate) const BASE: u16 = 0xc040;

/// What a bench is made with.
pub(crate) struct Setup {
    pub config: TransitionalConfig,
    pub device_id: u16,
    pub vectors: u16,
    /// The VF has a BAR 0, as none should that a legacy guest gets.
    pub bar0: bool,
    pub queues: u16,
    pub notify: Vec<NotifyAddress>,
    pub owner: bool,
    pub line: bool,
    pub ports: bool,
    pub features: u32,
    pub config_bytes: Vec<u8>,
    pub structure: &'static str,
    /// Bytes of device configuration that the registers below reach.
    pub config_reach: Option<u8>,
}

impl Setup {
    /// The network card of reference 6.1; kicks by exits unless a test says otherwise.
    pub(crate) fn net() -> Self {
        let config_bytes = [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 1, 0, 0xdc, 5, 0, 0, 0, 0, 0].to_vec();
        let mut config = TransitionalConfig::new("net0");
        config.deadlines.access = Duration::from_secs(5);
        config.deadlines.reset = Duration::from_secs(10);
        // Most tests look at what each access does below.
        config.shadow = false;
        Self {
            config,
            device_id: 0x1041,
            vectors: 4,
            bar0: false,
            queues: 3,
            notify: vec![NotifyAddress::Member { bar: 2, offset: 0x1000 }],
            owner: false,
            line: true,
            ports: false,
            features: NET_FEATURES,
            config_bytes,
            structure: "6 2 2 2 4 1",
            config_reach: None,
        }
    }

    /// The disk of reference 6.1.
    pub(crate) fn blk() -> Self {
        let mut config_bytes = vec![0; 60];
        config_bytes[0..8].copy_from_slice(&0x1234_5600_u64.to_le_bytes());
        config_bytes[16..20].copy_from_slice(&[0xff, 0x3f, 0x10, 0x3f]);
        let structure = "8 4 4 2 1 1 4 1 1 2 4 1 1 2 4 4 4 4 4 1 3";
        Self { device_id: 0x1042, queues: 1, config_bytes, structure, ..Self::net() }
    }

    pub(crate) fn build(self) -> Bench {
        Bench::new(self).unwrap()
    }
}

/// A function on its bench.
pub(crate) struct Bench {
    pub device: Arc<TransitionalDevice>,
    pub vf: Arc<MockFunction>,
    pub model: Arc<Model>,
    pub line: Arc<MockLine>,
    pub ports: Arc<MockPorts>,
    /// All that reached the function, in order: `R C18.1=7` is a read of 1 byte at common offset 18.
    pub log: Log,
    pub cancelled: Arc<AtomicBool>,
    events: Mutex<Option<EventManager<InterruptPump>>>,
}

impl Bench {
    pub(crate) fn net() -> Self {
        Setup::net().build()
    }

    pub(crate) fn new(setup: Setup) -> Result<Self, TransitionalError> {
        let Below { vf, model, line, log, .. } = Below::new(&setup);
        let pf = Arc::new(pf(&setup, &log));
        let ports = Arc::new(MockPorts::new(&log));
        let cancelled = Arc::new(AtomicBool::new(false));
        let device = TransitionalDevice::new(
            setup.config,
            Parts {
                vf: vf.clone(),
                registers: model.clone(),
                platform: PlatformParts {
                    msi: Arc::new(MockMsi::default()),
                    port_events: setup.ports.then(|| ports.clone() as Arc<dyn PortEvents>),
                    irq_line: setup.line.then(|| line.clone() as Arc<dyn IrqLine>),
                    irq_number: 11,
                },
                owner: setup.owner.then_some(pf as Arc<dyn PciFunction>),
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

    pub(crate) fn read(&self, offset: u64, width: Width) -> u32 {
        self.device.bar_read(0, Access { offset, width, vcpu: 0 }) as u32
    }
    pub(crate) fn write(&self, offset: u64, width: Width, value: u32) {
        let access = Access { offset, width, vcpu: 0 };
        assert_eq!(self.device.bar_write(0, access, width.truncate(value.into())), Effect::None);
    }
    pub(crate) fn r8(&self, offset: u64) -> u32 {
        self.read(offset, Width::B1)
    }
    pub(crate) fn r16(&self, offset: u64) -> u32 {
        self.read(offset, Width::B2)
    }
    pub(crate) fn r32(&self, offset: u64) -> u32 {
        self.read(offset, Width::B4)
    }
    pub(crate) fn w8(&self, offset: u64, value: u32) {
        self.write(offset, Width::B1, value);
    }
    pub(crate) fn w16(&self, offset: u64, value: u32) {
        self.write(offset, Width::B2, value);
    }
    pub(crate) fn w32(&self, offset: u64, value: u32) {
        self.write(offset, Width::B4, value);
    }

    /// A configuration write, with what the bus does after it: all windows are placed.
    pub(crate) fn config_write(&self, offset: u16, width: Width, value: u32) {
        if self.device.config_write(offset, width, value) == Effect::Remap {
            self.device.placed(&self.device.windows());
        }
    }

    pub(crate) fn config_read(&self, offset: u16, width: Width) -> u32 {
        self.device.config_read(offset, width)
    }

    /// Offset of the guest's MSI-X capability, found as a guest does.
    pub(crate) fn msix_capability(&self) -> Option<u16> {
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
    pub(crate) fn set_msix(&self, on: bool) {
        let at = self.msix_capability().unwrap();
        self.config_write(at + 2, Width::B2, if on { 0x8000 } else { 0 });
    }

    pub(crate) fn set_command(&self, bits: Command) {
        self.config_write(4, Width::B2, bits.bits().into());
    }

    /// Lets the event loop run until it has nothing to do.
    pub(crate) fn pump(&self) {
        if let Some(events) = &mut *self.events.lock().unwrap() {
            while events.run_with_timeout(0).unwrap() != 0 {}
        }
    }

    /// What is logged since the last call, or since the bench was made.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.take()
    }

    /// Sets queue `queue` up as drivers do.
    pub(crate) fn set_up_queue(&self, queue: u32, pfn: u32) {
        self.w16(14, queue);
        assert_eq!(self.r16(12), 256);
        assert_eq!(self.r32(8), 0);
        self.w32(8, pfn);
    }

    /// A driver without MSI-X: status, two queues, DRIVER_OK. Clears the log.
    pub(crate) fn start_intx(&self) {
        self.w8(18, 0);
        self.w8(18, 1);
        self.w8(18, 3);
        self.set_up_queue(0, 0x100);
        self.set_up_queue(1, 0x200);
        self.w8(18, 7);
        self.log();
    }

    pub(crate) fn violations(&self) -> u64 {
        self.model.violations.load(Ordering::SeqCst)
    }
}

/// What `device` counted, of each of `kinds`.
pub(crate) fn counts<const N: usize>(device: &TransitionalDevice, kinds: [DeviceCounter; N]) -> [u64; N] {
    let report = device.report();
    kinds.map(|kind| report.count(kind))
}
