// SPDX-License-Identifier: Apache-2.0
//! BARs in the guest's memory: a file's pages mapped into this process, and a KVM memory slot for them. The slot
//! goes before the mapping does.

use std::io;

use devices::contract::platform::{GuestMapper, Mapping};
use devices::function::MappableArea;

use super::device_memory::DeviceMemory;
use super::{PAGE_SIZE, Vm};

/// From here to 4 GiB are the interrupt controllers, the pages that KVM has for itself, and where a
/// PC has its firmware: no place for a BAR.
const CHIPS: (u64, u64) = (0xfec0_0000, 1 << 32);

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
        if let Err(error) = self.vm.unmap(self.slot) {
            // Deleting a slot takes memory. The pages stay mapped for as long as the slot does.
            tracing::error!(%error, "cannot take a BAR from the guest");
        }
    }
}

#[cfg(test)]
#[path = "bar_mapper_tests.rs"]
mod tests;
