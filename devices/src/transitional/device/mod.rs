// SPDX-License-Identifier: Apache-2.0
//! The guest's transitional function: its parts, how they are put together, and the PCI calls.
//!
//! # Locks
//!
//! | lock | held for | guards |
//! | --- | --- | --- |
//! | [`Core`] | a register access below, bounded by its deadline | BAR0 but notify and ISR, COMMAND and MSI-X changes |
//! | [`Front`] | a few instructions | configuration space, interrupt status, pin |
//! | links in [`Notifier`] | making or ending ioeventfds | which queues have one |
//! | [`Msix`] | one vector's routing | vector table |
//!
//! `Core` comes before the others; the others are never held together. Kicks take none of them,
//! ISR reads, interrupts and reads of configuration space only `Front`.

pub mod bar0;
pub mod mirror;
pub mod pf_life;
pub mod report;
pub mod reset;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bus::{Access, Effect, Width};
use crate::function::{MappableArea, PciFunction};
use crate::pci::MSIX_CONTROL_OFFSET;
use crate::pci::{BarWindow, Changed, Command, Msix, MsixChange, PciDevice};
use crate::transitional::below::back_end::BackEnd;
use crate::transitional::below::fault::Faults;
use crate::transitional::guest_config::build::{self, Shape};
use crate::transitional::guest_config::space::Front;
use crate::transitional::guest_config::vf::VfInfo;
use crate::transitional::interrupts::vectors::{HiddenVectors, InterruptPump};
use crate::transitional::kicks::early::StartAt;
use crate::transitional::kicks::ioeventfds::Links;
use crate::transitional::kicks::notifier::{Doorbell, Notifier};
use crate::transitional::kicks::queue_set::QueueSet;
use crate::transitional::layout::decode::Layout;
use crate::transitional::layout::features;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::registers::cache::RegisterCache;
use crate::transitional::registers::events::Event;
use crate::transitional::service::bus_master::BusMaster;
use crate::transitional::settings::{IrqMode, NotifyMode, Parts, TransitionalConfig, TransitionalError};
use crate::transitional::telemetry::stats::Stats;
use crate::transitional::telemetry::trace::DeviceTrace;

/// COMMAND of the VF.
const COMMAND: u16 = 0x04;
/// Bytes of BAR0 before the device configuration, MSI-X on.
const HEADER: u16 = super::CONFIG_START_MSIX as u16;

/// What the VF's MSI-X is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VfMsix {
    Off,
    /// For the VMM, to make INTx of it.
    Hidden,
    /// For the guest.
    Guest,
}

/// What register accesses change; one at a time.
pub(super) struct Core {
    pub cache: RegisterCache,
    /// MSI-X enable as the guest sees it: decides the layout of BAR0.
    pub guest_msix: bool,
    pub vf_msix: VfMsix,
    /// Whether the device surely has a hidden vector for configuration changes.
    pub config_armed: bool,
    /// Whether it was given one since the last reset, and may still have it.
    pub config_given: bool,
    /// The device was given DRIVER_OK, and its driver did not write it yet.
    pub started_early: bool,
    /// Queues that have a hidden vector.
    pub armed: QueueSet,
    pub bus_master: BusMaster,
    /// Bus master bit of the VF as last written.
    pub vf_bus_master: bool,
}

/// A transitional function.
pub struct TransitionalDevice {
    pub(super) config: TransitionalConfig,
    pub(super) layout: Layout,
    pub(super) hidden_features: u32,
    /// Whether INTx is offered.
    pub(super) intx: bool,
    pub(super) vf: Arc<dyn PciFunction>,
    /// The PF, for notify addresses in its BARs.
    pub(super) owner: Option<Arc<dyn PciFunction>>,
    pub(super) back_end: BackEnd,
    pub(super) notifier: Notifier,
    pub(super) front: Arc<Front>,
    pub(super) vectors: Arc<HiddenVectors>,
    pub(super) msix: Option<Msix>,
    msix_offset: Option<u16>,
    pub(super) core: Mutex<Core>,
    /// Accesses to the VF's own BARs: what the legacy interface knows of the device may be wrong
    /// after each.
    pub(super) modern_uses: AtomicU64,
    /// Whether the VF's BARs are mapped into the guest, see [`Self::mappable`].
    pub(super) direct: AtomicBool,
    /// Whether the VF was taken away for good.
    gone: AtomicBool,
    published: AtomicU16,
    pub(super) faults: Arc<Faults>,
    pub(super) stats: Arc<Stats>,
    pub(super) trace: Arc<DeviceTrace>,
}

impl TransitionalDevice {
    /// Makes a function in its power-on state. Sends no register access: a guest with a modern
    /// driver will not need any.
    pub fn new(config: TransitionalConfig, parts: Parts) -> Result<Arc<Self>, TransitionalError> {
        config.check()?;
        let vf = Arc::clone(&parts.vf);
        vf.config_write(COMMAND, Width::B2, vf_command(false).into())?;
        let info = VfInfo::read(vf.as_ref())?;
        let Some(device) = info.device else {
            return Err(TransitionalError::DeviceType { name: vf.name().to_owned(), device_id: info.device_id });
        };
        if vf.region(0).is_some() {
            return Err(TransitionalError::Bar0Taken(vf.name().to_owned()));
        }
        let offers = Offers::new(&config, &parts, &info)?;
        let msix_layout = match info.msix.filter(|_| offers.msix) {
            Some(at) => Some(build::msix_layout(vf.as_ref(), at, vf.msix_vectors())?),
            None => None,
        };
        let irq = offers.intx.then_some(parts.irq_number);
        let shape = Shape { device, msix: msix_layout, modern_caps: config.modern_caps, irq };
        let built = build::build(&shape, vf.as_ref(), &info)?;
        let msix = msix_layout
            .map(|layout| Msix::new(&config.id, layout, parts.msi.as_ref()))
            .transpose()
            .map_err(TransitionalError::Interrupts)?;
        let available = if offers.intx { vf.msix_vectors() } else { 0 };
        let vectors = HiddenVectors::new(info.queues.unwrap_or(1), available).map_err(TransitionalError::Interrupts)?;

        let faults = Arc::new(Faults::new(&config.id));
        let stats = Arc::new(Stats::default());
        let trace = DeviceTrace::new(&config.id, device);
        faults.trace(&trace);
        let notifier = make_notifier(&config, device, &parts, &faults, &stats)?;
        let layout = Layout { device, config_len: config_len(device, &info, parts.registers.config_reach()) };
        let cache = RegisterCache::new(config.shadow, device);
        Ok(Arc::new(Self {
            layout,
            hidden_features: features::hidden(device, layout.config_len),
            intx: offers.intx,
            back_end: BackEnd {
                registers: parts.registers,
                deadline: config.deadline,
                cancelled: parts.cancelled,
                faults: Arc::clone(&faults),
                stats: Arc::clone(&stats),
                trace: Arc::clone(&trace),
            },
            notifier,
            front: Arc::new(Front::new(built.space, parts.irq_line.filter(|_| offers.intx))),
            vectors: Arc::new(vectors),
            msix,
            msix_offset: built.msix_offset,
            core: Mutex::new(Core::new(cache)),
            modern_uses: AtomicU64::new(0),
            direct: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            published: AtomicU16::new(0),
            config,
            vf,
            owner: parts.owner,
            faults,
            stats,
            trace,
        }))
    }

    /// What turns the VF's signals into INTx; for the event loop, once. `None` if the guest has no
    /// INTx.
    pub fn pump(&self) -> Option<InterruptPump> {
        self.intx.then(|| InterruptPump {
            vectors: Arc::clone(&self.vectors),
            front: Arc::clone(&self.front),
            stats: Arc::clone(&self.stats),
            trace: Arc::clone(&self.trace),
        })
    }

    /// The system takes the VF away, be it that it is unplugged: out of service for good, with nothing
    /// of it in use. The caller remaps, and lets go of the VF then.
    pub fn taken_away(&self, reason: &str) {
        self.gone.store(true, Ordering::Release);
        self.faults.fault(reason.to_owned());
        self.notifier.reset();
        self.notifier.move_doorbell(None);
        self.front.clear_isr(|| self.vectors.drain());
        // The guest may hold the function's lock for as long as a register access takes; a VF that is
        // about to be reset by the system need not be told by us more than this.
        for result in [self.vf.config_write(COMMAND, Width::B2, vf_command(false).into()), self.vf.disable_msix()] {
            if let Err(error) = result {
                self.faults.function(&error);
            }
        }
    }

    /// Whether the VF was taken away.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The VF reports an error that it does not recover from by itself: out of service until the guest
    /// resets it, which resets the function.
    pub fn failed(&self, reason: &str) {
        self.faults.fault(reason.to_owned());
        self.notifier.reset();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells [`Self::report`] what it shows of `core`, so that it need not wait for the lock.
    pub(super) fn publish(&self, core: &Core) {
        let msix = u16::from(core.guest_msix) << 8;
        self.published.store(u16::from(core.cache.status()) | msix, Ordering::Relaxed);
    }

    /// Last status the guest wrote, and whether it has MSI-X on.
    pub(super) fn published(&self) -> (u8, bool) {
        let value = self.published.load(Ordering::Relaxed);
        (value as u8, value & 1 << 8 != 0)
    }

    /// Makes the VF's bus master bit what the policy says.
    pub(super) fn apply_bus_master(&self, core: &mut Core) {
        self.set_vf_bus_master(core, core.bus_master.is_enabled());
    }

    pub(super) fn set_vf_bus_master(&self, core: &mut Core, enabled: bool) {
        if core.vf_bus_master == enabled || enabled && self.is_gone() {
            return;
        }
        match self.vf.config_write(COMMAND, Width::B2, vf_command(enabled).into()) {
            Ok(()) => core.vf_bus_master = enabled,
            Err(error) => self.faults.function(&error),
        }
    }

    /// The bus master bit and memory decoding are as after power-on: says so, and switches memory
    /// decoding on, without which the VMM cannot ring doorbells.
    pub(super) fn vf_was_reset(&self, core: &mut Core) {
        core.vf_msix = VfMsix::Off;
        core.vf_bus_master = false;
        core.cache.apply(Event::FunctionReset);
        if let Err(error) = self.vf.config_write(COMMAND, Width::B2, vf_command(false).into()) {
            self.faults.function(&error);
        }
    }

    fn guest_command_changed(&self, core: &mut Core, command: Command) {
        core.cache.apply(Event::CommandChanged);
        core.bus_master.write(command.contains(Command::BUS_MASTER));
        if !core.bus_master.is_enabled() {
            self.early_start_may_be_lost(core);
        }
        self.apply_bus_master(core);
    }

    fn guest_msix_written(&self, core: &mut Core) {
        let (Some(msix), Some(offset)) = (&self.msix, self.msix_offset) else { return };
        core.cache.apply(Event::MsixControlWritten);
        match msix.set_control(self.front.read(offset + MSIX_CONTROL_OFFSET, Width::B2) as u16) {
            MsixChange::None => {}
            MsixChange::Enabled => self.trace.msix(true, || self.guest_msix_on(core, msix)),
            MsixChange::Disabled => self.trace.msix(false, || self.guest_msix_off(core)),
        }
    }
}

impl PciDevice for TransitionalDevice {
    fn name(&self) -> &str {
        &self.config.id
    }

    fn config_read(&self, offset: u16, width: Width) -> u32 {
        self.front.read(offset, width)
    }

    /// Holds the function's lock, so that BAR0 never has one layout for a part of an access and the
    /// other for the rest (hazard H3).
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        let mut core = self.lock();
        let write = self.front.write(offset, width, value);
        if write.changed.contains(Changed::COMMAND) {
            self.guest_command_changed(&mut core, write.command);
        }
        if write.changed.contains(Changed::CAPABILITIES) {
            self.guest_msix_written(&mut core);
        }
        self.publish(&core);
        if write.windows_moved { Effect::Remap } else { Effect::None }
    }

    fn windows(&self) -> Vec<BarWindow> {
        self.front.windows()
    }

    fn placed(&self, windows: &[BarWindow]) {
        let base = windows.iter().find(|window| window.bar == 0).and_then(|window| u16::try_from(window.base).ok());
        self.notifier.set_base(base);
    }

    /// The VF's memory BARs, from the guest's first write to the modern interface on: accesses to a
    /// mapped BAR are not seen, so nothing of the device can be known without asking after that. A
    /// guest with a legacy driver never makes that write and keeps its shadow; one with a modern
    /// driver makes it when the driver starts, and runs without exits from there. What is mapped is
    /// the VF's own; a doorbell in the PF's BAR is never the guest's to touch.
    fn mappable(&self, bar: u8) -> Vec<MappableArea> {
        if bar == 0 || !self.direct.load(Ordering::Acquire) || self.is_gone() {
            return Vec::new();
        }
        self.vf.mappable(bar).unwrap_or_else(|error| {
            self.faults.function(&error);
            Vec::new()
        })
    }

    fn place_bar(&self, bar: u8, base: u64) {
        self.front.place_bar(bar, base);
    }

    fn bars(&self) -> Vec<BarWindow> {
        self.front.bars()
    }

    fn bar_read(&self, bar: u8, access: Access) -> u64 {
        let Access { offset, width, .. } = access;
        if bar == 0 {
            if self.trace.is_on() {
                return self.traced_read(access);
            }
            return self.bar0_read(offset, width, |_| ());
        }
        if let Some(value) = self.msix.as_ref().and_then(|msix| msix.bar_read(bar, offset, width)) {
            return value;
        }
        let value = self.vf.region_read(bar, offset, width).unwrap_or_else(|error| {
            self.faults.function(&error);
            width.all_ones()
        });
        self.modern_uses.fetch_add(1, Ordering::AcqRel);
        value
    }

    fn bar_write(&self, bar: u8, access: Access, value: u64) -> Effect {
        let Access { offset, width, .. } = access;
        if bar == 0 {
            if self.trace.is_on() {
                self.traced_write(access, value);
            } else {
                self.bar0_write(offset, width, value, |_| ());
            }
            return Effect::None;
        }
        if self.msix.as_ref().and_then(|msix| msix.bar_write(bar, offset, width, value)).is_some() {
            return Effect::None;
        }
        if let Err(error) = self.vf.region_write(bar, offset, width, value) {
            self.faults.function(&error);
        }
        self.modern_uses.fetch_add(1, Ordering::AcqRel);
        // Before the mapping, so that no access in between is taken for one that nothing can hide.
        if self.direct.swap(true, Ordering::AcqRel) { Effect::None } else { Effect::Remap }
    }
}

impl Core {
    fn new(cache: RegisterCache) -> Self {
        Self {
            cache,
            guest_msix: false,
            vf_msix: VfMsix::Off,
            config_armed: false,
            config_given: false,
            started_early: false,
            armed: QueueSet::default(),
            bus_master: BusMaster::default(),
            vf_bus_master: false,
        }
    }
}

/// Which interrupts a function can offer.
struct Offers {
    intx: bool,
    msix: bool,
}

impl Offers {
    fn new(config: &TransitionalConfig, parts: &Parts, info: &VfInfo) -> Result<Self, TransitionalError> {
        let vectors = parts.vf.msix_vectors() != 0;
        let intx = vectors && parts.irq_line.is_some() && config.irq_mode != IrqMode::Msix;
        let msix = vectors && info.msix.is_some() && config.irq_mode != IrqMode::Intx;
        match config.irq_mode {
            IrqMode::Intx if !intx => Err(TransitionalError::NoIntx),
            IrqMode::Msix if !msix => Err(TransitionalError::NoMsix),
            _ => Ok(Self { intx, msix }),
        }
    }
}

fn make_notifier(
    config: &TransitionalConfig,
    device: DeviceType,
    parts: &Parts,
    faults: &Arc<Faults>,
    stats: &Arc<Stats>,
) -> Result<Notifier, TransitionalError> {
    let doorbell = Doorbell::find(parts.registers.notify_addresses(), &parts.vf, parts.owner.as_ref());
    let port_events = parts.port_events.clone().filter(|_| config.notify_mode != NotifyMode::Exit);
    if config.notify_mode == NotifyMode::Ioeventfd && (doorbell.is_none() || port_events.is_none()) {
        return Err(TransitionalError::NoIoeventfd);
    }
    let links = Links::new(&config.id, port_events);
    let start_at = StartAt::new(config.early_kicks, device);
    Ok(Notifier::new(doorbell, links, start_at, Arc::clone(faults), Arc::clone(stats)))
}

/// Bytes of device configuration: what the VF says, but no more than can be reached, or than BAR0 shows with
/// MSI-X on, so that no field comes and goes with MSI-X.
fn config_len(device: DeviceType, info: &VfInfo, reach: Option<u8>) -> u8 {
    let room = u32::from(device.bar0_size() - HEADER);
    let len = info.config_len.unwrap_or(room).min(room).try_into().unwrap_or(u8::MAX);
    reach.map_or(len, |reach| len.min(reach))
}

/// COMMAND of the VF: memory always, no INTx ever.
fn vf_command(bus_master: bool) -> u16 {
    let always = Command::MEMORY | Command::INTX_DISABLE;
    if bus_master { always | Command::BUS_MASTER } else { always }.bits()
}
