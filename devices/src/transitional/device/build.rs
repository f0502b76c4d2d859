// SPDX-License-Identifier: Apache-2.0
//! How a function is made: which interrupts it can offer, what its BAR0 has, and its owners.

use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex};

use super::{Core, TransitionalDevice};
use crate::pci::{Msix, OptionRom};
use crate::transitional::below::back_end::BackEnd;
use crate::transitional::guest_config::build::{self, Built, Shape};
use crate::transitional::guest_config::space::GuestConfig;
use crate::transitional::guest_config::vf::VfInfo;
use crate::transitional::interrupts::{GuestMsix, InterruptState, Interrupts};
use crate::transitional::kicks::{Kicks, Reach, StartAt};
use crate::transitional::layout::decode::{CONFIG_START_MSIX, Layout};
use crate::transitional::layout::features;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::registers::Registers;
use crate::transitional::registers::cache::RegisterCache;
use crate::transitional::service::modern::ModernInterface;
use crate::transitional::service::{self, DmaState, Service};
use crate::transitional::settings::{Interface, IrqMode, NotifyMode, Parts, TransitionalConfig, TransitionalError};
use crate::transitional::telemetry::interrupt_log::InterruptLog;

/// Bytes of BAR0 before the device configuration, MSI-X on.
const HEADER: u16 = CONFIG_START_MSIX as u16;

impl TransitionalDevice {
    /// Makes a function in its power-on state. Sends no register access: a guest with a modern
    /// driver will not need any.
    pub fn new(config: TransitionalConfig, parts: Parts) -> Result<Arc<Self>, TransitionalError> {
        config.check()?;
        let vf = Arc::clone(&parts.vf);
        service::write_command(vf.as_ref(), false)?;
        let info = VfInfo::read(vf.as_ref())?;
        let device =
            info.device.map_err(|device_id| TransitionalError::DeviceType { name: vf.name().to_owned(), device_id })?;
        if vf.region(0).is_some() {
            return Err(TransitionalError::Bar0Taken(vf.name().to_owned()));
        }
        let offers = Offers::new(&config, &parts, &info)?;
        let (built, msix) = build_config(&config, &parts, device, &info, &offers)?;
        let back_end = BackEnd::new(&config.id, device, parts.registers, config.deadlines.access, parts.cancelled);
        let back_end = Arc::new(back_end);
        let guest_config = Arc::new(GuestConfig::new(built.space, parts.platform.irq_line.filter(|_| offers.intx)));
        let queues = info.queues.unwrap_or(1);
        let interrupts = Interrupts::new(&vf, queues, offers.intx, msix, &guest_config, &back_end)
            .map_err(TransitionalError::Interrupts)?;
        let port_events = parts.platform.port_events.filter(|_| config.kicks.notify_mode != NotifyMode::Exit);
        let has_port_events = port_events.is_some();
        let kicks = Kicks::new(
            &config.id,
            Reach { vf: Arc::clone(&vf), owner: parts.owner },
            back_end.notify_addresses(),
            port_events,
            StartAt::new(config.kicks.early, device),
            Arc::clone(back_end.faults()),
            Arc::clone(back_end.stats()),
        );
        if config.kicks.notify_mode == NotifyMode::Ioeventfd && !(kicks.has_doorbell() && has_port_events) {
            return Err(TransitionalError::NoIoeventfd);
        }
        let layout = Layout { device, config_len: config_len(device, &info, back_end.config_reach()) };
        let hidden = features::hidden(device, layout.config_len);
        let rom = config.offer.rom.as_deref().map(|rom| {
            let identity = build::identity(device, config.offer.interface);
            rom.clone().for_function(identity.vendor_id, identity.device_id)
        });
        let core = Core {
            registers: RegisterCache::new(config.shadow, device),
            interrupts: InterruptState::default(),
            dma: DmaState::default(),
        };
        Ok(Arc::new(Self {
            vf_name: vf.name().to_owned(),
            guest_config,
            registers: Registers::new(layout, hidden, Arc::clone(&back_end)),
            interrupts,
            kicks,
            service: Service::new(&vf, &back_end, config.deadlines.reset),
            rom,
            modern: ModernInterface::new(&vf, back_end.faults()),
            core: Mutex::new(core),
            published: AtomicU16::new(0),
            interrupt_log: InterruptLog::new(),
            early_watch: Mutex::default(),
            back_end,
            config,
        }))
    }
}

/// The guest's configuration space, and the MSI-X that it shows.
fn build_config(
    config: &TransitionalConfig,
    parts: &Parts,
    device: DeviceType,
    info: &VfInfo,
    offers: &Offers,
) -> Result<(Built, Option<GuestMsix>), TransitionalError> {
    let vf = parts.vf.as_ref();
    let layout = match info.msix.filter(|_| offers.msix) {
        Some(at) => Some(build::msix_layout(vf, at, vf.msix_vectors())?),
        None => None,
    };
    let irq = offers.intx.then_some(parts.platform.irq_number);
    let rom = config.offer.rom.as_deref().map(OptionRom::bar_size);
    let shape = Shape { device, msix: layout, interface: config.offer.interface, irq, rom };
    let built = build::build(&shape, vf, info)?;
    let msix = layout
        .map(|layout| Msix::new(&config.id, layout, parts.platform.msi.as_ref()))
        .transpose()
        .map_err(TransitionalError::Interrupts)?;
    let msix = msix.zip(built.msix_offset).map(|(msix, capability)| GuestMsix::new(msix, capability));
    Ok((built, msix))
}

/// Which interrupts a function can offer.
struct Offers {
    intx: bool,
    msix: bool,
}

impl Offers {
    fn new(config: &TransitionalConfig, parts: &Parts, info: &VfInfo) -> Result<Self, TransitionalError> {
        let vectors = parts.vf.msix_vectors() != 0;
        let modern = config.offer.interface == Interface::Modern;
        if modern && config.offer.irq_mode == IrqMode::Intx {
            return Err(TransitionalError::ModernIntx);
        }
        // The interrupt status of a modern driver is the VF's own, which knows of no INTx.
        let intx = vectors && parts.platform.irq_line.is_some() && config.offer.irq_mode != IrqMode::Msix && !modern;
        let msix = vectors && info.msix.is_some() && config.offer.irq_mode != IrqMode::Intx;
        match config.offer.irq_mode {
            IrqMode::Intx if !intx => Err(TransitionalError::NoIntx),
            IrqMode::Msix if !msix => Err(TransitionalError::NoMsix),
            _ => Ok(Self { intx, msix }),
        }
    }
}

/// Bytes of device configuration: what the VF says, but no more than can be reached, or than BAR0 shows with
/// MSI-X on, so that no field comes and goes with MSI-X.
fn config_len(device: DeviceType, info: &VfInfo, reach: Option<u8>) -> u8 {
    let room = u32::from(device.bar0_size() - HEADER);
    let len = info.config_len.unwrap_or(room).min(room).try_into().unwrap_or(u8::MAX);
    reach.map_or(len, |reach| len.min(reach))
}
