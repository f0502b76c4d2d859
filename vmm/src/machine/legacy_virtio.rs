// SPDX-License-Identifier: Apache-2.0
//! One transitional function for each VF. Where the VF comes from is known in [`super::vf`] only.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use api::{EarlyKicks, InterfaceMode, InterruptMode, NotifyMode};
use arch::irq::PciInterrupt;
use devices::admin::{AdminStats, PfClient, PfWatchdog, WatchedVf};
use devices::bus::Width;
use devices::function::detachable::Detachable;
use devices::function::{Lifetime, Named, PciFunction};
use devices::pci::{OptionRom, PciDevice, PciRoot};
use devices::spec::pci::VENDOR_ID;
use devices::transitional::{
    Deadlines, DeviceReport, DeviceType, EarlyKicks as DeviceEarlyKicks, Interface, IrqMode, KickConfig,
    NotifyMode as DeviceNotifyMode, OfferConfig, Parts, PlatformParts, RegisterAccesses, RegisterMirror,
    TransitionalConfig, TransitionalDevice,
};
use serde::Serialize;

use super::hardware::{self, Hardware};
use super::observer::{ObservedClient, Observer};
use super::removal::Watched;
use super::vf::{self, Attachment, Pf, PfSection, Vf};
use super::watchdog::PfWatch;
use super::{Platform, RemapBars, SetupError, Subscriber};
use crate::config::{DevicePlan, Plan, RomPlan};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// All legacy virtio functions of a machine.
pub(super) struct LegacyVirtio {
    // In the order of their end: functions, then PFs.
    functions: Vec<Function>,
    pfs: Vec<Arc<Pf>>,
}

struct Function {
    slot: u8,
    vf: Arc<Detachable>,
    device: Arc<TransitionalDevice>,
    attachment: Attachment,
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
    /// Requests that the host's storage failed (a full disk, an I/O error, a file that shrank), as the software VF
    /// counts it.
    pub host_errors: u64,
    /// The last of them.
    pub last_host_error: Option<String>,
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
    /// How its registers are reached: `admin_commands`, or `kernel` where the kernel runs those.
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
    hardware: &'a Hardware<'a>,
    root: &'a PciRoot,
    cancelled: &'a Arc<AtomicBool>,
}

impl LegacyVirtio {
    pub(super) fn new(
        plan: &Plan,
        platform: &Platform,
        hardware: &Hardware<'_>,
        root: &PciRoot,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Self, SetupError> {
        let vfs = vf::open(&plan.functions.legacy, hardware, cancelled)?;
        let pfs = vf::pfs(&vfs);
        let builder = Builder { platform, hardware, root, cancelled };
        let functions = plan.functions.legacy.iter().zip(vfs).map(|(device, vf)| builder.function(device, vf));
        let functions = functions.collect::<Result<_, SetupError>>()?;
        Ok(Self { functions, pfs })
    }

    /// How the functions' INTA pins are wired.
    pub(super) fn interrupts(&self) -> Vec<PciInterrupt> {
        self.functions.iter().map(|f| PciInterrupt::inta(f.slot)).collect()
    }

    /// Slots of the functions.
    pub(super) fn slots(&self) -> Vec<u8> {
        self.functions.iter().map(|f| f.slot).collect()
    }

    /// What the main loop has to run so that INTx works.
    pub(super) fn pumps(&self) -> Vec<Subscriber> {
        self.functions.iter().filter_map(|f| Some(Box::new(f.device.pump()?) as Subscriber)).collect()
    }

    /// Begins to notice lost PFs, and to bring them back.
    pub(super) fn watch_pfs(&self, observer: &Arc<dyn Observer>) -> Result<Vec<PfWatch>, SetupError> {
        let watch = |pf: &Arc<Pf>| {
            let of_pf = self.functions.iter().filter_map(|f| Some((f, f.attachment.member_of(pf)?)));
            let watched = of_pf.enumerate().map(|(position, (f, member))| WatchedVf {
                member,
                function: Arc::clone(&f.vf) as _,
                // A PF is one: what becomes of it is told once.
                client: match position {
                    0 => Arc::new(ObservedClient {
                        pf: pf.name().to_owned(),
                        client: Arc::clone(&f.device) as _,
                        observer: Arc::clone(observer),
                    }),
                    _ => Arc::clone(&f.device) as _,
                },
            });
            let watchdog = PfWatchdog::new(Arc::clone(pf.driver()), watched.collect()).with_log(Arc::clone(pf.log()));
            let of_pf = self.functions.iter().filter(|f| f.attachment.member_of(pf).is_some());
            let devices = of_pf.map(|f| Arc::clone(&f.device)).collect();
            PfWatch::start(watchdog, devices)
        };
        self.pfs.iter().map(watch).collect()
    }

    /// What to do when VFs or PFs are wanted back or fail.
    ///
    /// # Errors
    /// When one cannot be watched.
    pub(super) fn watched(&self, remap: &RemapBars) -> Result<Vec<Watched>, SetupError> {
        let of_vfs = self.functions.iter().flat_map(|f| f.watched(remap));
        let of_pfs = self.pfs.iter().filter_map(|pf| {
            let handle = Arc::clone(pf.handle()?);
            let clients = self.functions.iter().filter(|f| f.attachment.member_of(pf).is_some());
            let clients: Vec<_> = clients.map(|f| Arc::clone(&f.device)).collect();
            let wanted_back = Arc::clone(&handle);
            let removed = move || {
                for client in &clients {
                    client.pf_lost("the system wants it back, or its server is gone");
                }
                wanted_back.detach();
            };
            Some(Watched::new(handle.removal_event()?, handle.name(), removed))
        });
        of_vfs.chain(of_pfs).collect()
    }

    /// What each function did so far.
    pub(super) fn sections(&self) -> Vec<DeviceSection> {
        let section = |f: &Function| {
            let (host_errors, last_host_error) = f.attachment.host_errors();
            DeviceSection {
                host_errors,
                last_host_error,
                slot: f.slot,
                device: f.device.report(),
                admin: f.attachment.stats(),
                by_register: f.device.register_accesses(),
                rings_broken: f.attachment.rings_broken(),
            }
        };
        self.functions.iter().map(section).collect()
    }

    /// Has `observer` told when a function goes out of service, and when it is back; and its tracer of accesses.
    pub(super) fn observe(&self, observer: &Arc<dyn Observer>) {
        for function in &self.functions {
            let (observer, id) = (Arc::clone(observer), function.device.name().to_owned());
            let (told, name) = (Arc::clone(&observer), id.clone());
            function.attachment.on_host_error(Box::new(move |what| told.host_error(&name, what)));
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
            LegacySection { section, mode: f.attachment.mode(), registers, times_faulted, last_fault }
        };
        self.functions.iter().zip(self.sections()).map(detail).collect()
    }

    /// What became of each PF.
    pub(super) fn pf_sections(&self) -> Vec<PfSection> {
        self.pfs.iter().map(|pf| pf.section()).collect()
    }

    /// Resets the VFs, so that none reaches guest memory any more.
    pub(super) fn shut_down(&self) {
        for function in self.functions.iter().filter(|function| !function.vf.is_detached()) {
            function.device.shutdown();
        }
    }
}

impl Function {
    fn watched(&self, remap: &RemapBars) -> impl Iterator<Item = Result<Watched, SetupError>> + use<> {
        let (device, vf, remap) = (Arc::clone(&self.device), Arc::clone(&self.vf), Arc::clone(remap));
        let release = self.attachment.release();
        let removed = move || {
            device.taken_away("taken away for good: the system wants the VF back, or its server is gone");
            remap();
            release();
            vf.detach();
        };
        let device = Arc::clone(&self.device);
        let failed = move || device.failed("the VF reports an error that it cannot recover from");
        let removal = self.vf.removal_event().map(|event| Watched::new(event, self.vf.name(), removed));
        let error = self.vf.error_event().map(|event| Watched::new(event, self.vf.name(), failed));
        removal.into_iter().chain(error)
    }
}

impl Builder<'_> {
    fn function(&self, plan: &DevicePlan, vf: Vf) -> Result<Function, SetupError> {
        let failed = |source: Failure| SetupError::Device { id: plan.id.clone(), source };
        let Vf { function, attachment } = vf;
        self.hardware.give_memory(function.as_ref()).map_err(|e| failed(e.into()))?;
        let vf = hardware::handle(function).map_err(failed)?;
        let slot = self.root.free_slot().ok_or(SetupError::Internal("no free PCI slot"))?;
        let irq = PciInterrupt::inta(slot).gsi;
        let parts = Parts {
            vf: Arc::clone(&vf) as _,
            registers: attachment.registers(),
            platform: PlatformParts {
                msi: self.platform.msi.clone(),
                port_events: Some(self.platform.port_events.clone()),
                irq_line: Some(self.platform.lines.share(irq.into())?),
                irq_number: irq,
            },
            owner: attachment.pf().map(|pf| Arc::clone(pf.driver().function())),
            cancelled: Arc::clone(self.cancelled),
        };
        let config = config(plan, rom(&plan.rom, vf.as_ref()).map_err(failed)?);
        let device = TransitionalDevice::new(config, parts).map_err(|e| failed(e.into()))?;
        self.root.add(slot, Arc::clone(&device) as Arc<dyn PciDevice>)?;
        Ok(Function { slot, vf, device, attachment })
    }
}

/// The function's expansion ROM.
fn rom(plan: &RomPlan, vf: &dyn PciFunction) -> Result<Option<Arc<OptionRom>>, Failure> {
    match plan {
        RomPlan::None => Ok(None),
        RomPlan::Any(rom) => Ok(Some(Arc::clone(rom))),
        RomPlan::NetworkCard(rom) => {
            let id = vf.config_read(VENDOR_ID + 2, Width::B2)? as u16;
            Ok((DeviceType::from_modern_id(id) == Some(DeviceType::Net)).then(|| Arc::clone(rom)))
        }
    }
}

fn config(plan: &DevicePlan, rom: Option<Arc<OptionRom>>) -> TransitionalConfig {
    let access = Duration::from_millis(plan.config.deadline_ms.unwrap_or(api::DEFAULT_DEADLINE_MS).into());
    let offer = OfferConfig {
        irq_mode: match plan.config.irq {
            InterruptMode::Auto => IrqMode::Auto,
            InterruptMode::Intx => IrqMode::Intx,
            InterruptMode::Msix => IrqMode::Msix,
        },
        interface: match plan.config.interface {
            InterfaceMode::Legacy => Interface::Legacy,
            InterfaceMode::Auto | InterfaceMode::Both => Interface::Both,
            InterfaceMode::Modern => Interface::Modern,
        },
        rom,
    };
    let kicks = KickConfig {
        notify_mode: match plan.config.notify {
            NotifyMode::Auto => DeviceNotifyMode::Auto,
            NotifyMode::Ioeventfd => DeviceNotifyMode::Ioeventfd,
            NotifyMode::Exit => DeviceNotifyMode::Exit,
        },
        early: match plan.config.early {
            EarlyKicks::Auto => DeviceEarlyKicks::Auto,
            EarlyKicks::Pass => DeviceEarlyKicks::Pass,
            EarlyKicks::Start => DeviceEarlyKicks::Start,
        },
    };
    let deadlines = Deadlines { access, ..Deadlines::default() };
    TransitionalConfig { id: plan.id.clone(), offer, kicks, deadlines, shadow: plan.config.shadow }
}
