// SPDX-License-Identifier: Apache-2.0
use kvm_bindings::{kvm_regs, kvm_sregs};

use super::*;

#[test]
fn emulation_failure_names_itself_and_the_instruction() {
    // Flags say that bytes follow: 3 of them, ud2 and a nop.
    let bytes = u64::from_le_bytes([3, 0x0f, 0x0b, 0x90, 0xee, 0xee, 0xee, 0xee]);
    let text = CrashCause::InternalError { suberror: 1, data: vec![1, bytes, 0] }.to_string();
    assert!(text.contains("KVM_INTERNAL_ERROR_EMULATION"), "{text}");
    assert!(text.contains("instruction 0f 0b 90,"), "{text}");
}

#[test]
fn instruction_length_from_kvm_is_not_trusted() {
    let text = CrashCause::InternalError { suberror: 1, data: vec![1, 0xff, 0] }.to_string();
    assert!(text.contains(&format!("instruction {}", ["00"; 15].join(" "))), "{text}");
    let short = CrashCause::InternalError { suberror: 1, data: vec![1, 0xff] }.to_string();
    assert!(!short.contains("instruction 0"), "{short}");
    let unflagged = CrashCause::InternalError { suberror: 1, data: vec![0, 3, 0] }.to_string();
    assert!(!unflagged.contains("instruction 0"), "{unflagged}");
}

#[test]
fn other_suberrors_have_names_or_say_that_they_have_none() {
    let text = |suberror| CrashCause::InternalError { suberror, data: vec![] }.to_string();
    assert!(text(2).contains("SIMUL_EX"));
    assert!(text(3).contains("DELIVERY_EV"));
    assert!(text(4).contains("UNEXPECTED_EXIT_REASON"));
    assert!(text(77).contains("suberror 77 (a kind this VMM does not know)"));
}

#[test]
fn report_shows_registers_segments_and_code() {
    let mut sregs =
        kvm_sregs { cr0: 0x8005_0033, cr2: 0xdead_0000, cr3: 0x1_2000, cr4: 0x20, efer: 0x500, ..Default::default() };
    sregs.cs = kvm_segment {
        selector: 0x10,
        base: 0,
        limit: 0xffff_ffff,
        type_: 0xb,
        present: 1,
        s: 1,
        l: 1,
        ..Default::default()
    };
    let regs = kvm_regs { rip: 0xffff_ffff_8100_0000, rsp: 0x7ff0, rax: 0x1122, r15: 0x15, ..Default::default() };
    let registers = Registers { regs, sregs, code: vec![0x0f, 0x0b] };
    let report = CrashReport {
        vcpu: 2,
        cause: CrashCause::FailEntry { reason: 0x8000_0021, cpu: 5 },
        registers: Some(Box::new(registers)),
    };
    let text = report.to_string();
    for part in [
        "vCPU 2: the processor refused to run the guest: hardware reason 0x80000021 on host CPU 5",
        "rip ffffffff81000000  rsp 0000000000007ff0",
        "rax 0000000000001122",
        "r15 0000000000000015",
        "cr0 0000000080050033  cr2 00000000dead0000  cr3 0000000000012000  cr4 0000000000000020",
        "efer 000000000000500",
        "cs  0010  base 0000000000000000  limit ffffffff  type b dpl 0 present code/data 64-bit",
        "code at rip: 0f 0b",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn report_without_registers_is_one_line() {
    let report = CrashReport { vcpu: 0, cause: CrashCause::Panic("index out of range".into()), registers: None };
    assert_eq!(report.to_string(), "vCPU 0: internal error of the VMM, please report: index out of range");
}
