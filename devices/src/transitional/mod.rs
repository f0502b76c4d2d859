// SPDX-License-Identifier: Apache-2.0
//! legacy-virtio-passthrough: the guest's transitional PCI function over a modern-only virtual
//! function. It knows registers, decode, interrupts and resets, and nothing of KVM or VFIO.
#![forbid(unsafe_code)]

mod decode;
mod fields;
mod identity;
mod registers;

pub use decode::{CONFIG_START, CONFIG_START_MSIX, Direction, Layout, Register, Target};
pub use fields::{Piece, Split};
pub use identity::{DeviceType, VIRTIO_VENDOR_ID};
pub use registers::{Area, LegacyRegisters, NotifyAddress, RegisterError};
