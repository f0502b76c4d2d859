// SPDX-License-Identifier: Apache-2.0
//! The socket's file: made with mode 0600 at once, taken over only if it is dead, removed at the end.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use thiserror::Error;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// How long another process that makes a socket in the same folder is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A process listens there.
    #[error("the API socket {} is in use by a running process: end that process, or choose another path", .0.display())]
    Live(PathBuf),
    /// The path is something else.
    #[error("{} exists and is not a socket: choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The path does not fit.
    #[error(
        "the path of the API socket has {length} bytes, but a unix socket's may have at most 107: choose a shorter one"
    )]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The system says no.
    #[error("cannot make the API socket {}", path.display())]
    System {
        /// Path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket with a name in the file system.
#[derive(Debug)]
pub(super) struct BoundSocket {
    path: PathBuf,
    /// Device and inode: what is at the path at the end may belong to somebody else.
    identity: (u64, u64),
}

impl BoundSocket {
    /// Makes the socket and listens.
    pub(super) fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |source| SocketError::System { path: path.to_owned(), source };
        let length = path.as_os_str().len();
        let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong { length })?;
        // Two processes that both find a dead socket must not both replace it.
        let _lock = lock_folder(path).map_err(failed)?;
        let fd = new_socket().map_err(|errno| failed(errno.into()))?;
        match bind(&fd, &address) {
            Err(Errno::ADDRINUSE) => {
                remove_dead(path)?;
                bind(&fd, &address).map_err(|errno| failed(errno.into()))?;
            }
            other => other.map_err(|errno| failed(errno.into()))?,
        }
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        let bound = Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
        listen(&fd, BACKLOG).map_err(|errno| failed(errno.into()))?;
        Ok((bound, UnixListener::from(fd)))
    }
}

/// The file of a unix socket gets the mode of the socket itself (unix(7); `unix_bind_bsd` in
/// net/unix/af_unix.c), so it never has another, whatever the umask is.
fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    Ok(fd)
}

fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits();
    let folder = File::options().read(true).custom_flags(flags.cast_signed()).open(folder)?;
    let started = Instant::now();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            // Somebody else's lock on the folder is no reason not to start.
            Err(Errno::WOULDBLOCK) if started.elapsed() >= LOCK_PATIENCE => return Ok(folder),
            Err(Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(10)),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_dead(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::System { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Live(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::debug!("replacing the dead socket {}", path.display());
            fs::remove_file(path).map_err(failed)
        }
        // A full backlog is a sign of life too.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(SocketError::Live(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let Ok(metadata) = fs::symlink_metadata(&self.path) else { return };
        if (metadata.dev(), metadata.ino()) == self.identity
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove the API socket {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
