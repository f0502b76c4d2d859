// SPDX-License-Identifier: Apache-2.0
//! For tests: one mock of each contract, for all crates and the fuzz targets (feature `test-support`,
//! which no product build has). A mock keeps what it was told and refuses when it is told to; it
//! decides nothing.
//!
//! | mock | of |
//! | --- | --- |
//! | [`MockFunction`] | [`PciFunction`](super::function::PciFunction) |
//! | [`Proxy`] | the same, in front of a function that does the work |
//! | [`MockLine`] | [`IrqLine`](super::platform::IrqLine) |
//! | [`MockMsi`] | [`MsiSource`](super::platform::MsiSource) |
//! | [`MockPorts`] | [`PortEvents`](super::platform::PortEvents) |
//! | [`MockMapper`] | [`GuestMapper`](super::platform::GuestMapper) |
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod function;
mod line;
mod mapper;
mod msi;
mod patience;
mod ports;
mod proxy;
mod saved;

use std::sync::{Arc, Mutex};

pub use function::{Call, MockFunction};
pub use line::MockLine;
pub use mapper::MockMapper;
pub use msi::{MockInterrupt, MockMsi};
pub use patience::{PATIENCE, eventually, give_it_time, processor_time, wait_until};
pub use ports::MockPorts;
pub use proxy::{Between, Proxy};
pub use saved::{make_up_states, move_state};

/// What mocks that share it were told, in order.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// Takes all lines.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
