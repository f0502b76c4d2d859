// SPDX-License-Identifier: Apache-2.0
//! INTx: when a function's pin is asserted. Pure but for the [`IrqLine`] it drives.

use std::sync::Arc;

use super::config_space::ConfigSpace;
use crate::contract::platform::IrqLine;
use crate::spec::pci::Command;

/// One function's interrupt pin. Called with the function's lock held, so that levels reach the line
/// in the order they were decided.
pub struct IntxPin {
    line: Arc<dyn IrqLine>,
    wanted: bool,
    asserted: bool,
}

impl IntxPin {
    /// A released pin on `line`.
    pub fn new(line: Arc<dyn IrqLine>) -> Self {
        Self { line, wanted: false, asserted: false }
    }

    /// The function wants its interrupt served or does not any more. STATUS bit 3 says so even when
    /// COMMAND keeps the pin released.
    pub fn set(&mut self, wanted: bool, config: &mut ConfigSpace) {
        self.wanted = wanted;
        self.refresh(config);
    }

    /// Call after each change of COMMAND and after each reset of `config`.
    pub fn refresh(&mut self, config: &mut ConfigSpace) {
        config.set_interrupt_status(self.wanted);
        let assert = self.wanted && !config.command().contains(Command::INTX_DISABLE);
        if assert != self.asserted {
            self.asserted = assert;
            self.line.set(assert);
        }
    }

    /// Whether the function wants its interrupt served.
    pub const fn is_wanted(&self) -> bool {
        self.wanted
    }
}

#[cfg(test)]
#[path = "intx_tests.rs"]
mod tests;
