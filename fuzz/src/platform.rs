// SPDX-License-Identifier: Apache-2.0
//! What a function needs of the platform, with counters in place of KVM.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use devices::contract::platform::{IrqLine, MsiInterrupt, MsiMessage, MsiSource, PortEvents};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// An interrupt line.
#[derive(Default)]
pub struct Line(AtomicBool);

impl Line {
    /// Its level.
    pub fn is_high(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl IrqLine for Line {
    fn set(&self, asserted: bool) {
        self.0.store(asserted, Ordering::SeqCst);
    }
}

/// Interrupts that have their event, and nobody listens.
pub struct Msi;

struct Interrupt(EventFd);

impl MsiSource for Msi {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        Ok(Arc::new(Interrupt(EventFd::new(EFD_NONBLOCK)?)))
    }
}

impl MsiInterrupt for Interrupt {
    fn event(&self) -> &EventFd {
        &self.0
    }
    fn enable(&self, _: MsiMessage) -> io::Result<()> {
        Ok(())
    }
    fn disable(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Port events as KVM has them: one place can be taken once, and only what is there can be detached.
#[derive(Default)]
pub struct Ports(Mutex<Vec<(u16, u16)>>);

impl Ports {
    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl PortEvents for Ports {
    fn attach(&self, port: u16, value: u16, _: &EventFd) -> io::Result<()> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.contains(&(port, value)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        places.push((port, value));
        Ok(())
    }

    fn detach(&self, port: u16, value: u16, _: &EventFd) -> io::Result<()> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = places.iter().position(|place| *place == (port, value)).expect("detached what was not attached");
        places.swap_remove(at);
        Ok(())
    }
}
