// SPDX-License-Identifier: Apache-2.0
//! A configuration in a file: exactly the body of `vm.create`, as JSON or TOML.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use api::VmConfig;
use api::decode::{FileError, config_file};

use super::ConfigError;

/// The server takes no larger body either.
const MAX_SIZE: u64 = 1 << 20;

/// Reads a file: TOML if its name ends in .toml, else JSON.
///
/// # Errors
/// When it cannot be read or is no configuration; the field to blame is named.
pub fn read_file(path: &Path) -> Result<VmConfig, ConfigError> {
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let failed = |source| ConfigError::Open { what: "the configuration", path: path.to_owned(), source };
    read(File::open(path).map_err(failed)?, toml, path)
}

/// Reads JSON from a stream, such as standard input.
///
/// # Errors
/// As [`read_file`].
pub fn read_stream(stream: impl Read) -> Result<VmConfig, ConfigError> {
    read(stream, false, Path::new("standard input"))
}

fn read(stream: impl Read, toml: bool, path: &Path) -> Result<VmConfig, ConfigError> {
    let failed = |source| ConfigError::Open { what: "the configuration", path: path.to_owned(), source };
    let mut text = String::new();
    stream.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    config_file(&text, toml).map_err(|error| {
        let field = match &error {
            FileError::Field(fault) => fault.field.as_deref().map_or(String::new(), |field| format!(" ({field})")),
            FileError::Syntax { .. } => String::new(),
        };
        ConfigError::Usage(format!("the configuration {}{field}: {error}", path.display()))
    })
}
