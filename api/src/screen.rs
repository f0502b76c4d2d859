// SPDX-License-Identifier: Apache-2.0
//! The text screen, as a configuration has it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether there is a screen: a VGA that shows text, and draws nothing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum ScreenMode {
    /// Where firmware starts the machine, but not where a kernel is started directly.
    #[default]
    Auto,
    /// There is none.
    Off,
    /// There is one; `vm.screen` shows it.
    On,
    /// There is one, shown on the terminal of the VMM, whose keys go to the guest's keyboard. The serial port cannot
    /// have the terminal, too.
    Tty,
}

/// The text screen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ScreenConfig {
    /// Whether there is one, and whether it is on the terminal.
    pub mode: ScreenMode,
}

impl ScreenConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
