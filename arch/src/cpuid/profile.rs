// SPDX-License-Identifier: Apache-2.0
//! Tables of the features each profile hides, with reasons.

use kvm_bindings::CpuId;

use super::{CpuProfile, each, max_function};

/// Register of a CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// A set of feature bits that a profile hides.
#[derive(Debug)]
pub(super) struct Hidden {
    pub function: u32,
    pub register: Register,
    pub bits: u32,
    pub reason: &'static str,
}

const fn hide(function: u32, register: Register, bits: u32, reason: &'static str) -> Hidden {
    Hidden { function, register, bits, reason }
}

const FEATURES: u32 = 1;
const MONITOR_LEAF: u32 = 5;
const EXTENDED_FEATURES: u32 = 0x8000_0001;
const SVM_LEAF: u32 = 0x8000_000a;
const ADDRESS_SIZES: u32 = 0x8000_0008;
/// FXSAVE saves the x87 error pointers always. On an AMD processor that does not say so, Linux runs FNCLEX and FILD
/// at task switches to hide stale ones (`fxsave_leak` in arch/x86/kernel/cpu/amd.c), and software KVM cannot.
pub(super) const XSAVEERPTR: u32 = 1 << 2;
pub(super) const KVM_FEATURES: u32 = 0x4000_0001;
/// kvmclock in both forms and its stable flag, no delay after port I/O, steal time, EOI without exit.
pub(super) const KVM_OLD_FEATURES: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 24;

use Register::{Eax, Ebx, Ecx, Edx};

/// Hidden from every guest.
pub(super) const ALWAYS: &[Hidden] = &[
    hide(FEATURES, Ecx, 1 << 3, "MONITOR/MWAIT: exits in KVM and runs as a no-op; the idle loop would spin"),
    hide(FEATURES, Ecx, 1 << 5, "VMX: guests do not nest virtual machines; drivers that probe for it find nothing"),
    hide(FEATURES, Ecx, 1 << 27, "OSXSAVE mirrors CR4, which is clear at reset; KVM sets it when the guest does"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 2, "SVM: as VMX"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 29, "MONITORX/MWAITX: as MONITOR"),
];

/// Hidden from old and tiny kernels on top.
pub(super) const LEGACY: &[Hidden] = &[
    hide(FEATURES, Ecx, 1 << 12, "FMA: needs AVX"),
    hide(FEATURES, Ecx, 1 << 13, "CMPXCHG16B: SLUB's fast path uses it; software KVM cannot run it in ring 0"),
    hide(FEATURES, Ecx, 1 << 15, "PDCM: points at the performance MSRs, which go with leaf 0xA"),
    hide(FEATURES, Ecx, 1 << 17, "PCID: goes with INVPCID, whose leaf 7 is not shown"),
    hide(FEATURES, Ecx, 1 << 21, "x2APIC: kernels from 2.6.28 on want interrupt remapping with it, and there is none"),
    hide(
        FEATURES,
        Ecx,
        1 << 26,
        "XSAVE: later than these kernels, or just new to them; every later vector extension hangs on it",
    ),
    hide(FEATURES, Ecx, 1 << 28, "AVX: needs XSAVE; user space that tests this bit alone dies of #UD"),
    hide(FEATURES, Ecx, 1 << 29, "F16C: needs AVX"),
    hide(FEATURES, Ecx, 1 << 30, "RDRAND: later than these kernels; nothing is lost"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 10, "IBS: its MSRs are not there"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 11, "XOP: needs AVX"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 12 | 1 << 13, "SKINIT, WDT: nothing behind them"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 15, "LWP: needs XSAVE"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 16, "FMA4: needs AVX"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 21, "TBM: encoded as XOP"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 22, "TOPOEXT: its leaves lie beyond the highest one shown"),
    hide(EXTENDED_FEATURES, Ecx, 1 << 23 | 1 << 24, "core and bridge counters: as PDCM"),
    hide(
        EXTENDED_FEATURES,
        Edx,
        1 << 26,
        "1 GiB pages: later than the CPUs these kernels were tested on; nothing is lost",
    ),
    hide(ADDRESS_SIZES, Ebx, !XSAVEERPTR, "CLZERO, IBPB and all else that came after 2015"),
    hide(
        KVM_FEATURES,
        Eax,
        !KVM_OLD_FEATURES,
        "hypercalls for IPIs, TLB flushes and locks, async page faults: later than these kernels, and not every \
         software KVM completes a hypercall",
    ),
];

/// Highest basic leaf of [`CpuProfile::Legacy`]. What goes: leaf 7 (SMEP, SMAP, FSGSBASE, UMIP, INVPCID, AVX2,
/// AVX-512, CET, LA57 and the speculation controls), 0xA (counters, which NMI watchdogs of 2.6 program), 0xB
/// and 0x1F (x2APIC topology), 0xD (XSAVE), tracing, SGX, AMX. Firmware offers the same as "Limit CPUID".
pub(super) const LEGACY_MAX_BASIC: u32 = 6;
/// Highest extended leaf: address sizes, the last that 2.6 reads.
pub(super) const LEGACY_MAX_EXTENDED: u32 = ADDRESS_SIZES;
const BASIC: u32 = 0;
const HYPERVISOR: u32 = 0x4000_0000;
const EXTENDED: u32 = 0x8000_0000;

/// Hides what the profile hides. Hypervisor leaves (0x4000_0000 and up) stay: kvmclock is good for every
/// kernel that knows it.
pub(super) fn apply(cpuid: &mut CpuId, profile: CpuProfile) {
    hide_all(cpuid, ALWAYS);
    for function in [MONITOR_LEAF, SVM_LEAF] {
        each(cpuid, function).for_each(|entry| (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0));
    }
    if profile == CpuProfile::Legacy {
        hide_all(cpuid, LEGACY);
        limit(cpuid, BASIC, LEGACY_MAX_BASIC);
        limit(cpuid, EXTENDED, LEGACY_MAX_EXTENDED);
    }
}

fn hide_all(cpuid: &mut CpuId, table: &[Hidden]) {
    for hidden in table {
        for entry in each(cpuid, hidden.function) {
            let register = match hidden.register {
                Register::Eax => &mut entry.eax,
                Register::Ebx => &mut entry.ebx,
                Register::Ecx => &mut entry.ecx,
                Register::Edx => &mut entry.edx,
            };
            if *register & hidden.bits != 0 {
                tracing::trace!(
                    function = hidden.function,
                    bits = hidden.bits,
                    reason = hidden.reason,
                    "hidden in CPUID"
                );
            }
            *register &= !hidden.bits;
        }
    }
}

/// Lowers the highest function of a group and drops the leaves beyond.
fn limit(cpuid: &mut CpuId, group: u32, highest: u32) {
    if max_function(cpuid, group) <= highest {
        return;
    }
    each(cpuid, group).for_each(|entry| entry.eax = highest);
    let group_end = if group == BASIC { HYPERVISOR } else { u32::MAX };
    cpuid.retain(|entry| entry.function <= highest || entry.function >= group_end);
}
