// SPDX-License-Identifier: Apache-2.0
//! The guest's clocks that KVM keeps, and how they stand still while the machine is paused: KVM's own clock
//! (KVM_SET_CLOCK), the time stamp counters, and the interval timer, which would make up for each tick it missed.
//!
//! Local APICs' timers run by the host's clock and cannot be stopped; the guest gets one interrupt too early, and can
//! tell by the clocks above.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{Ordering, fence};

use kvm_bindings::{
    KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, Msrs, kvm_clock_data, kvm_device_attr, kvm_msr_entry, kvm_pit_state2,
};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

use super::{KvmError, KvmVcpu, Vm};

ioctl_iow_nr!(KVM_SET_DEVICE_ATTR, KVMIO, 0xe1, kvm_device_attr);
ioctl_iow_nr!(KVM_GET_DEVICE_ATTR, KVMIO, 0xe2, kvm_device_attr);

/// `MSR_IA32_TSC`.
const MSR_TSC: u32 = 0x10;
/// No mode of a counter: KVM has no timer for it then.
const NO_MODE: u8 = 0xff;

/// The clocks as they were when they were stopped.
#[derive(Debug)]
pub struct StoppedClock {
    clock: kvm_clock_data,
    pit: kvm_pit_state2,
    /// The host's time stamp counter.
    tsc: u64,
}

impl Vm {
    /// Stops the guest's clocks. No vCPU may run guest code before [`Self::start_clock`].
    ///
    /// # Errors
    /// When KVM does not tell, or take, their state; they run on then.
    pub fn stop_clock(&self) -> Result<StoppedClock, KvmError> {
        let clock = self.fd().get_clock().map_err(KvmError::call("read the guest's clock"))?;
        let pit = self.fd().get_pit2().map_err(KvmError::call("read the state of the interval timer"))?;
        let mut still = pit;
        still.channels[0].mode = NO_MODE;
        self.fd().set_pit2(&still).map_err(KvmError::call("stop the interval timer"))?;
        Ok(StoppedClock { clock, pit, tsc: host_tsc() })
    }

    /// Lets the clocks go on from where they were stopped. Returns the ticks that time stamp counters are ahead: each
    /// vCPU's thread has to [set its own back](KvmVcpu::set_back_tsc) before it runs guest code.
    ///
    /// # Errors
    /// When KVM does not take their state.
    pub fn start_clock(&self, stopped: &StoppedClock) -> Result<u64, KvmError> {
        // Without the flags that KVM_GET_CLOCK set: they would ask for other things here.
        let clock = kvm_clock_data { clock: stopped.clock.clock, ..Default::default() };
        self.fd().set_clock(&clock).map_err(KvmError::call("set the guest's clock"))?;
        self.fd().set_pit2(&stopped.pit).map_err(KvmError::call("start the interval timer"))?;
        Ok(host_tsc().wrapping_sub(stopped.tsc))
    }
}

/// Guests' counters are this one plus an offset: nothing here asks KVM for another frequency.
fn host_tsc() -> u64 {
    fence(Ordering::SeqCst);
    // SAFETY: every x86-64 processor has the instruction, and Linux lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

impl KvmVcpu {
    /// Sets the guest's time stamp counter back by `ticks`. On the thread that runs the vCPU.
    ///
    /// By the offset, all vCPUs stay as close together as they are (Linux 5.16 and later). Before, the counter is
    /// written, and KVM itself takes writes of several vCPUs within a second for one; a pause shorter than that may
    /// leave it as it is.
    ///
    /// # Errors
    /// When KVM does not take the value.
    pub fn set_back_tsc(&self, ticks: u64) -> io::Result<()> {
        let mut offset = 0;
        if self.tsc_offset(KVM_GET_DEVICE_ATTR(), &mut offset).is_ok() {
            let wanted = offset.wrapping_sub(ticks);
            self.tsc_offset(KVM_SET_DEVICE_ATTR(), &mut { wanted })?;
            // There are KVMs in software that take it and do nothing.
            self.tsc_offset(KVM_GET_DEVICE_ATTR(), &mut offset)?;
            return if offset == wanted { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) };
        }
        self.set_back_tsc_register(ticks)
    }

    /// As Linux before 5.16 wants it.
    fn set_back_tsc_register(&self, ticks: u64) -> io::Result<()> {
        let entry = kvm_msr_entry { index: MSR_TSC, ..Default::default() };
        let mut msrs = Msrs::from_entries(&[entry]).map_err(io::Error::other)?;
        let read = self.fd().get_msrs(&mut msrs)?;
        for entry in msrs.as_mut_slice() {
            entry.data = entry.data.wrapping_sub(ticks);
        }
        let written = if read == 1 { self.fd().set_msrs(&msrs)? } else { 0 };
        if written == 1 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Reads or writes what KVM adds to the host's counter.
    fn tsc_offset(&self, request: u64, offset: &mut u64) -> io::Result<()> {
        let attribute = kvm_device_attr {
            flags: 0,
            group: KVM_VCPU_TSC_CTRL,
            attr: KVM_VCPU_TSC_OFFSET.into(),
            addr: std::ptr::from_mut(offset) as u64,
        };
        // SAFETY: KVM reads the attribute, and reads or writes the 8 bytes at `addr`, which live as long as the call.
        let done = unsafe { ioctl_with_ref(&self.fd().as_raw_fd(), request as _, &attribute) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
