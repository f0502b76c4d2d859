// SPDX-License-Identifier: Apache-2.0
//! What devices need of the platform below them. `vmm::kvm` implements it with KVM; tests implement
//! it with counters.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

/// One device's share of a level-triggered interrupt line. The line is high while any share is.
pub trait IrqLine: Send + Sync {
    /// Asserts or releases this share. Repeating the present level does nothing.
    fn set(&self, asserted: bool);
}

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

/// The VFIO files whose devices a guest uses. KVM wants to know them: for devices that bypass caches,
/// and for drivers that need the VM (Linux, Documentation/virt/kvm/devices/vfio.rst).
pub trait KvmVfio: Send + Sync {
    /// `file` is a VFIO group or character device, not bound yet. A reference is kept until [`Self::remove`].
    fn add(&self, file: BorrowedFd<'_>) -> io::Result<()>;
    /// Ends what [`Self::add`] began; the reference is dropped.
    fn remove(&self, file: BorrowedFd<'_>) -> io::Result<()>;
}
