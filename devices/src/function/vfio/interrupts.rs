// SPDX-License-Identifier: Apache-2.0
//! Interrupts of an open VFIO device by eventfd. One kind is enabled at a time: the kernel refuses
//! another before the present one is disabled.
//!
//! Source: Linux, drivers/vfio/pci/vfio_pci_intrs.c.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vfio_bindings::bindings::vfio;
use vmm_sys_util::eventfd::EventFd;

use super::device::Device;
use super::ioctl;
use super::irq_set::IrqSet;
use crate::function::{IntxEvents, Result};

/// The kinds, by VFIO's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Intx = vfio::VFIO_PCI_INTX_IRQ_INDEX,
    Msi = vfio::VFIO_PCI_MSI_IRQ_INDEX,
    Msix = vfio::VFIO_PCI_MSIX_IRQ_INDEX,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Supply {
    vectors: u16,
    /// Whether vectors can be added while the kind is enabled.
    can_grow: bool,
}

/// What is enabled.
#[derive(Debug, Default)]
struct Enabled {
    kind: Option<Kind>,
    /// Vectors the host has allocated.
    vectors: usize,
}

/// The interrupts of one device.
#[derive(Debug)]
pub(super) struct HostInterrupts {
    intx: Supply,
    msi: Supply,
    msix: Supply,
    enabled: Mutex<Enabled>,
    /// Signalled when the system wants the device back.
    pub(super) removal: Option<EventFd>,
    /// Signalled when the device has an error that it cannot recover from.
    pub(super) error: Option<EventFd>,
}

impl HostInterrupts {
    /// Asks what there is, and has the device's own events signalled.
    pub(super) fn new(device: &Device) -> Result<Self> {
        let supply = |index| {
            // A kernel that does not know the kind answers EINVAL.
            let info = ioctl::irq_info(&device.file, index).unwrap_or_default();
            let vectors = if info.flags & vfio::VFIO_IRQ_INFO_EVENTFD != 0 { info.count } else { 0 };
            let can_grow = info.flags & vfio::VFIO_IRQ_INFO_NORESIZE == 0;
            Supply { vectors: u16::try_from(vectors).unwrap_or(u16::MAX), can_grow }
        };
        let event = |index| match supply(index).vectors {
            0 => Ok(None),
            _ => own_event(device, index).map(Some),
        };
        Ok(Self {
            intx: supply(Kind::Intx as u32),
            msi: supply(Kind::Msi as u32),
            msix: supply(Kind::Msix as u32),
            enabled: Mutex::default(),
            removal: event(vfio::VFIO_PCI_REQ_IRQ_INDEX)?,
            error: event(vfio::VFIO_PCI_ERR_IRQ_INDEX)?,
        })
    }

    /// Vectors of a kind.
    pub(super) fn vectors(&self, kind: Kind) -> u16 {
        self.supply(kind).vectors
    }

    /// Whether this kind is enabled on the host.
    pub(super) fn is_enabled(&self, kind: Kind) -> bool {
        self.lock().kind == Some(kind)
    }

    /// Vector `n` of MSI or MSI-X signals `events[n]`. None disables the kind.
    pub(super) fn set(&self, device: &Device, kind: Kind, events: &[Option<&EventFd>]) -> Result<()> {
        if events.is_empty() {
            return self.disable(device, kind);
        }
        let supply = self.supply(kind);
        if events.len() > usize::from(supply.vectors) {
            let why = format!("it has {} interrupt vectors, {} are wanted", supply.vectors, events.len());
            return Err(device.failed(ENABLE, io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let mut enabled = self.lock();
        let grows = events.len() > enabled.vectors;
        if enabled.kind != Some(kind) || (grows && !supply.can_grow) {
            disable(device, &mut enabled)?;
        }
        // Vectors that were set before and are not now go silent.
        let len = events.len().max(enabled.vectors);
        let fds: Vec<Option<RawFd>> =
            (0..len).map(|n| events.get(n).copied().flatten().map(AsRawFd::as_raw_fd)).collect();
        let outcome = enable(device, IrqSet::trigger(kind as u32, fds.into_iter()));
        if let Err(source) = outcome {
            // Some vectors may be set: none is better.
            disable(device, &mut Enabled { kind: Some(kind), vectors: 0 }).ok();
            *enabled = Enabled::default();
            return Err(device.failed(ENABLE, source));
        }
        *enabled = Enabled { kind: Some(kind), vectors: len };
        Ok(())
    }

    /// Enables INTx, or disables it.
    pub(super) fn set_intx(&self, device: &Device, events: Option<IntxEvents<'_>>) -> Result<()> {
        let mut enabled = self.lock();
        let Some(events) = events else {
            return if enabled.kind == Some(Kind::Intx) { disable(device, &mut enabled) } else { Ok(()) };
        };
        disable(device, &mut enabled)?;
        let index = Kind::Intx as u32;
        let trigger = IrqSet::trigger(index, std::iter::once(Some(events.trigger.as_raw_fd())));
        enable(device, trigger).map_err(|source| device.failed(ENABLE, source))?;
        *enabled = Enabled { kind: Some(Kind::Intx), vectors: 1 };
        if let Err(source) = enable(device, IrqSet::unmask(index, events.unmask)) {
            // Without it the pin would stay masked after one interrupt.
            disable(device, &mut enabled).ok();
            return Err(device.failed("have an eventfd unmask INTx", source));
        }
        Ok(())
    }

    /// Disables this kind, if it is enabled.
    pub(super) fn disable(&self, device: &Device, kind: Kind) -> Result<()> {
        let mut enabled = self.lock();
        if enabled.kind == Some(kind) { disable(device, &mut enabled) } else { Ok(()) }
    }

    /// Disables whatever is enabled.
    pub(super) fn disable_all(&self, device: &Device) -> Result<()> {
        disable(device, &mut self.lock())
    }

    fn supply(&self, kind: Kind) -> Supply {
        match kind {
            Kind::Intx => self.intx,
            Kind::Msi => self.msi,
            Kind::Msix => self.msix,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Enabled> {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ENABLE: &str = "enable interrupts";

fn disable(device: &Device, enabled: &mut Enabled) -> Result<()> {
    let Some(kind) = enabled.kind else { return Ok(()) };
    let done = ioctl::set_irqs(&device.file, &IrqSet::disable(kind as u32));
    done.map_err(|source| device.failed("disable interrupts", source))?;
    *enabled = Enabled::default();
    Ok(())
}

/// A positive answer is a refusal, too: it is the number of vectors that the host has.
fn enable(device: &Device, set: Option<IrqSet>) -> io::Result<()> {
    let set = set.ok_or(io::ErrorKind::InvalidInput)?;
    match ioctl::set_irqs(&device.file, &set)? {
        0 => Ok(()),
        room => Err(io::Error::new(io::ErrorKind::StorageFull, format!("the host has {room} interrupt vectors left"))),
    }
}

/// An eventfd that the device's own event `index` signals.
fn own_event(device: &Device, index: u32) -> Result<EventFd> {
    let failed = |source| device.failed("take an event of the device", source);
    let event = EventFd::new(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK).map_err(failed)?;
    let set = IrqSet::trigger(index, std::iter::once(Some(event.as_raw_fd())));
    enable(device, set).map_err(failed)?;
    Ok(event)
}
