// SPDX-License-Identifier: Apache-2.0
//! Model-specific registers that a kernel expects a value in.

use kvm_bindings::kvm_msr_entry;

const IA32_TSC: u32 = 0x10;
const IA32_SYSENTER_CS: u32 = 0x174;
const IA32_SYSENTER_ESP: u32 = 0x175;
const IA32_SYSENTER_EIP: u32 = 0x176;
const IA32_MISC_ENABLE: u32 = 0x1a0;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SYSCALL_MASK: u32 = 0xc000_0084;
const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// REP MOVS/STOS at full speed.
const FAST_STRINGS: u64 = 1 << 0;
/// MTRRs on, fixed ranges off, everything write-back. With the reset value (off) all memory counts as
/// uncached, and KVM honours that on Intel hosts once a passed-through device does non-coherent DMA.
const MTRR_ENABLED_WRITE_BACK: u64 = 1 << 11 | 6;

/// For every processor, at power-on and reset.
pub fn msrs() -> Vec<kvm_msr_entry> {
    entries(&[
        (IA32_SYSENTER_CS, 0),
        (IA32_SYSENTER_ESP, 0),
        (IA32_SYSENTER_EIP, 0),
        (STAR, 0),
        (LSTAR, 0),
        (CSTAR, 0),
        (SYSCALL_MASK, 0),
        (KERNEL_GS_BASE, 0),
        (IA32_TSC, 0),
        (IA32_MISC_ENABLE, FAST_STRINGS),
        (IA32_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK),
    ])
}

/// KVM's paravirtual MSRs, off. Needed when a vCPU is used again after a guest reset: KVM would go on
/// writing clock and steal time into memory that is the next kernel's. KVM refuses those whose CPUID bit
/// is hidden, so set them one by one and ignore a refusal. (The wall clock MSRs are requests, not state.)
pub fn paravirt_reset_msrs() -> Vec<kvm_msr_entry> {
    const MSR_KVM_SYSTEM_TIME: u32 = 0x12;
    const MSR_KVM_SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;
    const MSR_KVM_ASYNC_PF_EN: u32 = 0x4b56_4d02;
    const MSR_KVM_STEAL_TIME: u32 = 0x4b56_4d03;
    const MSR_KVM_PV_EOI_EN: u32 = 0x4b56_4d04;
    entries(&[
        (MSR_KVM_SYSTEM_TIME, 0),
        (MSR_KVM_SYSTEM_TIME_NEW, 0),
        (MSR_KVM_ASYNC_PF_EN, 0),
        (MSR_KVM_STEAL_TIME, 0),
        (MSR_KVM_PV_EOI_EN, 0),
    ])
}

fn entries(values: &[(u32, u64)]) -> Vec<kvm_msr_entry> {
    values.iter().map(|&(index, data)| kvm_msr_entry { index, data, ..Default::default() }).collect()
}
