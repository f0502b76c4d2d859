// SPDX-License-Identifier: Apache-2.0
//! One machine, from power-on to its end: memory, chips, PCI functions, processors, and the order in
//! which they are put together and taken apart. A reboot is a new machine.
#![forbid(unsafe_code)]

mod chipset;
mod error;
mod firmware;
mod hardware;
mod legacy_virtio;
#[cfg(test)]
mod mapping_tests;
mod observer;
mod passthrough;
mod processors;
mod removal;
mod screen;
mod vf;
mod watchdog;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arch::boot::Protocol;
use arch::{cpuid, irq, layout};
use devices::bus::{Bus, Range};
use devices::chipset::Vga;
use devices::contract::threads::{self, ThreadKind};
use devices::pci::PciRoot;
use event_manager::{EventManager, MutEventSubscriber, SubscriberId, SubscriberOps};

pub use chipset::{Kept, SerialOutput};
pub use error::SetupError;
pub use hardware::HardwareError;
pub use legacy_virtio::{DeviceSection, LegacySection};
pub use observer::Observer;
pub use passthrough::PassthroughSection;
pub use vf::PfSection;

use crate::config::{PayloadPlan, Plan, boot_order};
use crate::kvm::{BarMapper, GuestRam, IrqLines, MsiRoutes, PortIoEvents, RamOptions, StoppedClock, Vm};
use crate::vcpu::{Board, ExitReason, VcpuError, VcpuState, Vcpus};
use chipset::Chipset;
use hardware::Hardware;
use legacy_virtio::LegacyVirtio;
use passthrough::Passthrough;
use removal::{RemovalWatch, Unwatched};
use watchdog::PfWatch;

/// How long the vCPUs may take to stop. Their device accesses end at once when the machine stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Makes the buses and the guest's memory follow what functions decode.
type RemapBars = Arc<dyn Fn() + Send + Sync>;

/// The main loop's subscribers.
pub type Subscriber = Box<dyn MutEventSubscriber + Send>;
/// The main loop.
pub type Loop = EventManager<Subscriber>;

/// A machine that is ready to run, or runs.
pub struct Machine {
    // In the order of their end: processors before the devices they use, those before the VM.
    vcpus: Vcpus,
    /// What runs for this machine while its guest does.
    helpers: Helpers,
    /// Holds all functions. It goes before the PFs do, so that their drivers still find them.
    remap: RemapBars,
    legacy: LegacyVirtio,
    passthrough: Passthrough,
    chipset: Chipset,
    screen: Option<Arc<Vga>>,
    entry: Option<Protocol>,
    cancelled: Arc<AtomicBool>,
    observer: Arc<dyn Observer>,
    /// The guest's clocks, while they stand still.
    stopped_clock: Mutex<Option<StoppedClock>>,
    vm: Vm,
}

impl Machine {
    /// Puts the machine together and starts its processors paused.
    ///
    /// # Errors
    /// Whatever part cannot be had; all others are released again.
    pub fn build(plan: &Plan, kept: Kept, observer: Arc<dyn Observer>) -> Result<Self, SetupError> {
        let vm = Vm::new()?;
        let ram = memory(&vm, plan)?;
        vm.map_ram(&ram)?;
        if let PayloadPlan::Firmware(image) = &plan.payload {
            firmware::install(&vm, &ram, image)?;
        }
        let platform = Platform::new(&vm)?;
        let (ports, mmio) = (Arc::new(Bus::new("ports")), Arc::new(Bus::new("memory")));
        let root = Arc::new(PciRoot::new());
        root.set_mapper(Arc::new(BarMapper::new(&vm)));

        if plan.payload.is_firmware() {
            firmware::add_devices(&ports, &root)?;
        }
        let chipset = Chipset::new(&platform, &ports, &root, plan.memory.size, kept)?;
        let screen = screen::add(&ports, plan.board.screen.as_ref(), &ram)?;
        let (cancelled, hardware) = (Arc::new(AtomicBool::new(false)), Hardware::new(&vm, &ram));
        let legacy = LegacyVirtio::new(plan, &platform, &hardware, &root, &cancelled)?;
        legacy.observe(&observer);
        let passthrough = Passthrough::new(&plan.functions.passthrough, &platform, &hardware, &root)?;
        if let PayloadPlan::Kernel(_) = plan.payload {
            place_functions(&root)?;
        }
        let interrupts: Vec<_> = legacy.interrupts().into_iter().chain(passthrough.interrupts()).collect();
        if let PayloadPlan::Firmware(image) = &plan.payload {
            let order = slots_in_boot_order(plan, &legacy, &passthrough);
            firmware::add_fw_cfg(&ports, &ram, plan, image, (&order, &interrupts))?;
        }
        let remap = remapper(&root, &ports, &mmio);
        remap();

        let (vcpus, entry) = processors::create(&vm, plan, ram.memory(), &interrupts)?;
        let board = Board {
            remap: {
                let remap = Arc::clone(&remap);
                Arc::new(move || remap())
            },
            ports,
            memory: mmio,
            cancelled: Arc::clone(&cancelled),
            thread_init: Some(Arc::new(|_| threads::enter(ThreadKind::Vcpu))),
        };
        let vcpus = Vcpus::start(vcpus, &board, VcpuState::Paused)?;
        Ok(Self {
            vcpus,
            legacy,
            passthrough,
            remap,
            chipset,
            screen,
            entry,
            cancelled,
            helpers: Helpers::default(),
            observer,
            stopped_clock: Mutex::default(),
            vm,
        })
    }

    /// By which protocol the kernel was entered, if there is one and no firmware.
    pub fn entry(&self) -> Option<Protocol> {
        self.entry
    }

    /// The serial port, for input.
    pub fn serial(&self) -> Arc<devices::chipset::SerialPort> {
        Arc::clone(&self.chipset.serial)
    }

    /// The keyboard controller with its keyboard, for whoever types.
    pub fn keyboard(&self) -> Arc<devices::chipset::I8042> {
        Arc::clone(&self.chipset.keyboard)
    }

    /// The text screen, if there is one.
    pub fn screen(&self) -> Option<&Arc<Vga>> {
        self.screen.as_ref()
    }

    /// Lets the guest run. What the devices need of the main loop joins it until [`Self::stop`].
    ///
    /// # Errors
    /// When that cannot be had, or the guest has ended. Call [`Self::stop`] then.
    pub fn start(&mut self, events: &mut Loop) -> Result<(), SetupError> {
        let unwatched = Unwatched::default();
        let ended: Subscriber = Box::new(processors::EndWatch::new(&self.vcpus, &unwatched)?);
        self.helpers.pf_watches = self.legacy.watch_pfs(&self.observer)?;
        let mut watched = self.legacy.watched(&self.remap)?;
        watched.extend(self.passthrough.watched(&self.remap, &self.observer)?);
        let removal: Subscriber = Box::new(RemovalWatch::new(watched, &unwatched));
        let subscribers = self.legacy.pumps().into_iter().chain([removal, ended]);
        self.helpers.subscribers = subscribers.map(|subscriber| events.add_subscriber(subscriber)).collect();
        unwatched.check()?;
        Ok(self.vcpus.resume()?)
    }

    /// Ends the guest, if it has not ended, and says why it has: [`ExitReason::Stopped`] if this did it.
    ///
    /// # Errors
    /// When a processor does not stop in 10 s.
    pub fn stop(&mut self, events: &mut Loop) -> Result<ExitReason, SetupError> {
        let stopped = self.vcpus.stop(STOP_LIMIT);
        self.helpers.pf_watches.iter_mut().for_each(PfWatch::stop);
        self.helpers.pf_watches.clear();
        for id in self.helpers.subscribers.drain(..) {
            // An id that was given out cannot be unknown.
            let _ = events.remove_subscriber(id);
        }
        stopped?;
        Ok(self.vcpus.exit_reason().unwrap_or(ExitReason::Stopped))
    }

    /// Why the guest ended, if it has. The main loop wakes up when it does.
    pub fn exit_reason(&self) -> Option<ExitReason> {
        self.vcpus.exit_reason()
    }

    /// Stops guest code: when this returns, no instruction of the guest is executed before [`Self::resume`].
    ///
    /// A processor that waits for a device, such as one with a dead PF, is waited for until `limit`. Then it is
    /// left to it: it was told to look at what is wanted before it enters the guest again. The access goes on and
    /// ends as it would have without a pause, its own deadline included, so a pause neither repeats nor fails an
    /// access. Returns the indices of such processors.
    ///
    /// # Errors
    /// When the guest has ended.
    pub fn pause(&self, limit: Duration) -> Result<Vec<usize>, VcpuError> {
        match self.vcpus.pause(limit) {
            Ok(()) => Ok(Vec::new()),
            Err(VcpuError::Timeout { vcpus, .. }) => Ok(vcpus),
            Err(error) => Err(error),
        }
    }

    /// Stops the guest's clocks, but the real-time clock, until [`Self::resume`]. While it is paused.
    ///
    /// # Errors
    /// When KVM cannot; they run on.
    pub fn stop_clock(&self) -> Result<(), SetupError> {
        let stopped = self.vm.stop_clock()?;
        self.chipset.power.stop_timer();
        *self.stopped_clock() = Some(stopped);
        Ok(())
    }

    fn stopped_clock(&self) -> MutexGuard<'_, Option<StoppedClock>> {
        self.stopped_clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets guest code go on, and its clocks, if they were stopped.
    ///
    /// # Errors
    /// When the guest has ended.
    pub fn resume(&self) -> Result<(), VcpuError> {
        if let Some(stopped) = self.stopped_clock().take() {
            match self.vm.start_clock(&stopped) {
                Ok(ticks) => self.vcpus.set_back_tsc(ticks),
                Err(error) => tracing::warn!("the guest's clocks ran on while it was paused: {error}"),
            }
            self.chipset.power.start_timer();
        }
        self.vcpus.resume()
    }

    /// Presses the power button; returns whether the guest listens to it at the moment. One that starts to
    /// listen later still finds that it was pressed.
    pub fn power_button(&self) -> bool {
        self.chipset.power.power_button()
    }

    /// What people want to see of the legacy functions. Waits `patience` for each that is busy with an access.
    pub fn legacy(&self, patience: Duration) -> Vec<LegacySection> {
        self.legacy.details(patience)
    }

    /// What the devices did so far.
    pub fn devices(&self) -> Vec<DeviceSection> {
        self.legacy.sections()
    }

    /// What the functions that are passed through did so far.
    pub fn passthrough(&self) -> Vec<PassthroughSection> {
        self.passthrough.sections()
    }

    /// What became of each PF of its legacy virtio devices, in the order in which these name them; times are from
    /// the machine's construction.
    pub fn pfs(&self) -> Vec<PfSection> {
        self.legacy.pf_sections()
    }

    /// Exits of each vCPU so far.
    pub fn exits(&self) -> Vec<crate::vcpu::ExitCounts> {
        (0..self.vcpus.len()).filter_map(|index| Some(self.vcpus.vcpu(index)?.stats().counts())).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A register access that waits for a device must not hold up the end.
        self.cancelled.store(true, Ordering::SeqCst);
        if let Err(error) = self.vcpus.stop(STOP_LIMIT) {
            tracing::error!("the processors do not stop: {error}");
        }
        self.legacy.shut_down();
        self.passthrough.shut_down();
        self.chipset.drain();
    }
}

fn remapper(root: &Arc<PciRoot>, ports: &Arc<Bus>, mmio: &Arc<Bus>) -> RemapBars {
    let (root, ports, mmio) = (Arc::clone(root), Arc::clone(ports), Arc::clone(mmio));
    Arc::new(move || root.remap(&ports, &mmio))
}

/// What runs for a machine beside its processors.
#[derive(Default)]
struct Helpers {
    /// In the main loop.
    subscribers: Vec<SubscriberId>,
    pf_watches: Vec<PfWatch>,
}

/// What devices need of KVM.
struct Platform {
    lines: IrqLines,
    msi: Arc<MsiRoutes>,
    port_events: Arc<PortIoEvents>,
}

impl Platform {
    fn new(vm: &Vm) -> Result<Self, SetupError> {
        let msi = Arc::new(MsiRoutes::new(vm)?);
        Ok(Self { lines: IrqLines::new(vm), msi, port_events: Arc::new(PortIoEvents::new(vm)) })
    }
}

fn memory(vm: &Vm, plan: &Plan) -> Result<GuestRam, SetupError> {
    let ranges = layout::ram_ranges(plan.memory.size)?;
    let bits = cpuid::physical_bits(&processors::cpuid_of(vm, plan.cpus.profile, 0)?);
    let end = ranges.last().map_or(0, |(base, size)| base.0 + *size as u64);
    if end > 1u64.checked_shl(bits.into()).unwrap_or(u64::MAX) {
        return Err(SetupError::AddressWidth { memory: api::format_size(plan.memory.size), bits });
    }
    let wanted = plan.memory;
    let options =
        RamOptions { huge_pages: true, hugetlb: wanted.hugetlb, prefault: wanted.prefault, shared: wanted.shared };
    Ok(GuestRam::new(&ranges, options)?)
}

/// Slots of the functions in the order in which the firmware tries them.
fn slots_in_boot_order(plan: &Plan, legacy: &LegacyVirtio, passthrough: &Passthrough) -> Vec<u8> {
    let of_vfs = legacy.slots().into_iter().zip(plan.functions.legacy.iter().map(|device| device.config.bootindex));
    let others = passthrough.slots().into_iter().zip(plan.functions.passthrough.iter().map(|plan| plan.bootindex));
    boot_order(&of_vfs.chain(others).collect::<Vec<_>>())
}

/// The firmware's part of PCI: bases for all BARs, interrupt lines, decoding on.
fn place_functions(root: &PciRoot) -> Result<(), SetupError> {
    let ports = layout::PCI_IO_START.into();
    let ports = Range::new(ports, u64::from(layout::PCI_IO_LAST) - ports + 1);
    let memory = Range::new(layout::PCI_MMIO_START, layout::PCI_MMIO_END - layout::PCI_MMIO_START);
    match (ports, memory) {
        (Some(ports), Some(memory)) => Ok(root.assign_bars(ports, memory, irq::pci_line)?),
        _ => Err(SetupError::Internal("the windows for PCI BARs are empty")),
    }
}
