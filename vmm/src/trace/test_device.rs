// SPDX-License-Identifier: Apache-2.0
//! For tests: a transitional network card over the software PF, without a machine.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminRegisters, PfDriver};
use devices::bus::{Access, Width};
use devices::contract::Wait;
use devices::contract::mock::MockMsi;
use devices::pci::PciDevice;
use devices::soft_pf::{NetBackend, SoftPf, VfSpec};
use devices::transitional::{Parts, PlatformParts, Tracer, TransitionalConfig, TransitionalDevice};

/// The card.
pub(super) struct TestDevice {
    device: Arc<TransitionalDevice>,
    // After the function, which uses it.
    _driver: PfDriver,
    _pf: SoftPf,
}

impl TestDevice {
    pub(super) fn new(id: &str) -> Self {
        let spec = VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] };
        let pf = SoftPf::new("soft", vec![spec]).unwrap();
        let cancelled = Arc::new(AtomicBool::new(false));
        let deadline = Instant::now() + Duration::from_secs(20);
        let driver = PfDriver::start(pf.pf(), deadline).unwrap();
        driver.enable_vfs(1).unwrap();
        driver.negotiate_commands(&Wait { deadline, cancelled: &cancelled }).unwrap();
        let mut config = TransitionalConfig::new(id);
        config.deadlines.access = Duration::from_secs(10);
        config.shadow = false;
        let parts = Parts {
            vf: pf.vf(0).unwrap(),
            registers: Arc::new(AdminRegisters::new(driver.channel(), NonZeroU16::MIN, [])),
            platform: PlatformParts {
                msi: Arc::new(MockMsi::default()),
                port_events: None,
                irq_line: None,
                irq_number: 0,
            },
            owner: None,
            cancelled,
        };
        let device = TransitionalDevice::new(config, parts).unwrap();
        Self { device, _driver: driver, _pf: pf }
    }

    pub(super) fn trace(&self, tracer: &Arc<Tracer>) {
        self.device.trace(tracer);
    }

    /// A byte of BAR0.
    pub(super) fn read(&self, offset: u64) -> u64 {
        self.device.bar_read(0, Access { offset, width: Width::B1, vcpu: 0 })
    }
}
