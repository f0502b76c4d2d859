// SPDX-License-Identifier: Apache-2.0
//! Group administration commands (virtio 1.3, "Group administration commands" and "Legacy
//! Interface" commands), and the driver of a PF's admin virtqueue.
//!
//! The wire format is pure. The PF driver touches its function only through
//! [`crate::function::PciFunction`] and never learns whether that is hardware.
#![forbid(unsafe_code)]

mod channel;

pub use channel::{AdminChannel, AdminError, Command, Wait};
