// SPDX-License-Identifier: Apache-2.0
//! The processors' first state. Pure functions over KVM's structs; the ioctls are the caller's.
//!
//! The first processor (BSP) gets CPUID, [`msrs`], [`fpu`], [`set_lint_pins`], then the registers of [`bsp`].
//! The others (APs) get all of that but the registers: with the in-kernel local APIC they wait in
//! KVM_MP_STATE_UNINITIALIZED for INIT and SIPI from the kernel, which set every register they start with.

mod entry;
mod lapic;
mod msr;
pub(crate) mod tables;

use kvm_bindings::{kvm_dtable, kvm_fpu, kvm_regs, kvm_segment, kvm_sregs};
use vm_memory::Address;

pub use lapic::set_lint_pins;
pub use msr::{msrs, paravirt_reset_msrs};

use crate::layout;
pub use entry::Entry;

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_NE: u64 = 1 << 5;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Bit 1 is always set; interrupts off.
const RFLAGS: u64 = 1 << 1;

/// General registers for `entry`; `sregs` comes from KVM_GET_SREGS, and what the boot protocols ask for is
/// put over it (APIC base and the like stay).
pub fn bsp(entry: &Entry, sregs: &mut kvm_sregs) -> kvm_regs {
    let long = matches!(entry, Entry::Long { .. });
    set_segments(sregs, long);
    sregs.cr2 = 0;
    sregs.cr8 = 0;
    if long {
        sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
        sregs.cr3 = layout::PAGE_TABLES.raw_value();
        sregs.cr4 = CR4_PAE;
        sregs.efer = EFER_LME | EFER_LMA;
    } else {
        sregs.cr0 = CR0_PE | CR0_ET;
        sregs.cr3 = 0;
        sregs.cr4 = 0;
        sregs.efer = 0;
    }
    // The 32-bit protocol wants EBP, EDI and EBX zero; PVH leaves all but EBX undefined.
    let regs = kvm_regs { rflags: RFLAGS, ..Default::default() };
    match *entry {
        Entry::Long { rip, zero_page } => {
            kvm_regs { rip, rsi: zero_page.raw_value(), rsp: layout::BOOT_STACK_TOP.raw_value(), ..regs }
        }
        Entry::Protected32 { eip, zero_page } => kvm_regs { rip: eip.into(), rsi: zero_page.raw_value(), ..regs },
        Entry::Pvh { eip, start_info } => kvm_regs { rip: eip.into(), rbx: start_info.raw_value(), ..regs },
    }
}

/// Segment caches as if loaded from the GDT of [`tables::write_gdt`]: CS 0x10, data 0x18, TR 0x20.
fn set_segments(sregs: &mut kvm_sregs, long: bool) {
    let flat = kvm_segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..Default::default() };
    let data = kvm_segment { selector: tables::BOOT_DS, type_: 0x3, db: 1, ..flat };
    // Execute/read, accessed; exactly one of L and D.
    sregs.cs = kvm_segment { selector: tables::BOOT_CS, type_: 0xb, l: long.into(), db: (!long).into(), ..flat };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    // VMX refuses to enter a guest without a busy TSS.
    sregs.tr = kvm_segment {
        selector: tables::BOOT_TSS,
        type_: 0xb,
        present: 1,
        limit: tables::TSS_LIMIT,
        ..Default::default()
    };
    sregs.ldt = kvm_segment { type_: 0x2, unusable: 1, ..Default::default() };
    sregs.gdt = kvm_dtable { base: layout::GDT.raw_value(), limit: tables::GDT_LIMIT, ..Default::default() };
    sregs.idt = kvm_dtable::default();
}

/// FPU as FNINIT leaves it, and MXCSR's reset value.
pub fn fpu() -> kvm_fpu {
    kvm_fpu { fcw: 0x37f, mxcsr: 0x1f80, ..Default::default() }
}

#[cfg(test)]
#[path = "regs_tests.rs"]
mod tests;
