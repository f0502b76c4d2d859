// SPDX-License-Identifier: Apache-2.0
//! A processor's identity: its APIC id, and that it is a package of its own. Every leaf that KVM copies from the
//! host CPU with the host's ids or counts is set right here.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::{CpuidFull, each, max_function};

const FEATURES: u32 = 1;
const INTEL_CACHES: u32 = 4;
const X2APIC_TOPOLOGY: u32 = 0xb;
const X2APIC_TOPOLOGY_V2: u32 = 0x1f;
const AMD_FEATURES: u32 = 0x8000_0001;
const AMD_CORE_COUNT: u32 = 0x8000_0008;
const AMD_CACHES: u32 = 0x8000_001d;
const AMD_TOPOLOGY: u32 = 0x8000_001e;
const AMD_TOPOLOGY_V2: u32 = 0x8000_0026;

/// Sets ids and counts for processor `apic_id`.
pub(super) fn apply(cpuid: &mut CpuId, apic_id: u8) -> Result<(), CpuidFull> {
    const HYPER_THREADING: u32 = 1 << 28;
    for entry in each(cpuid, FEATURES) {
        // EBX: brand and CLFLUSH size stay; one logical processor; initial APIC id.
        entry.ebx = entry.ebx & 0xffff | 1 << 16 | u32::from(apic_id) << 24;
        entry.edx &= !HYPER_THREADING;
    }
    // EAX: cores per package in 26-31, sharers of this cache in 14-25, both minus one.
    each(cpuid, INTEL_CACHES).for_each(|entry| entry.eax &= 0x3fff);
    each(cpuid, AMD_CACHES).for_each(|entry| entry.eax &= !(0xfff << 14));
    const CMP_LEGACY: u32 = 1 << 1;
    each(cpuid, AMD_FEATURES).for_each(|entry| entry.ecx &= !CMP_LEGACY);
    // ECX: cores minus one in 0-7, APIC id bits per package in 12-15.
    each(cpuid, AMD_CORE_COUNT).for_each(|entry| entry.ecx &= !0xf0ff);
    for entry in each(cpuid, AMD_TOPOLOGY) {
        (entry.eax, entry.ebx, entry.ecx, entry.edx) = (apic_id.into(), 0, 0, 0);
    }
    // The highest basic leaf may stay above 0x1F: a kernel that finds that leaf empty goes on with 0xB.
    cpuid.retain(|e| ![X2APIC_TOPOLOGY, X2APIC_TOPOLOGY_V2, AMD_TOPOLOGY_V2].contains(&e.function));
    if max_function(cpuid, 0) >= X2APIC_TOPOLOGY {
        const THREAD: u32 = 1;
        const CORE: u32 = 2;
        for (level, kind) in [(0, THREAD), (1, CORE), (2, 0)] {
            cpuid.push(x2apic_level(level, kind, apic_id)).map_err(|_| CpuidFull)?;
        }
    }
    Ok(())
}

/// A level of leaf 0xB: one logical processor, and no bit of the APIC id below the package. The level of
/// kind 0 ends the list.
fn x2apic_level(level: u32, kind: u32, apic_id: u8) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        function: X2APIC_TOPOLOGY,
        index: level,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: 0,
        ebx: u32::from(kind != 0),
        ecx: kind << 8 | level,
        edx: apic_id.into(),
        ..Default::default()
    }
}
