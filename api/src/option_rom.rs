// SPDX-License-Identifier: Apache-2.0
//! Which expansion ROM a function has.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The expansion ROM of a function: `auto`, `none`, or the path of a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum OptionRomConfig {
    /// The one that is installed for network cards, where firmware starts the machine.
    #[default]
    Auto,
    /// None.
    None,
    /// This file.
    File(PathBuf),
}

const AUTO: &str = "auto";
const NONE: &str = "none";

impl From<String> for OptionRomConfig {
    fn from(text: String) -> Self {
        match text.as_str() {
            AUTO => Self::Auto,
            NONE => Self::None,
            _ => Self::File(text.into()),
        }
    }
}

impl From<OptionRomConfig> for String {
    fn from(rom: OptionRomConfig) -> Self {
        match rom {
            OptionRomConfig::Auto => AUTO.to_owned(),
            OptionRomConfig::None => NONE.to_owned(),
            OptionRomConfig::File(path) => path.display().to_string(),
        }
    }
}
