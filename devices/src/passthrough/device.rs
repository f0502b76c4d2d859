// SPDX-License-Identifier: Apache-2.0
//! A function passed through: the PCI calls of the guest, and what becomes of the function when it
//! fails or is wanted back.
//!
//! # Locks
//!
//! `State` is held for configuration accesses and changes of interrupts. BAR accesses take no lock;
//! the vector table has its own. `windows`, `mappable` and the report wait for `State` shortly, and no
//! operation on the function under it waits for a guest.

mod saved;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::faults::Faults;
use super::interrupts::{Interrupts, Pin, Wanted};
use super::msi::{Msi, MsiCapability};
use super::report::{PassthroughCounter, PassthroughReport};
use super::view::{Owner, Places, View, ViewError};
use crate::bus::{Access, Effect, Width};
use crate::contract::Counters;
use crate::contract::platform::{IrqLine, MsiSource};
use crate::function::{MappableArea, PciFunction};
use crate::pci::{BarWindow, Changed, Command, ConfigSpace, MSIX_CONTROL_OFFSET, Msix, PciDevice};
use crate::spec::pci::COMMAND;
pub use saved::PassthroughState;

/// Bytes that configuration mechanism 1 reaches.
const SPACE: u16 = 256;

/// What a function is made of.
pub struct PassthroughParts {
    /// The function.
    pub function: Arc<dyn PciFunction>,
    /// Gives out the guest's MSI and MSI-X interrupts.
    pub msi: Arc<dyn MsiSource>,
    /// The function's share of its interrupt line; `None`: no INTx.
    pub irq_line: Option<Arc<dyn IrqLine>>,
    /// The number of that line, for the interrupt line register.
    pub irq_number: u8,
}

/// Why a function cannot be passed through.
#[derive(Debug, Error)]
pub enum PassthroughError {
    /// Its configuration space.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The function does not do as it is told.
    #[error(transparent)]
    Function(#[from] crate::function::FunctionError),
    /// The platform has no interrupts or eventfds left.
    #[error("cannot allocate interrupts for the function")]
    Interrupts(#[source] io::Error),
}

struct State {
    space: ConfigSpace,
    interrupts: Interrupts,
    /// COMMAND of the function as last written.
    command: u16,
    /// Its last reset failed: it may still write to what the guest has freed since. No DMA until one worked.
    unreset: bool,
}

/// A function passed through.
pub struct PassthroughDevice {
    id: String,
    function: Arc<dyn PciFunction>,
    owners: Box<[Owner; SPACE as usize]>,
    places: Places,
    msi: Option<MsiCapability>,
    msix: Option<Msix>,
    ids: (u16, u16),
    state: Mutex<State>,
    faults: Faults,
    counters: Counters<PassthroughCounter, { PassthroughCounter::COUNT }>,
}

impl PassthroughDevice {
    /// Gives `parts.function` to the guest as `id`, in its power-on state: reset, no DMA.
    pub fn new(id: &str, parts: PassthroughParts) -> Result<Arc<Self>, PassthroughError> {
        let function = parts.function;
        function.reset()?;
        let pin = match parts.irq_line.filter(|_| function.has_intx()) {
            Some(line) => Some(Pin::new(line).map_err(PassthroughError::Interrupts)?),
            None => None,
        };
        let wired = pin.filter(Pin::works);
        if function.has_intx() && wired.is_none() {
            tracing::info!(device = id, "no INTx: KVM here cannot say when a guest has handled one");
        }
        let view = View::new(function.as_ref(), wired.is_some(), parts.irq_number)?;
        let no_interrupts = PassthroughError::Interrupts;
        let msix = view.msix.map(|layout| Msix::new(id, layout, parts.msi.as_ref())).transpose();
        let msi = view.msi.as_ref().map(|msi| Msi::new(msi, parts.msi.as_ref())).transpose().map_err(no_interrupts)?;
        let ids = (view.space.read(0, Width::B2) as u16, view.space.read(2, Width::B2) as u16);
        let state = State { space: view.space, interrupts: Interrupts::new(wired, msi), command: 0, unreset: false };
        let device = Self {
            id: id.to_owned(),
            function,
            owners: view.owners,
            places: view.places,
            msi: view.msi,
            msix: msix.map_err(no_interrupts)?,
            ids,
            state: Mutex::new(state),
            faults: Faults::new(id),
            counters: Counters::default(),
        };
        device.apply(&mut device.lock());
        Ok(Arc::new(device))
    }

    /// The system takes the function away, because it was unplugged or failed for good: the
    /// guest reads all ones from now on. The caller remaps, and lets go of the function then.
    pub fn taken_away(&self, reason: &str) {
        self.faults.take_away(reason);
        self.quiesce(&mut self.lock());
    }

    /// Whether it was taken away.
    pub fn is_gone(&self) -> bool {
        self.faults.is_gone()
    }

    /// The VM ends: no interrupt and no DMA after this.
    pub fn shutdown(&self) {
        let mut state = self.lock();
        self.quiesce(&mut state);
        if let Err(error) = self.function.reset() {
            self.faults.count(&error);
        }
    }

    fn quiesce(&self, state: &mut State) {
        if let Err(error) = self.function.config_write(COMMAND, Width::B2, function_command(false).into()) {
            self.faults.count(&error);
        }
        state.command = 0;
        state.interrupts.stop(self.function.as_ref(), &self.faults);
    }

    /// What the function did so far.
    pub fn report(&self) -> PassthroughReport {
        PassthroughReport {
            id: self.id.clone(),
            function: self.function.name().to_owned(),
            vendor_id: self.ids.0,
            device_id: self.ids.1,
            interrupts: self.lock().interrupts.used,
            counts: self.counters.counts().with(PassthroughCounter::Errors, self.faults.errors()),
            faulted: self.faults.reason(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the function do what the guest's registers say.
    fn apply(&self, state: &mut State) {
        let guest = state.space.command();
        let command = function_command(guest.contains(Command::BUS_MASTER) && !state.unreset);
        if command != state.command {
            match self.function.config_write(COMMAND, Width::B2, command.into()) {
                Ok(()) => state.command = command,
                Err(error) => self.faults.count(&error),
            }
        }
        let msix = match (self.places.msix, &self.msix) {
            (Some(at), Some(msix)) => {
                let _ = msix.set_control(state.space.read(at + MSIX_CONTROL_OFFSET, Width::B2) as u16);
                msix.enabled()
            }
            _ => false,
        };
        let wanted = Wanted {
            msix,
            msi: self.msi.map(|msi| msi.setting(&state.space)),
            intx: !guest.contains(Command::INTX_DISABLE),
        };
        state.interrupts.apply(&wanted, self.function.as_ref(), self.msix.as_ref(), &self.faults);
    }

    /// Whether a write starts a function-level reset.
    fn starts_reset(&self, offset: u16, width: Width, value: u32) -> bool {
        self.places.reset.iter().flatten().any(|(at, bit)| {
            let byte = at.checked_sub(offset).filter(|byte| usize::from(*byte) < width.bytes());
            byte.is_some_and(|byte| value >> (8 * byte) & u32::from(*bit) != 0)
        })
    }

    /// The guest resets the function: all is as after power-on, BARs included.
    fn reset(&self, state: &mut State) {
        self.counters.add(PassthroughCounter::Resets);
        state.interrupts.stop(self.function.as_ref(), &self.faults);
        let reset = self.function.reset();
        state.unreset = reset.is_err();
        if let Err(error) = reset {
            self.faults.count(&error);
        }
        if let Some(msix) = &self.msix {
            msix.reset();
        }
        state.space.reset();
        state.command = 0;
        self.apply(state);
    }

    /// Reads bytes that are not all ours, one by one unless the function has them all.
    fn read_mixed(&self, state: &State, offset: u16, width: Width) -> u32 {
        let owners = self.owners_of(offset, width);
        if owners.iter().all(|owner| *owner != Owner::Ours) {
            return self.function_read(offset, width);
        }
        (0..).zip(owners).fold(0, |value, (byte, owner)| {
            let read = match owner {
                Owner::Ours => state.space.read(offset + byte, Width::B1),
                Owner::Shown | Owner::Forwarded => self.function_read(offset + byte, Width::B1),
            };
            value | (read & 0xff) << (8 * byte)
        })
    }

    fn function_read(&self, offset: u16, width: Width) -> u32 {
        self.function.config_read(offset, width).unwrap_or_else(|error| {
            self.faults.count(&error);
            width.all_ones() as u32
        })
    }

    /// Writes the bytes that go to the function.
    fn forward(&self, offset: u16, width: Width, value: u32) {
        let owners = self.owners_of(offset, width);
        let forwarded = |owner: &Owner| *owner == Owner::Forwarded;
        let written = if owners.iter().all(forwarded) {
            self.function.config_write(offset, width, value)
        } else {
            let bytes = (0..).zip(owners).filter(|(_, owner)| forwarded(owner));
            bytes
                .map(|(byte, _)| self.function.config_write(offset + byte, Width::B1, value >> (8 * byte) & 0xff))
                .fold(Ok(()), Result::and)
        };
        if let Err(error) = written {
            self.faults.count(&error);
        }
    }

    fn owners_of(&self, offset: u16, width: Width) -> &[Owner] {
        self.owners.get(usize::from(offset)..usize::from(offset) + width.bytes()).unwrap_or_default()
    }
}

impl PciDevice for PassthroughDevice {
    fn name(&self) -> &str {
        &self.id
    }

    fn config_read(&self, offset: u16, width: Width) -> u32 {
        if self.faults.is_gone() {
            return width.all_ones() as u32;
        }
        if offset >= SPACE {
            // No extended capability; see `view`.
            return 0;
        }
        let state = self.lock();
        match self.owners_of(offset, width).iter().all(|owner| *owner == Owner::Ours) {
            true => state.space.read(offset, width),
            false => self.read_mixed(&state, offset, width),
        }
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Effect {
        if self.faults.is_gone() || offset >= SPACE {
            return Effect::None;
        }
        let mut state = self.lock();
        let before = state.space.windows();
        if self.starts_reset(offset, width, value) {
            self.reset(&mut state);
        } else {
            let changed = state.space.write(offset, width, value);
            self.forward(offset, width, value);
            if changed.intersects(Changed::COMMAND | Changed::CAPABILITIES) {
                self.apply(&mut state);
            }
        }
        if state.space.windows() == before { Effect::None } else { Effect::Remap }
    }

    fn windows(&self) -> Vec<BarWindow> {
        if self.faults.is_gone() { Vec::new() } else { self.lock().space.windows() }
    }

    fn placed(&self, _windows: &[BarWindow]) {}

    fn mappable(&self, bar: u8) -> Vec<MappableArea> {
        if self.faults.is_gone() {
            return Vec::new();
        }
        self.function.mappable(bar).unwrap_or_else(|error| {
            self.faults.count(&error);
            Vec::new()
        })
    }

    fn place_bar(&self, bar: u8, base: u64) {
        self.lock().space.place_bar(bar, base);
    }

    fn bars(&self) -> Vec<BarWindow> {
        self.lock().space.bars()
    }

    fn bar_read(&self, bar: u8, access: Access) -> u64 {
        let Access { offset, width, .. } = access;
        self.counters.add(PassthroughCounter::Reads);
        if self.faults.is_gone() {
            return width.all_ones();
        }
        if let Some(value) = self.msix.as_ref().and_then(|msix| msix.bar_read(bar, offset, width)) {
            return value;
        }
        self.function.region_read(bar, offset, width).unwrap_or_else(|error| {
            self.faults.count(&error);
            width.all_ones()
        })
    }

    fn bar_write(&self, bar: u8, access: Access, value: u64) -> Effect {
        let Access { offset, width, .. } = access;
        self.counters.add(PassthroughCounter::Writes);
        let is_table = || self.msix.as_ref().and_then(|msix| msix.bar_write(bar, offset, width, value)).is_some();
        if !self.faults.is_gone()
            && !is_table()
            && let Err(error) = self.function.region_write(bar, offset, width, value)
        {
            self.faults.count(&error);
        }
        Effect::None
    }
}

/// COMMAND of the function: it decodes always, for what the guest switches off is taken from the
/// guest; a mapped page of a device that does not decode would be a fault of this process.
fn function_command(bus_master: bool) -> u16 {
    let always = Command::MEMORY | Command::IO;
    if bus_master { always | Command::BUS_MASTER } else { always }.bits()
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
