// SPDX-License-Identifier: Apache-2.0
//! When the function may do DMA (hazard H11). Drivers before Linux 2.6.34 never enable bus mastering
//! and expect DMA all the same; later ones use the bit and mean it. Pure.

use serde::{Deserialize, Serialize};

/// The bus master policy of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BusMaster {
    /// The bit as the guest wrote it.
    guest: bool,
    /// Whether the guest ever wrote a one: then the bit is the guest's business alone.
    guest_knows_it: bool,
    /// Whether the guest showed, since the last reset, that it expects DMA.
    expected: bool,
}

impl BusMaster {
    /// The guest wrote COMMAND with this bus master bit.
    pub(super) fn write(&mut self, enabled: bool) {
        self.guest = enabled;
        self.guest_knows_it |= enabled;
    }

    /// The guest gave a queue an address or told of a driver.
    pub(super) fn expect_dma(&mut self) {
        self.expected = true;
    }

    /// The device was reset.
    pub(super) fn device_reset(&mut self) {
        self.expected = false;
    }

    /// Whether the function below shall have the bit set.
    pub(super) fn is_enabled(&self) -> bool {
        self.guest || (!self.guest_knows_it && self.expected)
    }
}

#[cfg(test)]
#[path = "bus_master_tests.rs"]
mod tests;
