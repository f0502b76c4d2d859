// SPDX-License-Identifier: Apache-2.0
//! What an x86-64 guest finds when it starts: where things are ([`layout`]), the loaded kernel and its
//! boot parameters ([`boot`]), the tables that describe the machine ([`mptable`], [`acpi`], [`smbios`]), and the
//! processors' identity and first state ([`cpuid`], [`regs`]).
//!
//! Everything here works on guest memory and on plain KVM structs: no ioctl, no file descriptor but the
//! kernel and initrd images. Those images are untrusted.

#![forbid(unsafe_code)]

pub mod acpi;
pub mod boot;
pub mod cpuid;
pub mod e820;
pub mod flash;
pub mod irq;
pub mod layout;
pub mod mptable;
pub mod regs;
pub mod smbios;

#[cfg(test)]
mod test_support;
