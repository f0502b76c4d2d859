// SPDX-License-Identifier: Apache-2.0
//! What the two sides of a vfio-user connection tell each other about themselves in VERSION: JSON with
//! limits. Pure. Unknown names are passed over, wrong types and impossible numbers are errors.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::wire::MAX_DATA;

/// Protocol version that is spoken here.
pub const MAJOR: u16 = 0;
/// Minor protocol version; a peer may have a lower one.
pub const MINOR: u16 = 1;
/// File descriptors that this side takes in one message. Peers refuse more than 16.
pub const MAX_FDS: u32 = 16;
/// DMA mappings that a server takes at one time.
pub const MAX_DMA_MAPS: u32 = 65535;
/// Longest text that is looked at, in bytes.
const MAX_TEXT: usize = 4096;
/// Limits of a peer that says nothing.
const DEFAULT_FDS: u32 = 1;
const DEFAULT_DATA: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// Why a peer's text is not understood.
#[derive(Debug, Error)]
pub enum VersionError {
    /// Too long.
    #[error("the version text has {len} bytes, more than {MAX_TEXT}")]
    Long {
        /// Its bytes.
        len: usize,
    },
    /// No JSON.
    #[error("the version text is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A value is not what it has to be.
    #[error("{name} in the version text is not {wanted}")]
    Value {
        /// Name of the capability.
        name: &'static str,
        /// What it has to be.
        wanted: &'static str,
    },
}

/// What a peer can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// File descriptors it takes in one message, 1 at least.
    pub max_fds: u32,
    /// Bytes of data it takes in one message.
    pub max_data: u64,
    /// DMA mappings it takes.
    pub max_dma_maps: u64,
    /// Page sizes it can map.
    pub page_sizes: u64,
    /// REGION_WRITE_MULTI.
    pub write_multiple: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            max_fds: DEFAULT_FDS,
            max_data: DEFAULT_DATA,
            max_dma_maps: MAX_DMA_MAPS.into(),
            page_sizes: PAGE,
            write_multiple: false,
        }
    }
}

impl Capabilities {
    /// What this side can do.
    pub fn ours() -> Self {
        Self { max_fds: MAX_FDS, max_data: MAX_DATA as u64, write_multiple: true, ..Self::default() }
    }

    /// The text, with the NUL at its end. Without `with_multi`, REGION_WRITE_MULTI is not named: a reply
    /// may name nothing that was not proposed.
    pub fn encode(&self, with_multi: bool) -> Vec<u8> {
        let mut capabilities = json!({
            "max_msg_fds": self.max_fds,
            "max_data_xfer_size": self.max_data,
            "max_dma_maps": self.max_dma_maps,
            "pgsizes": self.page_sizes,
        });
        if with_multi && let Some(map) = capabilities.as_object_mut() {
            map.insert("write_multiple".to_owned(), self.write_multiple.into());
        }
        let mut text = json!({ "capabilities": capabilities }).to_string().into_bytes();
        text.push(0);
        text
    }

    /// Understands a peer's text; one that is empty means the defaults.
    pub fn decode(text: &[u8]) -> Result<Self, VersionError> {
        if text.len() > MAX_TEXT {
            return Err(VersionError::Long { len: text.len() });
        }
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        let mut found = Self::default();
        if text.is_empty() {
            return Ok(found);
        }
        let object = VersionError::Value { name: "the whole", wanted: "an object" };
        let Value::Object(all) = serde_json::from_slice(text)? else { return Err(object) };
        let capabilities = match all.get("capabilities") {
            None => return Ok(found),
            Some(Value::Object(capabilities)) => capabilities,
            Some(_) => return Err(VersionError::Value { name: "capabilities", wanted: "an object" }),
        };
        if let Some(fds) = number(capabilities, "max_msg_fds")? {
            found.max_fds = u32::try_from(fds).unwrap_or(u32::MAX).max(1);
        }
        if let Some(data) = number(capabilities, "max_data_xfer_size")? {
            found.max_data = data;
        }
        if let Some(maps) = number(capabilities, "max_dma_maps")? {
            found.max_dma_maps = maps;
        }
        if let Some(sizes) = number(capabilities, "pgsizes")? {
            found.page_sizes = sizes;
        }
        match capabilities.get("write_multiple") {
            None => {}
            Some(Value::Bool(multiple)) => found.write_multiple = *multiple,
            Some(_) => return Err(VersionError::Value { name: "write_multiple", wanted: "true or false" }),
        }
        Ok(found)
    }
}

fn number(map: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, VersionError> {
    let wrong = VersionError::Value { name, wanted: "a number of 0 or more" };
    map.get(name).map(|value| value.as_u64().ok_or(wrong)).transpose()
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
