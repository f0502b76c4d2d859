// SPDX-License-Identifier: Apache-2.0
//! Port writes that signal an eventfd in the kernel (KVM_IOEVENTFD) instead of an exit.
#![forbid(unsafe_code)]

use std::io;

use devices::contract::platform::PortEvents;
use kvm_ioctls::IoEventAddress;
use vmm_sys_util::eventfd::EventFd;

use super::{KvmError, Vm};

/// The port events of one VM. Accesses of another width or value go on to exit.
pub struct PortIoEvents {
    vm: Vm,
}

impl PortIoEvents {
    /// Port events of `vm`.
    pub fn new(vm: &Vm) -> Self {
        Self { vm: vm.clone() }
    }
}

impl PortEvents for PortIoEvents {
    fn attach(&self, port: u16, value: u16, event: &EventFd) -> io::Result<()> {
        // The type of `value` is the width that KVM matches.
        let attached = self.vm.fd().register_ioevent(event, &IoEventAddress::Pio(port.into()), value);
        Ok(attached.map_err(KvmError::call("attach an eventfd to a port"))?)
    }

    fn detach(&self, port: u16, value: u16, event: &EventFd) -> io::Result<()> {
        let detached = self.vm.fd().unregister_ioevent(event, &IoEventAddress::Pio(port.into()), value);
        Ok(detached.map_err(KvmError::call("detach an eventfd from a port"))?)
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
