// SPDX-License-Identifier: Apache-2.0
//! What devices need of the platform below them. `vmm::kvm` implements it with KVM; tests implement
//! it with counters.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::function::MappableArea;

/// One device's share of a level-triggered interrupt line. The line is high while any share is.
pub trait IrqLine: Send + Sync {
    /// Asserts or releases this share. Repeating the present level does nothing.
    fn set(&self, asserted: bool);

    /// From now on a signal on `trigger` asserts the line until the guest ends the interrupt at its
    /// controller (EOI), which signals `resample`. Ends with the value returned.
    ///
    /// # Errors
    /// `Unsupported` where the platform cannot tell when the guest is done.
    fn resample(&self, _trigger: &EventFd, _resample: &EventFd) -> io::Result<Box<dyn Resampled>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An eventfd that drives an interrupt line, see [`IrqLine::resample`]. Dropping it ends that.
pub trait Resampled: Send + Sync {}

/// Address and data of one message-signalled interrupt, as the guest wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsiMessage {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// Gives out message-signalled interrupts.
pub trait MsiSource: Send + Sync {
    /// A new, disabled interrupt. Freed on drop.
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>>;
}

/// One message-signalled interrupt that a device raises by an eventfd.
pub trait MsiInterrupt: Send + Sync {
    /// What the device signals. Signals while the interrupt is disabled stay pending in the eventfd
    /// and are delivered, as one interrupt, when it is enabled.
    fn event(&self) -> &EventFd;
    /// [`Self::enable`] with this message follows. Where a change is dear, the ones that are announced are made at once
    /// with the first of them.
    fn announce(&self, _message: MsiMessage) {}
    /// Delivers signals as `message` from now on.
    fn enable(&self, message: MsiMessage) -> io::Result<()>;
    /// Keeps signals pending from now on.
    fn disable(&self) -> io::Result<()>;
}

/// Port writes that signal an eventfd without an exit to the VMM.
pub trait PortEvents: Send + Sync {
    /// From now on a 2-byte guest write of `value` to `port` signals `event` and does not exit.
    fn attach(&self, port: u16, value: u16, event: &EventFd) -> io::Result<()>;
    /// Ends what [`Self::attach`] with the same arguments began.
    fn detach(&self, port: u16, value: u16, event: &EventFd) -> io::Result<()>;
}

/// Puts parts of a function's BARs into the guest's memory, so that accesses need no exit.
pub trait GuestMapper: Send + Sync {
    /// Maps `area` at guest-physical `address` (a multiple of 4096) until the mapping is dropped.
    ///
    /// # Errors
    /// When something is there already (RAM, another mapping), the address is one that no BAR may
    /// take, or the system refuses. Nothing is mapped then.
    fn map(&self, address: u64, area: &MappableArea) -> io::Result<Box<dyn Mapping>>;
}

/// A part of a BAR in the guest's memory. No access of the guest gets there once it is dropped.
pub trait Mapping: Send + Sync {}

/// The VFIO files whose devices a guest uses. KVM wants to know them: for devices that bypass caches,
/// and for drivers that need the VM (Linux, Documentation/virt/kvm/devices/vfio.rst).
pub trait KvmVfio: Send + Sync {
    /// `file` is a VFIO group or character device, not bound yet. A reference is kept until [`Self::remove`].
    fn add(&self, file: BorrowedFd<'_>) -> io::Result<()>;
    /// Ends what [`Self::add`] began; the reference is dropped.
    fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()>;
}
