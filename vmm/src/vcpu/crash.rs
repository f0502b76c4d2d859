// SPDX-License-Identifier: Apache-2.0
//! A guest that cannot go on, in a form a person can read and put in a bug report.

use std::fmt;

use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
    KVM_INTERNAL_ERROR_SIMUL_EX, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, kvm_dtable, kvm_segment,
};

use crate::kvm::Registers;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashCause {
    /// `KVM_EXIT_INTERNAL_ERROR`.
    InternalError {
        /// `KVM_INTERNAL_ERROR_*`.
        suberror: u32,
        /// What KVM tells about it.
        data: Vec<u64>,
    },
    /// `KVM_EXIT_FAIL_ENTRY`: the processor refused the guest's state.
    FailEntry {
        /// Processor-specific reason.
        reason: u64,
        /// Host processor.
        cpu: u32,
    },
    /// KVM could not give the guest this memory.
    MemoryFault {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// `KVM_EXIT_SYSTEM_EVENT` other than shutdown and reset.
    SystemEvent(u32),
    /// A port access of a width that ports do not have.
    PortWidth {
        /// The port.
        port: u16,
        /// Bytes.
        size: u8,
    },
    /// An exit that this machine never asked for.
    Unsupported(u32),
    /// KVM_RUN itself failed.
    Run(String),
    /// The thread could not be set up.
    Start(String),
    /// A mistake in this program.
    Panic(String),
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InternalError { suberror, data } => internal_error(f, *suberror, data),
            Self::FailEntry { reason, cpu } => {
                write!(f, "the processor refused to run the guest: hardware reason {reason:#x} on host CPU {cpu}")
            }
            Self::MemoryFault { address, size } => {
                write!(f, "KVM has no memory for the guest at {address:#x} ({size:#x} bytes)")
            }
            Self::SystemEvent(event) => {
                write!(f, "KVM reports system event {event} (3 is a crash the guest announced)")
            }
            Self::PortWidth { port, size } => write!(f, "access of {size} bytes to port {port:#x}"),
            Self::Unsupported(reason) => write!(f, "KVM exit reason {reason}, which this VMM does not handle"),
            Self::Run(error) => write!(f, "KVM_RUN failed: {error}"),
            Self::Start(error) => write!(f, "the vCPU's thread could not be set up: {error}"),
            Self::Panic(message) => write!(f, "internal error of the VMM, please report: {message}"),
        }
    }
}

fn internal_error(f: &mut fmt::Formatter<'_>, suberror: u32, data: &[u64]) -> fmt::Result {
    let name = match suberror {
        KVM_INTERNAL_ERROR_EMULATION => "KVM_INTERNAL_ERROR_EMULATION: KVM cannot emulate the instruction",
        KVM_INTERNAL_ERROR_SIMUL_EX => "KVM_INTERNAL_ERROR_SIMUL_EX: exceptions at the same time",
        KVM_INTERNAL_ERROR_DELIVERY_EV => "KVM_INTERNAL_ERROR_DELIVERY_EV: cannot deliver an event",
        KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => {
            "KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: KVM does not know why the processor stopped"
        }
        _ => "a kind this VMM does not know",
    };
    write!(f, "KVM internal error, suberror {suberror} ({name})")?;
    if let Some(bytes) = emulated_instruction(suberror, data) {
        write!(f, ", instruction {}", Hex(&bytes))?;
    }
    if !data.is_empty() {
        write!(f, ", data {data:x?}")?;
    }
    Ok(())
}

/// `emulation_failure` in `struct kvm_run`: flags, then one byte of length and 15 of code.
fn emulated_instruction(suberror: u32, data: &[u64]) -> Option<Vec<u8>> {
    let [flags, low, high, ..] = data else { return None };
    let has_bytes = flags & u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
    if suberror != KVM_INTERNAL_ERROR_EMULATION || !has_bytes {
        return None;
    }
    let bytes: Vec<u8> = low.to_le_bytes().into_iter().chain(high.to_le_bytes()).collect();
    let length = usize::from(bytes[0]).min(15);
    bytes.get(1..1 + length).map(<[u8]>::to_vec)
}

/// What happened to which vCPU, and its registers where they could be read.
#[derive(Clone, Debug)]
pub struct CrashReport {
    /// Index of the vCPU.
    pub vcpu: u16,
    /// What happened.
    pub cause: CrashCause,
    /// Registers at that moment.
    pub registers: Option<Box<Registers>>,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {}: {}", self.vcpu, self.cause)?;
        match &self.registers {
            Some(registers) => write!(f, "\n{registers}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (r, s) = (&self.regs, &self.sregs);
        writeln!(f, "rip {:016x}  rsp {:016x}  rflags {:08x}", r.rip, r.rsp, r.rflags)?;
        writeln!(f, "rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}", r.rax, r.rbx, r.rcx, r.rdx)?;
        writeln!(f, "rsi {:016x}  rdi {:016x}  rbp {:016x}  r8  {:016x}", r.rsi, r.rdi, r.rbp, r.r8)?;
        writeln!(f, "r9  {:016x}  r10 {:016x}  r11 {:016x}  r12 {:016x}", r.r9, r.r10, r.r11, r.r12)?;
        writeln!(f, "r13 {:016x}  r14 {:016x}  r15 {:016x}", r.r13, r.r14, r.r15)?;
        writeln!(f, "cr0 {:016x}  cr2 {:016x}  cr3 {:016x}  cr4 {:016x}", s.cr0, s.cr2, s.cr3, s.cr4)?;
        writeln!(f, "efer {:015x}  apic base {:x}", s.efer, s.apic_base)?;
        let segments = [
            ("cs", s.cs),
            ("ds", s.ds),
            ("es", s.es),
            ("fs", s.fs),
            ("gs", s.gs),
            ("ss", s.ss),
            ("tr", s.tr),
            ("ldt", s.ldt),
        ];
        segments.iter().try_for_each(|(name, segment)| write_segment(f, name, segment))?;
        write_table(f, "gdt", &s.gdt)?;
        write_table(f, "idt", &s.idt)?;
        match self.code.as_slice() {
            [] => write!(f, "code at rip: not in guest memory"),
            code => write!(f, "code at rip: {}", Hex(code)),
        }
    }
}

fn write_segment(f: &mut fmt::Formatter<'_>, name: &str, s: &kvm_segment) -> fmt::Result {
    write!(
        f,
        "{name:<3} {:04x}  base {:016x}  limit {:08x}  type {:x} dpl {}",
        s.selector, s.base, s.limit, s.type_, s.dpl
    )?;
    let flags =
        [(s.present, " present"), (s.s, " code/data"), (s.db, " 32-bit"), (s.l, " 64-bit"), (s.unusable, " unusable")];
    flags.iter().filter(|(set, _)| *set != 0).try_for_each(|(_, name)| f.write_str(name))?;
    writeln!(f)
}

fn write_table(f: &mut fmt::Formatter<'_>, name: &str, table: &kvm_dtable) -> fmt::Result {
    writeln!(f, "{name:<3}       base {:016x}  limit {:08x}", table.base, table.limit)
}

/// Bytes as `0f 0b`.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, byte)| {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{byte:02x}")
        })
    }
}

#[cfg(test)]
#[path = "crash_tests.rs"]
mod tests;
