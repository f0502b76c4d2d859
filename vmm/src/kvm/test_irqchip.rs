// SPDX-License-Identifier: Apache-2.0
//! What the in-kernel interrupt chips think, for tests.

use kvm_bindings::{KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip};

use super::Vm;

fn chip(vm: &Vm, chip_id: u32) -> kvm_irqchip {
    let mut chip = kvm_irqchip { chip_id, ..Default::default() };
    vm.fd().get_irqchip(&mut chip).unwrap();
    chip
}

fn pic(vm: &Vm, chip_id: u32) -> u32 {
    // SAFETY: the chip is a PIC.
    unsafe { chip(vm, chip_id).chip.pic }.irr.into()
}

/// Requests in the PICs (bit n: IRQ n) without the cascade, and in the I/O APIC (bit n: pin n).
pub(crate) fn raised(vm: &Vm) -> (u32, u32) {
    let pics = pic(vm, KVM_IRQCHIP_PIC_MASTER) & !4 | pic(vm, KVM_IRQCHIP_PIC_SLAVE) << 8;
    // SAFETY: the chip is the I/O APIC.
    let ioapic = unsafe { chip(vm, KVM_IRQCHIP_IOAPIC).chip.ioapic }.irr;
    (pics, ioapic)
}
