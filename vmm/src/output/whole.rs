// SPDX-License-Identifier: Apache-2.0
//! A file that is written once: beside its place, and renamed when it is whole. Whoever reads it sees the old content or
//! the new one, and a full disk does not cost the old one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{MODE, NO_READER, is_ours, open, suffixed};

/// How long a reader may take to come, and how long it may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether there is a reader.
const LOOK: Duration = Duration::from_millis(50);

/// Makes `bytes` the content of `path`. A FIFO, a terminal or a device gets them as they come.
///
/// # Errors
/// When the place cannot be written, or a reader does not come or takes nothing for 10 s.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_within(PATIENCE, path, bytes)
}

pub(super) fn replace_within(patience: Duration, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if !is_ours(path, &metadata) => pour(&mut open_within(patience, path)?, bytes, patience),
        // A link stays one.
        Ok(metadata) => put(&path.canonicalize()?, bytes, Some(metadata.permissions())),
        Err(_) => put(path, bytes, None),
    }
}

fn put(path: &Path, bytes: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let aside = suffixed(path, &format!(".{}.new", std::process::id()));
    let _ = fs::remove_file(&aside);
    let mut file = match File::options().write(true).create_new(true).mode(MODE).open(&aside) {
        Ok(file) => file,
        // A file that may be written in a folder that may not.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && permissions.is_some() => {
            let mut file = open(path)?;
            file.set_len(0)?;
            return file.write_all(bytes);
        }
        Err(error) => return Err(error),
    };
    let done = permissions
        .map_or(Ok(()), |permissions| file.set_permissions(permissions))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| fs::rename(&aside, path));
    if done.is_err() {
        let _ = fs::remove_file(&aside);
    }
    done
}

fn open_within(patience: Duration, path: &Path) -> io::Result<File> {
    let start = Instant::now();
    loop {
        match open(path) {
            Err(error) if error.to_string() == NO_READER && start.elapsed() < patience => thread::sleep(LOOK),
            opened => return opened,
        }
    }
}

/// Writes all of it to something that may have no room at the moment.
fn pour(file: &mut File, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let limit = Timespec::try_from(patience).ok();
                if poll(&mut [PollFd::new(&*file, PollFlags::OUT)], limit.as_ref())? == 0 {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "its reader takes nothing"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
