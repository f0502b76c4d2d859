// SPDX-License-Identifier: Apache-2.0
//! A guest's function and the whole stack below it: this module over admin commands over a PF's
//! admin virtqueue over the software PF, and memory with rings in it.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use event_manager::{EventManager, SubscriberOps};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::admin::{AdminRegisters, PfDriver};
use crate::bus::{Access, Width};
use crate::contract::Wait;
use crate::contract::mock::{MockLine, MockMsi, PATIENCE, wait_until};
use crate::function::DmaRegion;
use crate::pci::PciDevice;
use crate::soft_pf::{Quirks, SoftPf, VfSpec};
use crate::transitional::{InterruptPump, Parts, PlatformParts, TransitionalConfig, TransitionalDevice};

/// Bytes of guest memory, from address 0.
pub(super) const MEMORY: usize = 4 << 20;
pub(super) const NEXT: u16 = 1;
pub(crate) const DEVICE_WRITES: u16 = 2;

/// A guest with one function, and all that is below it.
pub(crate) struct Stack {
    pub device: Arc<TransitionalDevice>,
    pub registers: Arc<AdminRegisters>,
    pub line: Arc<MockLine>,
    /// The guest's MSI-X interrupts.
    pub msi: Arc<MockMsi>,
    pub memory: GuestMemoryMmap,
    pub events: EventManager<InterruptPump>,
    // Last, so that functions end before their PF.
    _driver: PfDriver,
    pub pf: SoftPf,
}

impl Stack {
    /// The shadow is off, so that each access is seen below.
    pub(crate) fn new(spec: VfSpec, quirks: Quirks) -> Self {
        Self::with_config(spec, quirks, |config| config.shadow = false)
    }

    pub(crate) fn with_shadow(spec: VfSpec, quirks: Quirks, shadow: bool) -> Self {
        Self::with_config(spec, quirks, |config| config.shadow = shadow)
    }

    /// `change` is applied to a configuration with deadlines that slow machines keep.
    pub(crate) fn with_config(spec: VfSpec, quirks: Quirks, change: impl FnOnce(&mut TransitionalConfig)) -> Self {
        let pf = SoftPf::new("soft", vec![spec]).unwrap();
        pf.set_quirks(quirks);
        let cancelled = Arc::new(AtomicBool::new(false));
        let deadline = Instant::now() + PATIENCE;
        let wait = Wait { deadline, cancelled: &cancelled };
        let driver = PfDriver::start(pf.pf(), deadline).unwrap();
        driver.enable_vfs(1).unwrap();
        driver.negotiate_commands(&wait).unwrap();
        let vf = pf.vf(0).unwrap();
        let region = MmapRegion::new(MEMORY).unwrap();
        let region: DmaRegion = Arc::new(GuestRegionMmap::new(region, GuestAddress(0)).unwrap());
        let memory = GuestMemoryMmap::from_arc_regions(vec![region.clone()]).unwrap();
        vf.dma_map(&region).unwrap();
        let member = NonZeroU16::MIN;
        let notify = driver.notify_info(member, vf.as_ref(), &wait).unwrap();
        let registers = Arc::new(AdminRegisters::new(driver.channel(), member, notify));
        let line = Arc::new(MockLine::default());
        // Not what is tested here, and machines that run tests can be slow.
        let mut config = TransitionalConfig::new("stack");
        config.deadlines.access = Duration::from_secs(60);
        config.deadlines.reset = Duration::from_secs(60);
        change(&mut config);
        let msi = Arc::new(MockMsi::default());
        let parts = Parts {
            vf,
            registers: registers.clone(),
            platform: PlatformParts {
                msi: msi.clone(),
                port_events: None,
                irq_line: Some(line.clone()),
                irq_number: 11,
            },
            owner: Some(Arc::clone(driver.function())),
            cancelled,
        };
        let device = TransitionalDevice::new(config, parts).unwrap();
        let mut events = EventManager::new().unwrap();
        events.add_subscriber(device.pump().unwrap());
        Self { device, registers, line, msi, memory, events, _driver: driver, pf }
    }

    pub(crate) fn read(&self, offset: u64, width: Width) -> u32 {
        self.device.bar_read(0, Access { offset, width, vcpu: 0 }) as u32
    }

    pub(crate) fn write(&self, offset: u64, width: Width, value: u32) {
        let _ = self.device.bar_write(0, Access { offset, width, vcpu: 0 }, value.into());
    }

    pub(crate) fn set_up_queue(&self, queue: u32, address: u64) -> u16 {
        self.write(14, Width::B2, queue);
        let size = self.read(12, Width::B2) as u16;
        assert_eq!(self.read(8, Width::B4), 0);
        self.write(8, Width::B4, (address >> 12) as u32);
        size
    }

    pub(crate) fn set_msix(&self, on: bool) {
        let at = self.device.config_read(0x34, Width::B1) as u16;
        assert_eq!(self.device.config_read(at, Width::B1), 0x11);
        let _ = self.device.config_write(at + 2, Width::B2, if on { 0x8000 } else { 0 });
    }

    /// What an old driver's interrupt handler does: waits for the line, reads the ISR.
    pub(crate) fn wait_for_interrupt(&mut self) -> u32 {
        wait_until("an interrupt", || {
            self.events.run_with_timeout(20).unwrap();
            self.line.is_high()
        });
        self.read(19, Width::B1)
    }

    pub(crate) fn commands(&self) -> u64 {
        self.registers.stats().commands.iter().map(|command| command.count).sum()
    }
}

/// The legacy layout of a split ring, written by hand.
pub(crate) struct Ring {
    pub base: u64,
    pub size: u16,
    pub next: u16,
}

impl Ring {
    pub(crate) fn used(&self) -> u64 {
        (self.base + 16 * u64::from(self.size) + 6 + 2 * u64::from(self.size)).next_multiple_of(4096)
    }

    /// Offers one chain of (address, length, flags).
    pub(crate) fn offer(&mut self, memory: &GuestMemoryMmap, chain: &[(u64, u32, u16)]) {
        let put16 = |at: u64, v: u16| memory.write_obj(v.to_le(), GuestAddress(at)).unwrap();
        for (index, (address, length, flags)) in (0_u16..).zip(chain) {
            let at = self.base + 16 * u64::from(index);
            let last = usize::from(index) + 1 == chain.len();
            memory.write_obj(address.to_le(), GuestAddress(at)).unwrap();
            memory.write_obj(length.to_le(), GuestAddress(at + 8)).unwrap();
            put16(at + 12, flags | if last { 0 } else { NEXT });
            put16(at + 14, index + 1);
        }
        let avail = self.base + 16 * u64::from(self.size);
        put16(avail + 4 + 2 * u64::from(self.next % self.size), 0);
        self.next = self.next.wrapping_add(1);
        put16(avail + 2, self.next);
    }

    pub(crate) fn used_index(&self, memory: &GuestMemoryMmap) -> u16 {
        u16::from_le(memory.read_obj(GuestAddress(self.used() + 2)).unwrap())
    }
}
