// SPDX-License-Identifier: Apache-2.0
//! The contracts between the parts of the device model. Whoever uses one of these knows nothing of who
//! implements it, and the other way round; nothing here may import another module of this crate.
//!
//! | module | what it is |
//! | --- | --- |
//! | `access` | [`IoDevice`]: a guest access and its answer |
//! | [`function`] | [`PciFunction`](function::PciFunction): what can be done to a PCI function, in small traits |
//! | [`platform`] | what devices need of the platform below them |
//! | `registers`, `area`, `register_names` | [`LegacyRegisters`]: the legacy registers of one device, whoever keeps them |
//! | `register_error` | [`RegisterError`]: why an access to them has no result |
//! | `failure` | [`FailureKind`]: kinds of failure, as counters and traces name them |
//! | `saved` | [`Saved`]: a device whose state can be saved and set |
//! | `counters` | [`Counters`]: counters that a table defines |
//! | [`threads`] | [`ThreadKind`](threads::ThreadKind): what a thread is for, and how one is started |
//! | `wait` | [`Wait`]: a deadline, and what ends a wait before it |
#![forbid(unsafe_code)]

mod access;
mod area;
mod counters;
#[cfg(test)]
pub(crate) mod document;
mod failure;
pub mod function;
#[cfg(any(test, feature = "test-support"))]
pub mod mock;
pub mod platform;
mod register_error;
mod register_names;
mod registers;
pub(crate) mod saved;
pub mod threads;
mod wait;

pub use access::{Access, Effect, IoDevice, Width};
pub use area::Area;
pub use counters::{Counter, CounterKind, Counters, Counts, Family, Metric, counter_kinds};
pub use failure::{CommandFailures, FailureCounts, FailureKind, RegisterFailures};
pub use register_error::{Answer, RegisterError};
pub use register_names::{REGISTER_NAMES, register_index};
pub use registers::{LegacyRegisters, NotifyAddress};
pub use saved::{Saved, StateError};
pub use wait::{Wait, WaitOver};
