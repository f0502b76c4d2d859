// SPDX-License-Identifier: Apache-2.0
//! Functions that a driver in this process can have ([`PciFunction`]) from elsewhere: from the kernel's
//! VFIO ([`vfio`]), from another process ([`vfio_user`]); and what they and their users share.

pub mod bus_errors;
pub mod capabilities;
pub mod detachable;
pub mod eventfds;
#[cfg(test)]
#[path = "../../../tests/src/fuse.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
pub mod fuse;
pub mod positioned;
pub mod received;
pub mod shared;
pub mod tap;
pub mod vfio;
pub mod vfio_user;

pub use crate::contract::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, IntxEvents, KickLink, Lifetime, MappableArea,
    Named, PciFunction, Region, Result,
};
