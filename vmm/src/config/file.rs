// SPDX-License-Identifier: Apache-2.0
//! A configuration in a file: exactly the body of `vm.create`, as JSON or TOML.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use api::VmConfig;
use api::decode::{FileError, config_file};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::ConfigError;

/// The server takes no larger body either.
const MAX_SIZE: u64 = 1 << 20;
/// How long the writer of a FIFO may take to begin.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Reads a file: TOML if its name ends in .toml, else JSON.
///
/// # Errors
/// When it cannot be read or is not a configuration; the field to blame is named.
pub fn read_file(path: &Path) -> Result<VmConfig, ConfigError> {
    let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let failed = |source| ConfigError::Open { what: "the configuration", path: path.to_owned(), source };
    read(open(path).map_err(failed)?, toml, path)
}

/// Waits for the writer of a FIFO, such as a shell's `<(...)`, but not for ever.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        if poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&PATIENCE))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it is a FIFO that nobody writes to"));
        }
        // Reads wait for its writer from here on: it has begun.
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    }
    Ok(file)
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

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
