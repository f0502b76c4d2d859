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

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use super::back_end::BackEnd;
use super::bus_master::BusMaster;
use super::config::{self, Shape};
use super::decode::Layout;
use super::fault::Faults;
use super::front::Front;
use super::hidden::{HiddenVectors, InterruptPump};
use super::identity::DeviceType;
use super::links::Links;
use super::notify::{Doorbell, Notifier};
use super::registers::LegacyRegisters;
use super::shadow::Shadow;
use super::stats::Stats;
use super::vf::VfInfo;
use super::features;
use crate::bus::{Access, Effect, Width};
use crate::function::{FunctionError, PciFunction};
use crate::pci::{BarWindow, Changed, Command, ConfigError, Msix, MsixChange, MsixLayoutError, PciDevice};
use crate::pci::MSIX_CONTROL_OFFSET;
use crate::platform::{IrqLine, MsiSource, PortEvents};

/// COMMAND of the VF.
const COMMAND: u16 = 0x04;
/// Bytes of BAR0 before the device configuration, MSI-X on.
const HEADER: u16 = super::CONFIG_START_MSIX as u16;

/// Which interrupts the guest is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IrqMode {
    /// MSI-X and INTx, as far as there is what they need.
    #[default]
    Auto,
    /// INTx only: the MSI-X capability is hidden, for drivers that use MSI-X badly.
    Intx,
    /// MSI-X only: no interrupt pin, and no vector of the VF is used behind the guest's back.
    Msix,
}

/// How kicks get to the VF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyMode {
    /// Without an exit where that can be had, else with one.
    #[default]
    Auto,
    /// Without an exit; refuses to start where nothing for it is there. A queue whose ioeventfd
    /// fails later still works, by exits.
    Ioeventfd,
    /// With an exit each.
    Exit,
}

/// What the operator says about a function.
#[derive(Clone, Debug)]
pub struct TransitionalConfig {
    /// Name for logs and reports.
    pub id: String,
    /// Interrupts.
    pub irq_mode: IrqMode,
    /// Kicks.
    pub notify_mode: NotifyMode,
    /// Longest time for one register access, 1 ms to 60 s. A vCPU waits that long for a dead PF.
    pub deadline: Duration,
    /// Longest time for a reset of the device to end, before the function is reset; 1 ms to 60 s.
    pub reset_deadline: Duration,
    /// Whether the guest sees the VF's virtio capabilities, so that modern drivers use its memory
    /// BARs directly.
    pub modern_caps: bool,
}

impl TransitionalConfig {
    /// Default deadline of a register access.
    pub const DEADLINE: Duration = Duration::from_millis(100);
    /// Default deadline of a reset.
    pub const RESET_DEADLINE: Duration = Duration::from_secs(1);

    /// Everything by default.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            irq_mode: IrqMode::default(),
            notify_mode: NotifyMode::default(),
            deadline: Self::DEADLINE,
            reset_deadline: Self::RESET_DEADLINE,
            modern_caps: true,
        }
    }
}

/// What a function is made of.
pub struct Parts {
    /// The VF.
    pub vf: Arc<dyn PciFunction>,
    /// Its legacy registers.
    pub registers: Arc<dyn LegacyRegisters>,
    /// Gives out the guest's MSI-X interrupts.
    pub msi: Arc<dyn MsiSource>,
    /// For kicks without exits; `None` where the platform cannot.
    pub port_events: Option<Arc<dyn PortEvents>>,
    /// The function's share of its interrupt line; `None` is no INTx.
    pub irq_line: Option<Arc<dyn IrqLine>>,
    /// The number of that line, for the interrupt line register.
    pub irq_number: u8,
    /// The PF, if this process drives it: for notify addresses in its BARs.
    pub owner: Option<Arc<dyn PciFunction>>,
    /// Set when the VM stops; ends every wait.
    pub cancelled: Arc<AtomicBool>,
}

/// Why a function could not be made.
#[derive(Debug, Error)]
pub enum TransitionalError {
    /// The function below cannot be used.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// Not a device that has a legacy interface.
    #[error(
        "{name} (device id {device_id:#06x}) has no transitional twin; use a modern virtio net, block, console, \
         entropy, balloon, SCSI or 9P function"
    )]
    DeviceType {
        /// The function.
        name: String,
        /// Its device id.
        device_id: u16,
    },
    /// BAR 0 is where the legacy registers go.
    #[error("{0} has a BAR 0 of its own, which the legacy registers need; VFs for legacy use have none")]
    Bar0Taken(String),
    /// The configuration space cannot be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The VF's MSI-X capability makes no sense.
    #[error(transparent)]
    MsixLayout(#[from] MsixLayoutError),
    /// The VF's MSI-X structures are not where they could be.
    #[error("the MSI-X table or pending bits of the function are not inside a memory BAR (BAR {bar})")]
    MsixOutsideBar {
        /// BAR number in the capability.
        bar: u8,
    },
    /// The platform has no interrupts or eventfds left.
    #[error("cannot allocate interrupts for the function")]
    Interrupts(#[source] io::Error),
    /// INTx was asked for, and something for it is missing.
    #[error("irq=intx needs an interrupt line and a function with MSI-X vectors; use irq=auto or another slot")]
    NoIntx,
    /// MSI-X was asked for, and the VF has none.
    #[error("irq=msix needs a function with MSI-X; use irq=auto or configure vectors for the VF")]
    NoMsix,
    /// Kicks without exits were asked for, and something for them is missing.
    #[error("notify=ioeventfd needs port events of the platform and a notify address in reach; use notify=auto")]
    NoIoeventfd,
    /// A deadline out of range.
    #[error("a deadline of {0:?} is out of range; use 1 ms to 60 s")]
    Deadline(Duration),
}

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
    pub shadow: Shadow,
    /// MSI-X enable as the guest sees it: decides the layout of BAR0.
    pub guest_msix: bool,
    pub vf_msix: VfMsix,
    /// Whether the device has a hidden vector for configuration changes.
    pub config_armed: bool,
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
    pub(super) back_end: BackEnd,
    pub(super) notifier: Notifier,
    pub(super) front: Arc<Front>,
    pub(super) vectors: Arc<HiddenVectors>,
    pub(super) msix: Option<Msix>,
    msix_offset: Option<u16>,
    pub(super) core: Mutex<Core>,
    pub(super) faults: Arc<Faults>,
    pub(super) stats: Arc<Stats>,
}

impl TransitionalDevice {
    /// Makes a function in its power-on state. Sends no register access: a guest with a modern
    /// driver will not need any.
    pub fn new(config: TransitionalConfig, parts: Parts) -> Result<Arc<Self>, TransitionalError> {
        check_deadlines(&config)?;
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
            Some(at) => Some(config::msix_layout(vf.as_ref(), at, vf.msix_vectors())?),
            None => None,
        };
        let irq = offers.intx.then_some(parts.irq_number);
        let shape = Shape { device, msix: msix_layout, modern_caps: config.modern_caps, irq };
        let built = config::build(&shape, vf.as_ref(), &info)?;
        let msix = msix_layout
            .map(|layout| Msix::new(&config.id, layout, parts.msi.as_ref()))
            .transpose()
            .map_err(TransitionalError::Interrupts)?;
        let available = if offers.intx { vf.msix_vectors() } else { 0 };
        let vectors = HiddenVectors::new(info.queues.unwrap_or(1), available).map_err(TransitionalError::Interrupts)?;

        let faults = Arc::new(Faults::new(&config.id));
        let stats = Arc::new(Stats::default());
        let notifier = make_notifier(&config, &parts, &faults, &stats)?;
        let layout = Layout { device, config_len: config_len(device, &info) };
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
            },
            notifier,
            front: Arc::new(Front::new(built.space, parts.irq_line.filter(|_| offers.intx))),
            vectors: Arc::new(vectors),
            msix,
            msix_offset: built.msix_offset,
            core: Mutex::new(Core::new()),
            config,
            vf,
            faults,
            stats,
        }))
    }

    /// What turns the VF's signals into INTx; for the event loop, once. `None` if the guest has no
    /// INTx.
    pub fn pump(&self) -> Option<InterruptPump> {
        self.intx.then(|| InterruptPump {
            vectors: Arc::clone(&self.vectors),
            front: Arc::clone(&self.front),
            stats: Arc::clone(&self.stats),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the VF's bus master bit what the policy says.
    pub(super) fn apply_bus_master(&self, core: &mut Core) {
        self.set_vf_bus_master(core, core.bus_master.is_enabled());
    }

    pub(super) fn set_vf_bus_master(&self, core: &mut Core, enabled: bool) {
        if core.vf_bus_master == enabled {
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
        if let Err(error) = self.vf.config_write(COMMAND, Width::B2, vf_command(false).into()) {
            self.faults.function(&error);
        }
    }

    fn guest_command_changed(&self, core: &mut Core, command: Command) {
        core.bus_master.write(command.contains(Command::BUS_MASTER));
        self.apply_bus_master(core);
    }

    fn guest_msix_written(&self, core: &mut Core) {
        let (Some(msix), Some(offset)) = (&self.msix, self.msix_offset) else { return };
        match msix.set_control(self.front.read(offset + MSIX_CONTROL_OFFSET, Width::B2) as u16) {
            MsixChange::None => {}
            MsixChange::Enabled => self.guest_msix_on(core, msix),
            MsixChange::Disabled => self.guest_msix_off(core),
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
        if write.windows_moved { Effect::Remap } else { Effect::None }
    }

    fn windows(&self) -> Vec<BarWindow> {
        self.front.windows()
    }

    fn placed(&self, windows: &[BarWindow]) {
        let base = windows.iter().find(|window| window.bar == 0).and_then(|window| u16::try_from(window.base).ok());
        self.notifier.set_base(base);
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
            return self.bar0_read(offset, width);
        }
        if let Some(value) = self.msix.as_ref().and_then(|msix| msix.bar_read(bar, offset, width)) {
            return value;
        }
        self.vf.region_read(bar, offset, width).unwrap_or_else(|error| {
            self.faults.function(&error);
            width.all_ones()
        })
    }

    fn bar_write(&self, bar: u8, access: Access, value: u64) -> Effect {
        let Access { offset, width, .. } = access;
        if bar == 0 {
            self.bar0_write(offset, width, value);
        } else if self.msix.as_ref().and_then(|msix| msix.bar_write(bar, offset, width, value)).is_none() {
            if let Err(error) = self.vf.region_write(bar, offset, width, value) {
                self.faults.function(&error);
            }
        }
        Effect::None
    }
}

impl Core {
    fn new() -> Self {
        Self {
            shadow: Shadow::new(),
            guest_msix: false,
            vf_msix: VfMsix::Off,
            config_armed: false,
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
    parts: &Parts,
    faults: &Arc<Faults>,
    stats: &Arc<Stats>,
) -> Result<Notifier, TransitionalError> {
    let doorbell = Doorbell::find(parts.registers.notify_address(), &parts.vf, parts.owner.as_ref());
    let port_events = parts.port_events.clone().filter(|_| config.notify_mode != NotifyMode::Exit);
    if config.notify_mode == NotifyMode::Ioeventfd && (doorbell.is_none() || port_events.is_none()) {
        return Err(TransitionalError::NoIoeventfd);
    }
    let links = Links::new(&config.id, port_events);
    Ok(Notifier::new(doorbell, links, Arc::clone(faults), Arc::clone(stats)))
}

/// Bytes of device configuration: what the VF says, but no more than BAR0 shows with MSI-X on, so that
/// no field comes and goes with MSI-X.
fn config_len(device: DeviceType, info: &VfInfo) -> u8 {
    let room = u32::from(device.bar0_size() - HEADER);
    info.config_len.unwrap_or(room).min(room).try_into().unwrap_or(u8::MAX)
}

fn check_deadlines(config: &TransitionalConfig) -> Result<(), TransitionalError> {
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    match [config.deadline, config.reset_deadline].into_iter().find(|deadline| !range.contains(deadline)) {
        Some(deadline) => Err(TransitionalError::Deadline(deadline)),
        None => Ok(()),
    }
}

/// COMMAND of the VF: memory always, no INTx ever.
fn vf_command(bus_master: bool) -> u16 {
    let always = Command::MEMORY | Command::INTX_DISABLE;
    if bus_master { always | Command::BUS_MASTER } else { always }.bits()
}
