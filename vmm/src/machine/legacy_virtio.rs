// SPDX-License-Identifier: Apache-2.0
//! The software PF, its driver, and one transitional function for each of its VFs.
//!
//! The order is the one of hardware: the PF's driver starts, VFs are enabled, the command list is
//! negotiated, and only then are VFs opened.

use std::fs::File;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use api::{InterruptMode, NotifyMode};
use arch::irq::PciInterrupt;
use devices::admin::wire::NotifyEntry;
use devices::admin::{AdminChannel, AdminStats, OverAdmin, PfDriver, PfLog, PfReport, PfWatchdog, Wait, WatchedVf};
use devices::function::{PciFunction, tap};
use devices::pci::{PciDevice, PciRoot, intx_irq};
use devices::soft_pf::{self, SoftPf, VfSpec};
use devices::transitional::{
    DeviceReport, IrqMode, NotifyAddress, NotifyMode as DeviceNotifyMode, Parts, RegisterAccesses, RegisterMirror,
    TransitionalConfig, TransitionalDevice,
};
use serde::Serialize;

use super::observer::{ObservedClient, Observer};
use super::watchdog::WatchdogTimer;
use super::{Platform, SetupError, Subscriber};
use crate::config::{DevicePlan, NetSource, Plan, SoftPlan};
use crate::kvm::GuestRam;

/// How long starting the PF, and each command to it before the guest starts, may take.
const START_LIMIT: Duration = Duration::from_secs(10);
/// INTA, as the interrupt pin register counts.
const INTA: u8 = 1;

/// All legacy virtio functions of a machine.
pub(super) struct LegacyVirtio {
    // In the order of their end: functions, the PF's driver, the PF.
    functions: Vec<Function>,
    driver: Option<Arc<PfDriver>>,
    pf: Option<SoftPf>,
    log: Arc<PfLog>,
}

struct Function {
    slot: u8,
    member: NonZeroU16,
    vf: Arc<dyn PciFunction>,
    device: Arc<TransitionalDevice>,
    registers: Arc<OverAdmin>,
}

/// What one device did, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceSection {
    /// PCI slot on bus 0.
    pub slot: u8,
    /// The guest's function.
    #[serde(flatten)]
    pub device: DeviceReport,
    /// What it asked of the PF.
    pub admin: AdminStats,
    /// How often the guest broke a ring, by garbage addresses, indices or chains, as the software VF counts it.
    pub rings_broken: u64,
    /// The guest's accesses by register. Not in reports.
    #[serde(skip)]
    pub by_register: Vec<RegisterAccesses>,
}

/// One device in detail, for people who look into a running machine.
#[derive(Clone, Debug, Serialize)]
pub struct LegacySection {
    /// What it did.
    #[serde(flatten)]
    pub section: DeviceSection,
    /// How its registers are reached: `admin_commands`.
    pub mode: &'static str,
    /// Its legacy registers; `null` while an access holds them.
    pub registers: Option<RegisterMirror>,
    /// How often it went out of service.
    pub times_faulted: u64,
    /// Why it did last, also if it is back.
    pub last_fault: Option<String>,
}

/// What is the same for all functions of a machine.
struct Builder<'a> {
    platform: &'a Platform,
    ram: &'a GuestRam,
    root: &'a PciRoot,
    driver: &'a Arc<PfDriver>,
    cancelled: &'a Arc<AtomicBool>,
}

impl LegacyVirtio {
    pub(super) fn new(
        plan: &Plan,
        platform: &Platform,
        ram: &GuestRam,
        root: &PciRoot,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Self, SetupError> {
        if plan.devices.is_empty() {
            return Ok(Self { functions: Vec::new(), driver: None, pf: None, log: Arc::default() });
        }
        let specs = plan.devices.iter().map(spec).collect::<Result<Vec<_>, _>>()?;
        let pf = SoftPf::new("soft", specs).map_err(|error| SetupError::SoftPf(error.into()))?;
        let driver = Arc::new(start_pf(&pf, plan.devices.len(), cancelled)?);
        let builder = Builder { platform, ram, root, driver: &driver, cancelled };
        let functions = plan
            .devices
            .iter()
            .enumerate()
            .map(|(index, device)| {
                let vf = pf.vf(index).ok_or(SetupError::Internal("a VF is missing"))?;
                builder.function(device, vf, index)
            })
            .collect::<Result<_, SetupError>>()?;
        Ok(Self { functions, driver: Some(driver), pf: Some(pf), log: Arc::default() })
    }

    /// How the functions' INTA pins are wired.
    pub(super) fn interrupts(&self) -> Vec<PciInterrupt> {
        let wired = |f: &Function| Some(PciInterrupt { slot: f.slot, pin: 0, gsi: intx_irq(f.slot, INTA)? });
        self.functions.iter().filter_map(wired).collect()
    }

    /// What the main loop has to run so that INTx works.
    pub(super) fn pumps(&self) -> Vec<Subscriber> {
        self.functions.iter().filter_map(|f| Some(Box::new(f.device.pump()?) as Subscriber)).collect()
    }

    /// What the main loop has to run so that a lost PF is noticed and brought back.
    pub(super) fn watchdog(&self, observer: &Arc<dyn Observer>) -> Result<Option<Subscriber>, SetupError> {
        let Some(driver) = &self.driver else { return Ok(None) };
        let watched = |(index, f): (usize, &Function)| WatchedVf {
            member: f.member,
            function: Arc::clone(&f.vf),
            // The PF is one: what becomes of it is told once.
            client: match index {
                0 => Arc::new(ObservedClient { client: Arc::clone(&f.device) as _, observer: Arc::clone(observer) }),
                _ => Arc::clone(&f.device) as _,
            },
        };
        let watched = self.functions.iter().enumerate().map(watched).collect();
        let watchdog = PfWatchdog::new(Arc::clone(driver), watched).with_log(Arc::clone(&self.log));
        Ok(Some(Box::new(WatchdogTimer::new(watchdog)?)))
    }

    /// What each function did so far.
    pub(super) fn sections(&self) -> Vec<DeviceSection> {
        let section = |(index, f): (usize, &Function)| DeviceSection {
            slot: f.slot,
            device: f.device.report(),
            admin: f.registers.stats(),
            by_register: f.device.register_accesses(),
            rings_broken: self.pf.as_ref().map_or(0, |pf| pf.rings_broken(index)),
        };
        self.functions.iter().enumerate().map(section).collect()
    }

    /// What became of the PF; `None` if there is none.
    pub(super) fn pf_report(&self) -> Option<PfReport> {
        self.driver.is_some().then(|| self.log.report())
    }

    /// Has `observer` told when a function goes out of service, and when it is back; and its tracer of accesses.
    pub(super) fn observe(&self, observer: &Arc<dyn Observer>) {
        for function in &self.functions {
            let (observer, id) = (Arc::clone(observer), function.device.name().to_owned());
            if let Some(tracer) = observer.tracer() {
                function.device.trace(tracer);
            }
            function.device.observe_faults(move |change| observer.device(&id, change));
        }
    }

    /// Each function in detail.
    pub(super) fn details(&self, patience: Duration) -> Vec<LegacySection> {
        let detail = |(f, section): (&Function, DeviceSection)| {
            let (times_faulted, last_fault) = f.device.fault_history();
            let registers = f.device.mirror(patience);
            LegacySection { section, mode: "admin_commands", registers, times_faulted, last_fault }
        };
        self.functions.iter().zip(self.sections()).map(detail).collect()
    }

    /// Resets the VFs, so that none reaches guest memory any more.
    pub(super) fn shut_down(&self) {
        for function in &self.functions {
            function.device.shutdown();
        }
    }
}

/// Opens what a VF needs that was not opened by the configuration's check.
fn spec(device: &DevicePlan) -> Result<VfSpec, SetupError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| SetupError::Device { id: device.id.clone(), source };
    Ok(match &device.soft {
        SoftPlan::Blk(disk) => VfSpec::Blk {
            // Shares the lock, which is the open file's; a reboot comes here again.
            file: disk.file.try_clone().map_err(|e| failed(e.into()))?,
            read_only: disk.readonly,
            id: device.id.clone(),
        },
        SoftPlan::Net { backend, mac } => VfSpec::Net {
            backend: match backend {
                NetSource::Loopback => soft_pf::NetBackend::Loopback,
                NetSource::Descriptor { descriptor, vnet_hdr } => {
                    let file = duplicate(descriptor).map_err(|e| failed(e.into()))?;
                    soft_pf::NetBackend::Tap(tap::Tap { file, vnet_hdr: *vnet_hdr })
                }
                NetSource::Tap(name) => soft_pf::NetBackend::Tap(tap::open(name, true).map_err(|e| failed(e.into()))?),
            },
            mac: mac.0,
        },
    })
}

/// A descriptor of its own for a machine. Reads must not wait: what its giver set is overruled.
fn duplicate(descriptor: &OwnedFd) -> io::Result<File> {
    let flags = rustix::fs::fcntl_getfl(descriptor)?;
    rustix::fs::fcntl_setfl(descriptor, flags | rustix::fs::OFlags::NONBLOCK)?;
    descriptor.try_clone().map(File::from)
}

fn start_pf(pf: &SoftPf, vfs: usize, cancelled: &AtomicBool) -> Result<PfDriver, SetupError> {
    let deadline = Instant::now() + START_LIMIT;
    let function: Arc<dyn PciFunction> = pf.pf();
    #[cfg(test)]
    let function = super::test_pf::wrap(function);
    let driver = PfDriver::start(function, deadline)?;
    driver.enable_vfs(u16::try_from(vfs).map_err(|_| SetupError::Internal("more VFs than PCI slots"))?)?;
    driver.negotiate_commands(&Wait { deadline, cancelled })?;
    Ok(driver)
}

impl Builder<'_> {
    fn function(&self, plan: &DevicePlan, vf: Arc<dyn PciFunction>, index: usize) -> Result<Function, SetupError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| SetupError::Device { id: plan.id.clone(), source };
        for region in self.ram.regions() {
            vf.dma_map(region).map_err(|e| failed(e.into()))?;
        }
        let member = u16::try_from(index + 1).ok().and_then(NonZeroU16::new);
        let member = member.ok_or(SetupError::Internal("a VF without a member id"))?;
        let notify = self.notify_addresses(member, vf.as_ref())?;
        // Through the driver, not its bare queue: it negotiates the commands anew when a PF has lost them.
        let channel: Arc<dyn AdminChannel> = Arc::clone(self.driver) as _;
        let registers = Arc::new(OverAdmin::new(channel, member, notify));
        let slot = self.root.free_slot().ok_or(SetupError::Internal("no free PCI slot"))?;
        let irq = intx_irq(slot, INTA).ok_or(SetupError::Internal("an interrupt pin that is not wired"))?;
        let parts = Parts {
            vf: Arc::clone(&vf),
            registers: registers.clone(),
            msi: self.platform.msi.clone(),
            port_events: Some(self.platform.port_events.clone()),
            irq_line: Some(self.platform.lines.share(irq.into())?),
            irq_number: irq,
            owner: Some(Arc::clone(self.driver.function())),
            cancelled: Arc::clone(self.cancelled),
        };
        let device = TransitionalDevice::new(config(plan), parts).map_err(|e| failed(e.into()))?;
        self.root.add(slot, Arc::clone(&device) as Arc<dyn PciDevice>)?;
        Ok(Function { slot, member, vf, device, registers })
    }

    fn notify_addresses(&self, member: NonZeroU16, vf: &dyn PciFunction) -> Result<Vec<NotifyAddress>, SetupError> {
        let pf = self.driver.function();
        let size = |place: u8, bar: u8| match place {
            NotifyEntry::OWNER => pf.region(bar).map(|r| r.size),
            NotifyEntry::MEMBER => vf.region(bar).map(|r| r.size),
            _ => None,
        };
        let wait = Wait { deadline: Instant::now() + START_LIMIT, cancelled: self.cancelled };
        Ok(self.driver.notify_info(member, size, &wait)?)
    }
}

fn config(plan: &DevicePlan) -> TransitionalConfig {
    let default = TransitionalConfig::new(&plan.id);
    TransitionalConfig {
        irq_mode: match plan.irq {
            InterruptMode::Auto => IrqMode::Auto,
            InterruptMode::Intx => IrqMode::Intx,
            InterruptMode::Msix => IrqMode::Msix,
        },
        notify_mode: match plan.notify {
            NotifyMode::Auto => DeviceNotifyMode::Auto,
            NotifyMode::Ioeventfd => DeviceNotifyMode::Ioeventfd,
            NotifyMode::Exit => DeviceNotifyMode::Exit,
        },
        deadline: plan.deadline.unwrap_or(default.deadline),
        shadow: plan.shadow,
        ..default
    }
}
