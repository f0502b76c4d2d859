// SPDX-License-Identifier: Apache-2.0
//! Ids that operators give to devices.

use serde::{Deserialize, Deserializer, de};

/// Longest id; it is a label in reports and metrics.
const MAX_ID: usize = 32;

/// Whether a text can be the id of a device.
///
/// # Errors
/// What an id looks like.
pub fn check_id(id: &str) -> Result<(), String> {
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain && (1..=MAX_ID).contains(&id.len()) {
        Ok(())
    } else {
        Err(format!("an id has 1 to {MAX_ID} letters, digits, '-', '_' and '.'"))
    }
}

/// An id in a configuration: checked, and none where there is none.
pub(crate) fn device_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let id = Option::<String>::deserialize(from)?;
    id.as_deref().map_or(Ok(()), check_id).map_err(de::Error::custom)?;
    Ok(id)
}
