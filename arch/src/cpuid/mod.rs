// SPDX-License-Identifier: Apache-2.0
//! What the guest's processors say about themselves. Starts from what KVM supports
//! (KVM_GET_SUPPORTED_CPUID), which is the host's CPU, and hides some of it; or shows a processor of another year
//! instead, as far as KVM supports what it had. Pure.

pub mod era;
mod profile;
mod topology;

use kvm_bindings::{CpuId, kvm_cpuid_entry2};
use thiserror::Error;

pub use era::Era;

/// Which features the guest sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CpuProfile {
    /// All that KVM can keep its word on.
    #[default]
    Host,
    /// Without what kernels from before about 2010, or tiny ones, trip over; see `profile.rs`. Not for user
    /// space built for x86-64-v2 or later, which needs CMPXCHG16B.
    Legacy,
    /// A processor of a year.
    Era(Era),
}

/// KVM's list has no room for a needed leaf.
#[derive(Debug, Error)]
#[error("the CPUID list is full; KVM reported more leaves than {}", kvm_bindings::KVM_MAX_CPUID_ENTRIES)]
pub struct CpuidFull;

/// Turns KVM's supported list into the list of processor `vcpu`, whose APIC id is `vcpu`: features by
/// profile, and a topology of one package of one core per processor, which kernels of every age
/// understand without the cache and core leaves of the host.
pub fn filter(cpuid: &mut CpuId, profile: CpuProfile, vcpu: u8) -> Result<(), CpuidFull> {
    match profile {
        CpuProfile::Era(era) => era::apply(cpuid, era)?,
        CpuProfile::Host | CpuProfile::Legacy => profile::apply(cpuid, profile),
    }
    topology::apply(cpuid, vcpu)
}

/// Width of physical addresses in bits by the list; 36 if it does not say.
pub fn physical_bits(cpuid: &CpuId) -> u8 {
    const ADDRESS_SIZES: u32 = 0x8000_0008;
    let entry = cpuid.as_slice().iter().find(|e| e.function == ADDRESS_SIZES);
    entry.map_or(36, |e| (e.eax & 0xff) as u8)
}

/// Highest function of the group (basic or extended) that `group` starts.
fn max_function(cpuid: &CpuId, group: u32) -> u32 {
    cpuid.as_slice().iter().find(|e| e.function == group).map_or(0, |e| e.eax)
}

/// A leaf, or its first subleaf.
fn find(cpuid: &CpuId, function: u32) -> Option<kvm_cpuid_entry2> {
    cpuid.as_slice().iter().copied().find(|entry| entry.function == function && entry.index == 0)
}

/// All subleaves of a function.
fn each(cpuid: &mut CpuId, function: u32) -> impl Iterator<Item = &mut kvm_cpuid_entry2> {
    cpuid.as_mut_slice().iter_mut().filter(move |e| e.function == function)
}

#[cfg(test)]
#[path = "cpuid_tests.rs"]
mod tests;
