// SPDX-License-Identifier: Apache-2.0
//! Guest accesses to port or memory addresses, and the tables that find the device they are for.
//!
//! This module knows addresses, widths and ranges, and nothing of what a device does.
//! It holds no lock while a device runs: a slow register on one vCPU never delays another.
#![forbid(unsafe_code)]

mod table;

pub use crate::contract::{Access, Effect, IoDevice, Width};
pub use table::{Bus, BusError, Claim, Range};
