// SPDX-License-Identifier: Apache-2.0
//! The folder with a server's sockets: it is one server's at a time, so that the sockets that a server leaves behind
//! when it is killed can be told from those of one that lives.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use vmm::waits;

/// Mode of a folder that is made: whoever can connect to a function can do DMA with what it maps.
const MODE: u32 = 0o700;

/// Why a socket cannot be had.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// The folder cannot be made or opened.
    #[error("cannot use {} as the folder for sockets", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another server has the folder.
    #[error("another server has its sockets in {}; end it, or choose another --socket-dir", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A claimed folder, free again when this is dropped. One that was made is removed then.
#[derive(Debug)]
pub(super) struct SocketDir {
    path: PathBuf,
    /// Locked for as long as it is open.
    _folder: File,
    made: bool,
}

impl SocketDir {
    /// Claims the folder `path`, and makes it (but not its parents) if it is not there.
    ///
    /// # Errors
    /// When it cannot be used, or is another server's.
    pub(super) fn claim(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Folder { path: path.to_owned(), source };
        let made = match std::fs::DirBuilder::new().mode(MODE).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let opened = || {
            let folder = File::open(path)?;
            if folder.metadata()?.is_dir() { Ok(folder) } else { Err(io::ErrorKind::NotADirectory.into()) }
        };
        let folder = waits::during(&format!("opening the folder {}", path.display()), opened).map_err(failed)?;
        match folder.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _folder: folder, made }),
            Err(TryLockError::WouldBlock) => Err(SocketError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Where the socket `name` is.
    pub(super) fn socket(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_dir(&self.path)
        {
            tracing::debug!("{} stays: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
