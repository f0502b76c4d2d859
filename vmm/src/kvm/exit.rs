// SPDX-License-Identifier: Apache-2.0
//! Why a vCPU stopped running guest code. The data still lie in the page shared with the kernel.
#![forbid(unsafe_code)]

/// One return from KVM_RUN.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit<'a> {
    /// `in`, `out`, `ins`, `outs`: `count` accesses of `size` bytes each, all to `port`.
    PortIo {
        /// The port.
        port: u16,
        /// Bytes of one access: 1, 2 or 4.
        size: u8,
        /// Whether the guest writes.
        is_write: bool,
        /// `count * size` bytes: what the guest writes, or the place for what it reads.
        data: &'a mut [u8],
    },
    /// A memory access where the guest has no memory.
    Mmio {
        /// Guest-physical address.
        address: u64,
        /// Whether the guest writes.
        is_write: bool,
        /// 1 to 8 bytes: what the guest writes, or the place for what it reads.
        data: &'a mut [u8],
    },
    /// `hlt`. With the in-kernel local APIC the kernel waits itself and this does not happen.
    Hlt,
    /// Triple fault: on a PC this resets the machine.
    Shutdown,
    /// KVM cannot go on (`KVM_EXIT_INTERNAL_ERROR`).
    InternalError {
        /// `KVM_INTERNAL_ERROR_*`.
        suberror: u32,
        /// What KVM tells about it.
        data: Vec<u64>,
    },
    /// The processor refused the guest's state (`KVM_EXIT_FAIL_ENTRY`).
    FailEntry {
        /// Processor-specific reason.
        reason: u64,
        /// Host processor.
        cpu: u32,
    },
    /// `KVM_EXIT_SYSTEM_EVENT` with its `KVM_SYSTEM_EVENT_*`.
    SystemEvent(u32),
    /// The guest touched memory that KVM cannot give it (`KVM_EXIT_MEMORY_FAULT`).
    MemoryFault {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// A kick, another signal, or a start-up message for a waiting vCPU. Nothing to do for the guest.
    Interrupted,
    /// A `KVM_EXIT_*` that this machine never asked for.
    Unsupported(u32),
}
