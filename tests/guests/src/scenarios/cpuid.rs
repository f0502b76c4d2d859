// SPDX-License-Identifier: Apache-2.0
//! What the processor says of itself, for the test to compare.

use core::arch::x86_64::__cpuid;

use crate::println;

/// Highest leaves, signature and flags, in the order of the leaves.
pub fn run() {
    let (basic, features) = (__cpuid(0), __cpuid(1));
    let extended = __cpuid(0x8000_0000);
    println!(
        "GUEST cpuid basic={:#x} signature={:#x} ecx={:#x} edx={:#x} extended={:#x} wide={}",
        basic.eax,
        features.eax,
        features.ecx,
        features.edx,
        extended.eax,
        __cpuid(0x8000_0001).edx >> 29 & 1
    );
}
