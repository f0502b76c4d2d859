// SPDX-License-Identifier: Apache-2.0
//! Port events without KVM.

use std::io;
use std::sync::Mutex;

use vmm_sys_util::eventfd::EventFd;

use super::Log;
use crate::contract::platform::PortEvents;

/// Port events as KVM has them: a place can be taken once, and only what is there can be detached.
#[derive(Debug, Default)]
pub struct MockPorts {
    log: Log,
    attached: Mutex<Vec<(u16, u16, EventFd)>>,
}

impl MockPorts {
    /// Nothing attached; what will be is in `log`.
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

impl PortEvents for MockPorts {
    fn attach(&self, port: u16, value: u16, event: &EventFd) -> io::Result<()> {
        let mut attached = self.attached.lock().unwrap();
        if attached.iter().any(|(p, v, _)| (*p, *v) == (port, value)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        attached.push((port, value, event.try_clone()?));
        self.log.add(format!("attach {port:x}={value}"));
        Ok(())
    }

    fn detach(&self, port: u16, value: u16, _: &EventFd) -> io::Result<()> {
        let mut attached = self.attached.lock().unwrap();
        let at = attached.iter().position(|(p, v, _)| (*p, *v) == (port, value));
        attached.swap_remove(at.unwrap_or_else(|| panic!("nothing is attached at {port:#x}={value}")));
        self.log.add(format!("detach {port:x}={value}"));
        Ok(())
    }
}
