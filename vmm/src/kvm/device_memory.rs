// SPDX-License-Identifier: Apache-2.0
//! BARs in the guest's memory: a file's pages (a device's, as VFIO or vfio-user give them) mapped
//! into this process, and a KVM memory slot for them. The slot goes before the mapping does.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use devices::contract::platform::{GuestMapper, Mapping};
use devices::function::MappableArea;

use super::{PAGE_SIZE, Vm};

/// From here to 4 GiB are the interrupt controllers, the pages that KVM has for itself, and where a
/// PC has its firmware: no place for a BAR.
const CHIPS: (u64, u64) = (0xfec0_0000, 1 << 32);

/// Pages of a device, mapped shared. Nothing in this process reads or writes them through this.
#[derive(Debug)]
pub(super) struct DeviceMemory {
    address: *mut libc::c_void,
    size: usize,
}

// SAFETY: the pointer is never dereferenced here; it is a number for KVM and for munmap.
unsafe impl Send for DeviceMemory {}

impl DeviceMemory {
    fn map(area: &MappableArea) -> io::Result<Self> {
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
        // slot that used it is gone: `Vm::unmap_device` gives it back after that.
        unsafe { libc::munmap(self.address, self.size) };
    }
}

/// Maps BARs into the memory of one VM.
pub struct BarMapper {
    vm: Vm,
}

impl BarMapper {
    /// Into the memory of `vm`.
    pub fn new(vm: &Vm) -> Self {
        Self { vm: vm.clone() }
    }
}

impl GuestMapper for BarMapper {
    fn map(&self, address: u64, area: &MappableArea) -> io::Result<Box<dyn Mapping>> {
        check_place(address, area.size)?;
        let memory = DeviceMemory::map(area)?;
        let slot = self.vm.map_device(address, area.size, memory)?;
        Ok(Box::new(MappedArea { vm: self.vm.clone(), slot }))
    }
}

/// That it is neither RAM nor another mapping is KVM's to say, which knows them all.
fn check_place(address: u64, size: u64) -> io::Result<()> {
    let refuse = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let Some(end) = address.checked_add(size) else { return refuse("it passes the end of the address space") };
    if !address.is_multiple_of(PAGE_SIZE) || !size.is_multiple_of(PAGE_SIZE) || size == 0 {
        return refuse("it is not made of whole pages");
    }
    if address < CHIPS.1 && end > CHIPS.0 {
        return refuse("the interrupt controllers are there");
    }
    Ok(())
}

struct MappedArea {
    vm: Vm,
    slot: u32,
}

impl Mapping for MappedArea {}

impl Drop for MappedArea {
    fn drop(&mut self) {
        if let Err(error) = self.vm.unmap_device(self.slot) {
            // Deleting a slot takes memory. The pages stay mapped for as long as the slot does.
            tracing::error!(%error, "cannot take a BAR from the guest");
        }
    }
}

#[cfg(test)]
#[path = "device_memory_tests.rs"]
mod tests;
