// SPDX-License-Identifier: Apache-2.0
//! `struct kvm_run` and the data behind it, shared with the kernel.
//!
//! kvm-ioctls has a mapping of its own; this is a second one of the same pages. So the size of a port
//! access, which kvm-ioctls does not tell, can be read, and a signal handler can set `immediate_exit`
//! without aliasing somebody's `&mut kvm_run`.

use std::io;
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kvm_bindings::*;

use super::Exit;

type PortIo = kvm_run__bindgen_ty_1__bindgen_ty_4;
type Mmio = kvm_run__bindgen_ty_1__bindgen_ty_6;
type FailEntry = kvm_run__bindgen_ty_1__bindgen_ty_2;
type Internal = kvm_run__bindgen_ty_1__bindgen_ty_13;
type SystemEvent = kvm_run__bindgen_ty_1__bindgen_ty_19;
type MemoryFault = kvm_run__bindgen_ty_1__bindgen_ty_27;

const UNION: usize = offset_of!(kvm_run, __bindgen_anon_1);

/// The owner's view. It is not `Clone`, so that `&mut self` really is exclusive.
#[derive(Debug)]
pub(super) struct RunPage {
    mapping: Arc<Mapping>,
}

impl RunPage {
    /// Maps the shared pages of a vCPU; `length` is what KVM_GET_VCPU_MMAP_SIZE says.
    pub(super) fn map(vcpu: &impl AsRawFd, length: usize) -> io::Result<Self> {
        Self::map_with(libc::MAP_SHARED, vcpu.as_raw_fd(), length)
    }

    fn map_with(flags: i32, fd: i32, length: usize) -> io::Result<Self> {
        if length < size_of::<kvm_run>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a new mapping at an address that the kernel chooses touches no existing one.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => {
                Ok(Self { mapping: Arc::new(Mapping { base, length }) })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The one field that others may touch.
    pub(super) fn immediate_exit(&self) -> ImmediateExit {
        ImmediateExit { mapping: self.mapping.clone() }
    }

    /// Reads the exit that KVM_RUN has just reported.
    pub(super) fn exit(&mut self) -> Exit<'_> {
        let reason = self.read::<u32>(offset_of!(kvm_run, exit_reason));
        match reason {
            KVM_EXIT_IO => self.port_io(),
            KVM_EXIT_MMIO => self.mmio(),
            KVM_EXIT_HLT => Exit::Hlt,
            KVM_EXIT_SHUTDOWN => Exit::Shutdown,
            KVM_EXIT_INTR => Exit::Interrupted,
            KVM_EXIT_INTERNAL_ERROR => {
                let error = self.read::<Internal>(UNION);
                let count = error.data.len().min(error.ndata as usize);
                Exit::InternalError { suberror: error.suberror, data: error.data[..count].to_vec() }
            }
            KVM_EXIT_FAIL_ENTRY => {
                let fail = self.read::<FailEntry>(UNION);
                Exit::FailEntry { reason: fail.hardware_entry_failure_reason, cpu: fail.cpu }
            }
            KVM_EXIT_SYSTEM_EVENT => Exit::SystemEvent(self.read::<SystemEvent>(UNION).type_),
            KVM_EXIT_MEMORY_FAULT => {
                let fault = self.read::<MemoryFault>(UNION);
                Exit::MemoryFault { address: fault.gpa, size: fault.size }
            }
            other => Exit::Unsupported(other),
        }
    }

    fn port_io(&mut self) -> Exit<'_> {
        let io = self.read::<PortIo>(UNION);
        let length = (io.count as usize).saturating_mul(io.size.into());
        match self.bytes(io.data_offset as usize, length) {
            Some(data) => Exit::PortIo {
                port: io.port,
                size: io.size,
                is_write: u32::from(io.direction) == KVM_EXIT_IO_OUT,
                data,
            },
            None => Exit::Unsupported(KVM_EXIT_IO),
        }
    }

    fn mmio(&mut self) -> Exit<'_> {
        let mmio = self.read::<Mmio>(UNION);
        let length = mmio.data.len().min(mmio.len as usize);
        match self.bytes(UNION + offset_of!(Mmio, data), length) {
            Some(data) => Exit::Mmio { address: mmio.phys_addr, is_write: mmio.is_write != 0, data },
            None => Exit::Unsupported(KVM_EXIT_MMIO),
        }
    }

    /// Copies a `T` out. Only types of integers are read, for which all bit patterns are valid.
    fn read<T: Copy>(&self, offset: usize) -> T {
        debug_assert!(offset + size_of::<T>() <= size_of::<kvm_run>());
        let field = self.mapping.base.as_ptr().wrapping_add(offset).cast::<T>();
        // SAFETY: inside the mapping (it holds a `kvm_run`, the offsets are those of its fields), aligned
        // as in that structure, and not written by the kernel outside KVM_RUN.
        unsafe { field.read() }
    }

    fn bytes(&mut self, offset: usize, length: usize) -> Option<&mut [u8]> {
        let end = offset.checked_add(length)?;
        // Never the header: `immediate_exit` is written by a signal handler at any time.
        if offset < UNION || end > self.mapping.length {
            return None;
        }
        let start = self.mapping.base.as_ptr().wrapping_add(offset);
        // SAFETY: inside the mapping; the kernel writes there only during KVM_RUN, which needs the same
        // exclusive borrow; the signal handler writes only `immediate_exit`, which lies before.
        Some(unsafe { std::slice::from_raw_parts_mut(start, length) })
    }
}

/// Makes the next KVM_RUN of one vCPU return at once with EINTR, after it has completed the I/O of the last exit.
#[derive(Clone, Debug)]
pub(super) struct ImmediateExit {
    mapping: Arc<Mapping>,
}

impl ImmediateExit {
    /// Where a signal handler may store; valid as long as `self` lives.
    pub(super) fn flag(&self) -> &AtomicU8 {
        let flag = self.mapping.base.as_ptr().wrapping_add(offset_of!(kvm_run, immediate_exit));
        // SAFETY: a byte inside the mapping that lives as long as `self`; in this process it is only
        // accessed through this atomic.
        unsafe { AtomicU8::from_ptr(flag) }
    }

    /// Lets KVM_RUN run guest code again.
    pub(super) fn clear(&self) {
        self.flag().store(0, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: memory that belongs to no thread. Through a shared `Mapping` only an atomic is accessed.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping was made by `RunPage::map_with`, and nobody has a pointer into it any more:
        // all of them borrow from an owner of the `Arc`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
#[path = "run_page_tests.rs"]
mod tests;
