// SPDX-License-Identifier: Apache-2.0
use kvm_bindings::kvm_lapic_state;
use vm_memory::GuestAddress;

use super::*;
use crate::test_support::{memory, read, u64_at};

fn first_state(entry: Entry) -> (kvm_regs, kvm_sregs) {
    // As KVM_GET_SREGS gives it: caches off, some APIC base, leftovers of an earlier run.
    let mut sregs = kvm_sregs { cr0: 0x6000_0010, cr2: 7, apic_base: 0xfee0_0900, efer: 0xd01, ..Default::default() };
    sregs.ds.unusable = 1;
    let regs = bsp(&entry, &mut sregs);
    assert_eq!(sregs.apic_base, 0xfee0_0900);
    (regs, sregs)
}

#[test]
fn long_entry_follows_the_64_bit_boot_protocol() {
    let (regs, sregs) = first_state(Entry::Long { rip: 0x10_0200, zero_page: GuestAddress(0x7000) });
    assert_eq!((regs.rip, regs.rsi, regs.rflags), (0x10_0200, 0x7000, 2));
    assert_eq!((sregs.cs.selector, sregs.cs.l, sregs.cs.db), (0x10, 1, 0));
    assert_eq!((sregs.ds.selector, sregs.ss.selector, sregs.es.selector), (0x18, 0x18, 0x18));
    assert_eq!(sregs.ds.unusable, 0);
    // KVM accepts long mode with PG, PE, PAE, LME and LMA together.
    assert_eq!((sregs.cr0 & 0xe000_0001, sregs.cr4, sregs.efer), (0x8000_0001, 0x20, 0x500));
    assert_eq!(sregs.cr3, layout::PAGE_TABLES.0);
    assert_eq!((sregs.tr.type_, sregs.tr.present, sregs.tr.unusable), (0xb, 1, 0));
}

#[test]
fn protected_entry_follows_the_32_bit_boot_protocol() {
    let (regs, sregs) = first_state(Entry::Protected32 { eip: 0x10_0000, zero_page: GuestAddress(0x7000) });
    assert_eq!((regs.rip, regs.rsi), (0x10_0000, 0x7000));
    assert_eq!((regs.rbx, regs.rbp, regs.rdi), (0, 0, 0));
    assert_eq!((sregs.cr0, sregs.cr4, sregs.efer), (0x11, 0, 0), "paging off, caches on");
    assert_eq!((sregs.cs.l, sregs.cs.db, sregs.cs.limit, sregs.cs.base), (0, 1, u32::MAX, 0));
    assert_eq!(regs.rflags & 1 << 9, 0, "interrupts off");
}

#[test]
fn pvh_entry_passes_the_start_info_in_ebx() {
    let (regs, sregs) = first_state(Entry::Pvh { eip: 0x10_0040, start_info: GuestAddress(0x2000) });
    assert_eq!((regs.rip, regs.rbx, sregs.cr0), (0x10_0040, 0x2000, 0x11));
    assert_eq!((sregs.tr.limit, sregs.tr.base), (0x67, 0));
}

#[test]
fn page_tables_map_4_gib_onto_themselves() {
    let mem = memory(1 << 20);
    tables::write_page_tables(&mem).unwrap();
    let entry = |table: u64, index: u64| u64_at(&read(&mem, (table & !0xfff) + index * 8, 8), 0);
    for address in [0, 0x10_0200, 0x3fff_ffff, 0x4000_0000, 0xbfff_f000, 0xfee0_0000, 0xffff_ffff_u64] {
        let pml4e = entry(layout::PAGE_TABLES.0, address >> 39);
        let pdpte = entry(pml4e, address >> 30 & 511);
        let pde = entry(pdpte, address >> 21 & 511);
        assert_eq!([pml4e & 3, pdpte & 3, pde & 0x83], [3, 3, 0x83], "present, writable, 2 MiB");
        assert_eq!((pde & !0x1f_ffff) + (address & 0x1f_ffff), address);
    }
    let beyond = entry(entry(layout::PAGE_TABLES.0, 0), 4);
    assert_eq!((beyond, entry(layout::PAGE_TABLES.0, 1)), (0, 0), "nothing above");
}

#[test]
fn interrupt_pins_keep_the_other_bits() {
    let mut lapic = kvm_lapic_state::default();
    lapic.regs[0x350] = 0x33;
    lapic.regs[0x352] = 1; // masked, as after reset
    lapic.regs[0x362] = 1;
    set_lint_pins(&mut lapic, true);
    assert_eq!(lapic.regs[0x350..0x354], [0x33, 7, 0, 0]);
    assert_eq!(lapic.regs[0x360..0x364], [0, 4, 0, 0]);
    set_lint_pins(&mut lapic, false);
    assert_eq!(lapic.regs[0x350..0x354], [0x33, 7, 1, 0], "the PIC reaches the first processor alone");
}

#[test]
fn memory_type_is_write_back() {
    let def_type = msrs().into_iter().find(|m| m.index == 0x2ff).unwrap();
    assert_eq!(def_type.data, 0x806);
    assert_eq!((fpu().fcw, fpu().mxcsr), (0x37f, 0x1f80));
}

#[test]
fn msr_lists_have_no_index_twice() {
    let mut all: Vec<u32> = msrs().iter().chain(&paravirt_reset_msrs()).map(|m| m.index).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}
