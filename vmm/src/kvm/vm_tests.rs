// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use vm_memory::{GuestAddress, GuestRegionMmap};

use super::*;
use crate::kvm::RamOptions;
use crate::kvm::test_guest::{TestGuest, vm};

#[test]
fn pci_interrupts_are_level_triggered_in_the_pics() {
    let Some(vm) = vm() else { return };
    for (chip_id, elcr) in [(KVM_IRQCHIP_PIC_MASTER, 0x00), (KVM_IRQCHIP_PIC_SLAVE, 0x0e)] {
        let mut chip = kvm_irqchip { chip_id, ..Default::default() };
        vm.fd().get_irqchip(&mut chip).unwrap();
        // SAFETY: the chip is a PIC.
        assert_eq!(unsafe { chip.chip.pic }.elcr, elcr);
    }
}

#[test]
fn memory_of_a_slot_is_read_and_can_be_taken_back() {
    let Some(vm) = vm() else { return };
    let ram = GuestRam::new(&[(GuestAddress(0x4000), 0x2000)], RamOptions::default()).unwrap();
    ram.memory().write_slice(&[1, 2, 3, 4], GuestAddress(0x5ffc)).unwrap();
    let slot = vm.map_region(ram.regions()[0].clone()).unwrap();
    let mut bytes = [0; 8];
    assert_eq!(vm.read_memory(0x5ffc, &mut bytes), 4, "up to the end of the region");
    assert_eq!(bytes, [1, 2, 3, 4, 0, 0, 0, 0]);
    assert_eq!(vm.read_memory(0x3fff, &mut bytes), 0);
    vm.unmap(slot).unwrap();
    assert_eq!(vm.read_memory(0x5ffc, &mut bytes), 0);
    assert!(vm.unmap(slot).is_err());
    assert!(vm.unmap(99).is_err());
    assert_eq!(vm.map_region(ram.regions()[0].clone()).unwrap(), slot, "the slot is used again");
}

#[test]
fn overlapping_memory_is_refused() {
    let Some(guest) = TestGuest::new(&[]) else { return };
    let region = GuestRegionMmap::from_range(GuestAddress(0x8000), 0x1000, None).unwrap();
    let error = guest.vm.map_region(Arc::new(region)).unwrap_err().to_string();
    assert!(error.contains("register guest memory"), "{error}");
}

#[test]
fn too_many_vcpus_are_refused_by_name() {
    let Some(vm) = vm() else { return };
    let error = vm.create_vcpu(u16::MAX).err().unwrap().to_string();
    assert!(error.contains("vCPU 65535 is too many"), "{error}");
}

#[test]
fn errors_tell_the_fix() {
    assert!(KvmError::Missing.to_string().contains("modprobe kvm_intel"));
    assert!(KvmError::Permission.to_string().contains("group"));
    let lacking = KvmError::MissingCapability("KVM_CAP_IRQFD").to_string();
    assert!(lacking.contains("KVM_CAP_IRQFD"), "{lacking}");
}
