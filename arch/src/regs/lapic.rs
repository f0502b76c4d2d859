// SPDX-License-Identifier: Apache-2.0
//! Local APIC: the two interrupt pins as a PC's firmware leaves them.

use kvm_bindings::kvm_lapic_state;

/// Register offsets and delivery modes (Intel SDM vol. 3A, 11.5.1).
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const LVT_MASKED: u32 = 1 << 16;
const LVT_DELIVERY_MODE: u32 = 0x700;
const DELIVERY_NMI: u32 = 4 << 8;
const DELIVERY_EXTINT: u32 = 7 << 8;

/// LINT1 = NMI on every processor; LINT0 = ExtINT on the first, so that the PIC's interrupts reach it
/// before the kernel knows of APICs ("virtual wire mode", MP specification 3.6.2), and masked on the others.
pub fn set_lint_pins(lapic: &mut kvm_lapic_state, is_bsp: bool) {
    set_lvt(lapic, LVT_LINT0, DELIVERY_EXTINT | if is_bsp { 0 } else { LVT_MASKED });
    set_lvt(lapic, LVT_LINT1, DELIVERY_NMI);
}

fn set_lvt(lapic: &mut kvm_lapic_state, offset: usize, value: u32) {
    let Some(register) = lapic.regs.get_mut(offset..offset + 4) else { return };
    let mut bytes = [0; 4];
    for (byte, raw) in bytes.iter_mut().zip(register.iter()) {
        *byte = *raw as u8;
    }
    let value = u32::from_le_bytes(bytes) & !(LVT_DELIVERY_MODE | LVT_MASKED) | value;
    for (raw, byte) in register.iter_mut().zip(value.to_le_bytes()) {
        *raw = byte as _;
    }
}
