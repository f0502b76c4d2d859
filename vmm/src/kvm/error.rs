// SPDX-License-Identifier: Apache-2.0
//! What can go wrong when a VM is built, in words that tell the operator what to do.
#![forbid(unsafe_code)]

use std::io;

use thiserror::Error;
use vmm_sys_util::errno;

/// Why KVM, or the memory for a guest, could not be had.
#[derive(Debug, Error)]
pub enum KvmError {
    /// There is no `/dev/kvm`.
    #[error(
        "/dev/kvm does not exist: load the KVM module (modprobe kvm_intel or kvm_amd), and check that virtualisation is enabled in the firmware or, in a virtual machine, that nested virtualisation is"
    )]
    Missing,
    /// The user may not open `/dev/kvm`.
    #[error(
        "no permission to open /dev/kvm for reading and writing: add the user to the group that owns it (usually kvm)"
    )]
    Permission,
    /// `/dev/kvm` exists and cannot be opened for another reason.
    #[error("cannot open /dev/kvm; is a KVM module (kvm_intel or kvm_amd) loaded?")]
    Open(#[source] io::Error),
    /// The kernel speaks another KVM API.
    #[error("KVM API version {0} instead of 12: this kernel is not supported")]
    ApiVersion(i32),
    /// The kernel's KVM lacks something that has no substitute.
    #[error("this kernel's KVM lacks {0}: use a newer kernel, or one built with it")]
    MissingCapability(&'static str),
    /// A KVM call failed.
    #[error("cannot {what}")]
    Call {
        /// What was tried, such as `create the virtual machine`.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// More vCPUs than KVM has on this host.
    #[error("vCPU {index} is too many: KVM on this host allows {max} vCPUs per guest")]
    TooManyVcpus {
        /// Index of the refused vCPU.
        index: u16,
        /// Number of vCPUs KVM allows.
        max: usize,
    },
    /// A model-specific register was not accepted.
    #[error("KVM does not accept the value {value:#x} for MSR {index:#x}")]
    Msr {
        /// Number of the register.
        index: u32,
        /// Refused value.
        value: u64,
    },
    /// A range of guest RAM is empty, not page-aligned, out of order, or passes the end of the address space.
    #[error("guest memory range {size:#x} bytes at {base:#x} {problem}")]
    MemoryRange {
        /// First guest-physical address.
        base: u64,
        /// Bytes.
        size: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The host cannot give that much memory.
    #[error(
        "the guest wants {wanted_mib} MiB of memory, the host can give {limit_mib} MiB ({why}): use less, or free memory on the host"
    )]
    NotEnoughMemory {
        /// Size of guest RAM in MiB, rounded up.
        wanted_mib: u64,
        /// What the host can give in MiB.
        limit_mib: u64,
        /// Which limit that is.
        why: &'static str,
    },
    /// The pool of huge pages is too small.
    #[error(
        "the guest's memory needs {needed} huge pages of {page}, {available} are free: reserve them with 'echo {pages} > /sys/kernel/mm/hugepages/hugepages-{size_kib}kB/nr_hugepages' (best right after boot), or use less memory"
    )]
    HugePages {
        /// Pages wanted.
        needed: u64,
        /// Pages that are free and promised to nobody.
        available: u64,
        /// Size of a page, for people.
        page: String,
        /// Pages that the pool would have to have.
        pages: u64,
        /// Size of a page in KiB.
        size_kib: u64,
    },
    /// The host has no huge pages of that size.
    #[error(
        "this host has no huge pages of {page}: use hugepage_size=2M, or boot the host with hugepagesz={page} hugepages=N if its processors have them"
    )]
    NoHugePages {
        /// Size of a page, for people.
        page: String,
    },
    /// Memory could not be had before the guest starts.
    #[error(
        "cannot allocate all of the guest's memory before it starts (prefault=on): use less, or free memory on the host"
    )]
    Prefault {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The address space for guest RAM could not be reserved.
    #[error(
        "cannot map {size_mib} MiB for guest memory; is there a limit on address space (ulimit -v) or vm.overcommit_memory=2?"
    )]
    MapMemory {
        /// Size in MiB.
        size_mib: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// All GSIs for message-signalled interrupts are taken.
    #[error("no interrupt route left: KVM on this host has room for {max} message-signalled interrupts per guest")]
    NoGsi {
        /// Number of message-signalled interrupts KVM has room for.
        max: u32,
    },
    /// There is no such interrupt line.
    #[error("interrupt line {0} does not exist: the I/O APIC has 24 pins")]
    NoLine(u32),
}

impl KvmError {
    /// For `map_err`: wraps the errno of a KVM call.
    pub(super) fn call(what: &'static str) -> impl FnOnce(errno::Error) -> Self {
        move |error| Self::Call { what, source: error.into() }
    }
}

/// For the traits of `devices::contract::platform`, which speak `io::Error`.
impl From<KvmError> for io::Error {
    fn from(error: KvmError) -> Self {
        match error {
            KvmError::Call { what, source } => io::Error::new(source.kind(), format!("cannot {what}: {source}")),
            other => io::Error::other(other),
        }
    }
}
