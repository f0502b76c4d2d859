// SPDX-License-Identifier: Apache-2.0
//! Interrupt lines of the PICs and the I/O APIC: level-triggered ones that devices share, and edges
//! raised by an eventfd.
#![forbid(unsafe_code)]

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::contract::platform::{IrqLine, Resampled};
use kvm_ioctls::Cap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{KvmError, Vm};

/// Pins of the I/O APIC; GSIs below this number are lines.
pub const PIN_COUNT: u32 = 24;

/// The lines of one VM. Make one per VM: it counts who asserts what.
pub struct IrqLines {
    vm: Vm,
    lines: Vec<Arc<Line>>,
}

impl IrqLines {
    /// All lines of `vm`, released.
    pub fn new(vm: &Vm) -> Self {
        let line = |gsi| Arc::new(Line { vm: vm.clone(), gsi, asserted: Mutex::new(0) });
        Self { vm: vm.clone(), lines: (0..PIN_COUNT).map(line).collect() }
    }

    /// A new share of line `gsi` (0 to 23) for one device, released; dropping it releases it.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn share(&self, gsi: u32) -> Result<Arc<dyn IrqLine>, KvmError> {
        let line = self.lines.get(gsi as usize).ok_or(KvmError::NoLine(gsi))?;
        Ok(Arc::new(Share { line: line.clone(), asserted: Mutex::new(false) }))
    }

    /// An eventfd whose signals are edges (one pulse each) on line `gsi`, for ISA devices such as the serial port.
    /// The interrupt goes away with the last copy of the eventfd.
    ///
    /// # Errors
    /// When there is no such line, or KVM refuses.
    pub fn edge_irq(&self, gsi: u32) -> Result<EventFd, KvmError> {
        if gsi >= PIN_COUNT {
            return Err(KvmError::NoLine(gsi));
        }
        let event = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC)
            .map_err(|source| KvmError::Call { what: "create an eventfd", source })?;
        self.vm.fd().register_irqfd(&event, gsi).map_err(KvmError::call("attach an eventfd to an interrupt line"))?;
        Ok(event)
    }
}

struct Line {
    vm: Vm,
    gsi: u32,
    /// Number of shares that assert.
    asserted: Mutex<u32>,
}

impl Line {
    fn asserted(&self) -> MutexGuard<'_, u32> {
        self.asserted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called with the count locked, so that the chips see transitions in the order of the counts.
    fn drive(&self, high: bool) {
        if let Err(error) = self.vm.fd().set_irq_line(self.gsi, high) {
            // KVM_IRQ_LINE fails only without interrupt chips, which every VM here has.
            tracing::debug!(%error, gsi = self.gsi, "cannot drive an interrupt line");
        }
    }
}

struct Share {
    line: Arc<Line>,
    asserted: Mutex<bool>,
}

impl IrqLine for Share {
    fn set(&self, asserted: bool) {
        // The share's own lock comes first and is held by one device only.
        let mut own = self.asserted.lock().unwrap_or_else(PoisonError::into_inner);
        if *own == asserted {
            return;
        }
        *own = asserted;
        let mut count = self.line.asserted();
        let (now, level) = count_change(*count, asserted);
        *count = now;
        if let Some(high) = level {
            self.line.drive(high);
        }
    }

    /// KVM keeps what an irqfd with a resample eventfd asserts apart from what KVM_IRQ_LINE asserts: the
    /// line is high while one of them wants it so.
    fn resample(&self, trigger: &EventFd, resample: &EventFd) -> io::Result<Box<dyn Resampled>> {
        let Line { vm, gsi, .. } = self.line.as_ref();
        if !vm.fd().check_extension(Cap::IrqfdResample) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let trigger = trigger.try_clone()?;
        vm.fd()
            .register_irqfd_with_resample(&trigger, resample, *gsi)
            .map_err(KvmError::call("attach an eventfd to a level-triggered line"))?;
        Ok(Box::new(LevelIrqfd { vm: vm.clone(), gsi: *gsi, trigger }))
    }
}

/// A level-triggered irqfd. KVM lowers the line when it ends.
struct LevelIrqfd {
    vm: Vm,
    gsi: u32,
    trigger: EventFd,
}

impl Resampled for LevelIrqfd {}

impl Drop for LevelIrqfd {
    fn drop(&mut self) {
        if let Err(error) = self.vm.fd().unregister_irqfd(&self.trigger, self.gsi) {
            tracing::debug!(%error, gsi = self.gsi, "cannot detach an eventfd from a line");
        }
    }
}

/// Number of asserting shares after one of them asserts or releases, and the line's new level where it changes.
/// KVM is told of changes only: to an edge-triggered pin, high once more may be another interrupt.
fn count_change(count: u32, asserted: bool) -> (u32, Option<bool>) {
    match (count, asserted) {
        (0, true) => (1, Some(true)),
        (n, true) => (n.saturating_add(1), None),
        (0 | 1, false) => (0, Some(false)),
        (n, false) => (n - 1, None),
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
