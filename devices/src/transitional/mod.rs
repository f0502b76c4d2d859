// SPDX-License-Identifier: Apache-2.0
//! legacy-virtio-passthrough: the guest's transitional PCI function over a modern-only virtual
//! function. It knows registers, decode, interrupts and resets, and nothing of KVM or VFIO.
#![forbid(unsafe_code)]

mod registers;

pub use registers::{Area, LegacyRegisters, NotifyAddress, RegisterError};
