// SPDX-License-Identifier: Apache-2.0
//! Files that a run writes: log, serial output, events, traces, reports. The one place that opens them.
//!
//! Opening waits for nobody: a FIFO without a reader is refused, where a plain `open` would wait for one for ever. Files
//! are made with mode 0600 and opened for appending: whoever cuts one (logrotate's `copytruncate`) leaves no hole in it.
//! What is written all the time is an [`Output`], which is bounded; what is written once is [`replace`]d as a whole.
//!
//! | module | what it is |
//! | --- | --- |
//! | `bounded` | a file that moves aside when it is full |
//! | `whole` | a file that is there as a whole or not at all |
#![forbid(unsafe_code)]

mod bounded;
#[cfg(test)]
pub(crate) mod test_disk;
mod whole;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::waits;
pub use bounded::Output;
pub use whole::replace;

/// Bytes at which a file moves aside where nobody says otherwise: with the older part that is kept, twice that is used.
pub const DEFAULT_LIMIT: u64 = 256 << 20;

/// Only for the owner: a guest's output, and addresses of the host.
const MODE: u32 = 0o600;

/// What is said of a FIFO without a reader.
const NO_READER: &str = "it is a FIFO that nobody reads: start its reader first";

/// Opens `path` for appending, and makes it if it is not there. What can be waited for (FIFO, terminal) is opened so
/// that writes do not wait: they fail with [`io::ErrorKind::WouldBlock`].
///
/// # Errors
/// The system's, with words for a FIFO that nobody reads, a socket and a block device.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true).mode(MODE).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let opened = waits::during(&format!("opening {}", path.display()), || options.open(path));
    let file = opened.map_err(|error| explained(path, error))?;
    if file.metadata()?.file_type().is_block_device() {
        return Err(invalid("it is a block device, and this output is not a disk: name a file"));
    }
    Ok(file)
}

/// The name that the older part of `path` has once it was full.
pub fn older(path: &Path) -> PathBuf {
    suffixed(path, ".1")
}

/// Whether it is a file that may be renamed. Names such as /dev/stdout are somebody else's file.
fn is_ours(path: &Path, metadata: &Metadata) -> bool {
    metadata.is_file() && !path.starts_with("/dev") && !path.starts_with("/proc")
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// ENXIO says "No such device or address", which explains nothing to whoever named a file.
fn explained(path: &Path, error: io::Error) -> io::Error {
    if error.raw_os_error() != Some(libc::ENXIO) {
        return error;
    }
    match path.metadata().map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_fifo() => invalid(NO_READER),
        Ok(kind) if kind.is_socket() => invalid("it is a socket: name a file or a FIFO"),
        _ => error,
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
