// SPDX-License-Identifier: Apache-2.0
//! Legacy virtio (0.9.5): the I/O BAR, the split ring, and drivers for disks and network cards.

pub mod blk;
pub mod net;
pub mod ring;
pub mod transport;

pub use transport::{Interrupts, Transport};
