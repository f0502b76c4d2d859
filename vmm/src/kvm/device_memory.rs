// SPDX-License-Identifier: Apache-2.0
//! Pages of a device's file, as VFIO or vfio-user give them, mapped into this process.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use devices::function::MappableArea;

/// Pages of a device, mapped shared. Nothing in this process reads or writes them through this.
#[derive(Debug)]
pub(super) struct DeviceMemory {
    address: *mut libc::c_void,
    size: usize,
}

// SAFETY: the pointer is never dereferenced here; it is a number for KVM and for munmap.
unsafe impl Send for DeviceMemory {}

impl DeviceMemory {
    pub(super) fn map(area: &MappableArea) -> io::Result<Self> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let size = usize::try_from(area.size).map_err(invalid)?;
        let offset = libc::off_t::try_from(area.file_offset).map_err(invalid)?;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice replaces none of ours; the file
        // is open.
        let address = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, area.file.as_raw_fd(), offset) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { address, size })
    }

    /// Where it is in this process.
    pub(super) fn address(&self) -> u64 {
        self.address as u64
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        // SAFETY: it is a whole mapping of ours, nobody holds a reference into it, and the memory
        // slot that used it is gone: `Vm::unmap` gives it back after that.
        unsafe { libc::munmap(self.address, self.size) };
    }
}
