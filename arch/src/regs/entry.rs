// SPDX-License-Identifier: Apache-2.0
//! Where and how the first processor starts.

use vm_memory::GuestAddress;

/// Where and how the first processor starts; [`super::bsp`] turns it into registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// 64-bit boot protocol: long mode, low 4 GiB identity-mapped, RSI = zero page.
    Long {
        /// Instruction pointer.
        rip: u64,
        /// `boot_params`.
        zero_page: GuestAddress,
    },
    /// 32-bit boot protocol: protected mode, flat segments, paging off, ESI = zero page.
    Protected32 {
        /// Instruction pointer.
        eip: u32,
        /// `boot_params`.
        zero_page: GuestAddress,
    },
    /// PVH: protected mode, flat segments, paging off, EBX = start info.
    Pvh {
        /// Instruction pointer.
        eip: u32,
        /// `hvm_start_info`.
        start_info: GuestAddress,
    },
}
