// SPDX-License-Identifier: Apache-2.0
//! The state of a device as one plain value. ARCHITECTURE.md says how those of a machine come together.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A saved state that this device cannot go on from, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the saved state does not fit: {0}")]
pub struct StateError(pub &'static str);

/// A device whose guest goes on at another one of the same configuration and notices nothing. Both calls are for the
/// time when no vCPU runs.
pub trait Saved {
    /// All that the guest and its past made of the device. What the configuration makes of it is not in here.
    type State: Serialize + DeserializeOwned;

    /// The state now.
    fn state(&self) -> Self::State;

    /// Goes on from `state`, which anybody may have written: no value of it does more than a guest's writes could, or
    /// it is refused.
    ///
    /// # Errors
    /// What does not fit; nothing is changed then.
    fn set_state(&self, state: Self::State) -> Result<(), StateError>;
}

/// Arrays of more than 32 elements, for `#[serde(with)]`.
pub(crate) mod array {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer, T: Serialize, const N: usize>(
        values: &[T; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values)
    }

    pub(crate) fn deserialize<'de, D, T, const N: usize>(deserializer: D) -> Result<[T; N], D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        let values = Vec::deserialize(deserializer)?;
        let len = values.len();
        values.try_into().map_err(|_| D::Error::invalid_length(len, &format!("{N}").as_str()))
    }
}
