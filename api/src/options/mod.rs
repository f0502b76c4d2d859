// SPDX-License-Identifier: Apache-2.0
//! Configurations as people write them on a command line: `key=value,key=value`. Which keys there are, their limits,
//! defaults and texts come from the types' own schemas, so that a field of a type is described once, for the API and
//! for the command line. Pure.
//!
//! | module | what it is |
//! | --- | --- |
//! | `schema` | from a schema to keys |
//! | `list` | a text into keys and values |
//! | `parse` | keys and values into a type |
//! | `help` | the keys for `--help` and for docs/operation.md |
//!
//! A field is a key of its name. A field that is an object stands for its first required field, whose value it takes;
//! the object's other fields are keys beside it. A field that is one of several objects takes the name of one of them,
//! and that one's fields are keys beside it. Where a type's choices are a value each, these are the keys. What is to be
//! otherwise, a field says by the schema's extension [`OPTION`].

mod help;
mod list;
mod parse;
mod schema;

use std::marker::PhantomData;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{DeviceConfig, LegacyVirtioConfig, MemoryConfig, SmbiosConfig, SoftDevice};
use schema::Shape;

/// Extension of a field's schema: `KEY=VALUE`, how the field is called as a key, where that is not its name, and what
/// help calls its value. Empty: it is not a key.
pub const OPTION: &str = "x-option";
/// Extension of a field's schema: exactly one of the fields that have it is there.
pub const ALTERNATIVE: &str = "x-alternative";
/// What help calls the value of a field that is a number of bytes.
const SIZE: &str = "SIZE";

/// The value of `--legacy-virtio`.
pub static LEGACY_VIRTIO: LazyLock<KeyValue<LegacyVirtioConfig>> = LazyLock::new(KeyValue::new);
/// The value of `--device`.
pub static DEVICE: LazyLock<KeyValue<DeviceConfig>> = LazyLock::new(KeyValue::new);
/// The value of `--memory`.
pub static MEMORY: LazyLock<KeyValue<MemoryConfig>> = LazyLock::new(KeyValue::new);
/// The value of `--smbios`.
pub static SMBIOS: LazyLock<KeyValue<SmbiosConfig>> = LazyLock::new(KeyValue::new);
/// The value of `--vf` and `--pf` of the software PF.
pub static SOFT_DEVICE: LazyLock<KeyValue<SoftDevice>> = LazyLock::new(KeyValue::new);

/// A type that is written as a list of keys.
pub struct KeyValue<T> {
    shape: Shape,
    of: PhantomData<fn() -> T>,
}

impl<T: JsonSchema + DeserializeOwned> KeyValue<T> {
    fn new() -> Self {
        Self { shape: schema::shape::<T>(), of: PhantomData }
    }

    /// Reads a list: `key=value,key=value`, where two commas in a row stand for one comma in a value. Types that are
    /// one object or a choice of objects begin with a value that has no key.
    ///
    /// # Errors
    /// What is wrong, with the key, and what would be right.
    pub fn parse(&self, text: &str) -> Result<T, String> {
        parse::parse(&self.shape, text)
    }

    /// The keys for `--help`, a line or more for each.
    pub fn help(&self) -> String {
        help::text(&self.shape)
    }

    /// The keys as a table in Markdown.
    pub fn markdown(&self) -> String {
        help::markdown(&self.shape)
    }
}

/// Takes what is about options out of a document's schemas.
pub(crate) fn strip(schemas: &mut Value) {
    match schemas {
        Value::Object(map) => {
            map.remove(OPTION);
            map.remove(ALTERNATIVE);
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
