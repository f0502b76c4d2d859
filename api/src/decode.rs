// SPDX-License-Identifier: Apache-2.0
//! From the text of a request to typed values, with errors that name the field. Pure; never panics, whatever the
//! input.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::shape::misplaced_list;
use crate::unique::Unique;
use crate::{Code, DeviceConfig, Fault, LegacyVirtioConfig, NewDevice, VmConfig, compat};

/// A body as JSON.
///
/// # Errors
/// [`Code::MalformedJson`] with line and column; a key that is there twice counts as that.
pub fn json(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map(|Unique(value)| value).map_err(|error| {
        let message = if body.is_empty() {
            "this request needs a body".to_owned()
        } else {
            format!("the body is not JSON: {error}")
        };
        Fault::new(Code::MalformedJson, message)
    })
}

/// A JSON value as a `T`.
///
/// # Errors
/// [`Code::InvalidField`] with the path of the field.
pub fn typed<T: DeserializeOwned + JsonSchema + 'static>(value: Value) -> Result<T, Fault> {
    if let Some(path) = misplaced_list::<T>(&value) {
        return Err(match path.as_str() {
            "" => Fault::new(Code::InvalidField, "this cannot be a list"),
            _ => Fault::new(Code::InvalidField, format!("{path}: this cannot be a list")).at(path),
        });
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        match path.as_str() {
            "." => Fault::new(Code::InvalidField, message),
            _ => Fault::new(Code::InvalidField, format!("{path}: {message}")).at(path),
        }
    })
}

/// A virtual machine's configuration, Cloud Hypervisor's harmless fields taken out.
///
/// # Errors
/// The field that is to blame.
pub fn config(mut value: Value) -> Result<VmConfig, Fault> {
    compat::strip(&mut value)?;
    typed(value)
}

/// A device to add, Cloud Hypervisor's harmless fields taken out. One that is passed through has `vfio`, a socket as
/// `vfio_user`, or Cloud Hypervisor's `path`, and none of a legacy function's fields; all others are legacy functions.
///
/// # Errors
/// The field that is to blame.
pub fn device(mut value: Value) -> Result<NewDevice, Fault> {
    let has = |name: &str| value.get(name).is_some_and(|value| !value.is_null());
    let legacy = LegacyVirtioConfig::FIELDS.iter().any(|name| !DeviceConfig::FIELDS.contains(name) && has(name));
    let served = value.get("vfio_user").is_some_and(Value::is_string);
    if !legacy && (has("vfio") || has(compat::PATH) || served) {
        compat::strip_device(&mut value, "")?;
        return typed(value).map(NewDevice::PassedThrough);
    }
    typed(value).map(NewDevice::LegacyVirtio)
}

/// Why a configuration file is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not the language that its name promises.
    #[error("not {language}: {message}")]
    Syntax {
        /// JSON or TOML.
        language: &'static str,
        /// Where and why.
        message: String,
    },
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] Fault),
}

/// The text of a configuration file: TOML where `toml`, else JSON. It is exactly the body of `vm.create`.
///
/// # Errors
/// Where it is wrong.
pub fn config_file(text: &str, toml: bool) -> Result<VmConfig, FileError> {
    let value = if toml {
        toml::from_str(text)
            .map_err(|error| FileError::Syntax { language: "TOML", message: error.to_string().trim_end().to_owned() })?
    } else {
        serde_json::from_str(text)
            .map(|Unique(value)| value)
            .map_err(|error| FileError::Syntax { language: "JSON", message: error.to_string() })?
    };
    Ok(config(value)?)
}

/// The parameters of a query, percent-decoded.
///
/// # Errors
/// [`Code::InvalidField`] for what is not in `known`, is there twice or is not UTF-8.
pub fn query<'k>(query: &str, known: &[&'k str]) -> Result<Vec<(&'k str, String)>, Fault> {
    let mut found: Vec<(&'k str, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = percent_decode(name)?;
        let invalid = |why: &str| Fault::new(Code::InvalidField, format!("parameter '{name}': {why}")).at(name.clone());
        let Some(known_name) = known.iter().find(|known| **known == name) else {
            let mut why = "there is no such parameter here".to_owned();
            if !known.is_empty() {
                let _ = write!(why, "; there is {}", known.join(", "));
            }
            return Err(invalid(&why));
        };
        if found.iter().any(|(other, _)| other == known_name) {
            return Err(invalid("given twice"));
        }
        found.push((known_name, percent_decode(value)?));
    }
    Ok(found)
}

fn percent_decode(text: &str) -> Result<String, Fault> {
    let invalid = || Fault::new(Code::InvalidField, "the query has a percent sign that does not encode UTF-8 text");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(invalid()) };
                u8::try_from(high * 16 + low).map_err(|_| invalid())?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
