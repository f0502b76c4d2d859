// SPDX-License-Identifier: Apache-2.0
//! What a virtual machine says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine's identity in its SMBIOS tables, which licences of old systems hang on. Each text is printable ASCII of
/// 1 to 64 characters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SmbiosConfig {
    /// Manufacturer; `Heirloom` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,64}$"))]
    pub vendor: Option<String>,
    /// Product name; `Heirloom VM` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,64}$"))]
    pub product: Option<String>,
    /// Version of the product; not specified where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,64}$"))]
    pub version: Option<String>,
    /// Serial number; not specified where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[ -~]{1,64}$"))]
    pub serial: Option<String>,
    /// UUID, such as `bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3`; not present where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"), extend("x-option" = "=UUID"))]
    pub uuid: Option<String>,
}

impl SmbiosConfig {
    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
