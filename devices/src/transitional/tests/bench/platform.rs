// SPDX-License-Identifier: Apache-2.0
//! What a function needs of the platform, with counters in place of KVM.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Log;
use crate::contract::platform::{IrqLine, MsiInterrupt, MsiMessage, MsiSource, PortEvents};

/// A line with its level and the number of times it rose.
#[derive(Default)]
pub struct FakeLine {
    high: AtomicBool,
    pub rises: AtomicU64,
}

impl FakeLine {
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::SeqCst)
    }
}

impl IrqLine for FakeLine {
    fn set(&self, asserted: bool) {
        if !self.high.swap(asserted, Ordering::SeqCst) && asserted {
            self.rises.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Interrupts that only have their event.
pub struct FakeMsi;
struct FakeInterrupt(EventFd);

/// The same, with the events to look at, in the order of the vectors.
#[derive(Default)]
pub struct MsiEvents(Mutex<Vec<EventFd>>);

impl MsiEvents {
    /// Takes the signal of a vector, if there is one.
    pub fn take(&self, vector: usize) -> bool {
        self.0.lock().unwrap()[vector].read().is_ok()
    }
}

impl MsiSource for MsiEvents {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        self.0.lock().unwrap().push(event.try_clone()?);
        Ok(Arc::new(FakeInterrupt(event)))
    }
}

impl MsiSource for FakeMsi {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        Ok(Arc::new(FakeInterrupt(EventFd::new(EFD_NONBLOCK)?)))
    }
}

impl MsiInterrupt for FakeInterrupt {
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

/// Port events that refuse a place that is taken.
pub struct FakePorts {
    log: Log,
    attached: Mutex<Vec<(u16, u16, EventFd)>>,
}

impl FakePorts {
    /// Nothing attached.
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone(), attached: Mutex::default() }
    }

    /// What is attached: port and value.
    pub fn places(&self) -> Vec<(u16, u16)> {
        self.attached.lock().unwrap().iter().map(|(port, value, _)| (*port, *value)).collect()
    }

    /// The guest writes `value` to `port`; there must be an event for it.
    pub fn signal(&self, port: u16, value: u16) {
        let attached = self.attached.lock().unwrap();
        attached.iter().find(|(p, v, _)| (*p, *v) == (port, value)).unwrap().2.write(1).unwrap();
    }
}

impl PortEvents for FakePorts {
    fn attach(&self, port: u16, value: u16, event: &EventFd) -> io::Result<()> {
        if self.places().contains(&(port, value)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.attached.lock().unwrap().push((port, value, event.try_clone()?));
        self.log.add(format!("attach {port:x}={value}"));
        Ok(())
    }
    fn detach(&self, port: u16, value: u16, _: &EventFd) -> io::Result<()> {
        self.attached.lock().unwrap().retain(|(p, v, _)| (*p, *v) != (port, value));
        self.log.add(format!("detach {port:x}={value}"));
        Ok(())
    }
}
