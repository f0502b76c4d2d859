// SPDX-License-Identifier: Apache-2.0
//! What a PF was before it was prepared, kept in a file until it is released, and a lock for whoever changes PFs.
//! The folder is root's: one that somebody else owns or may write to is refused, and no link in it is followed. What
//! its files say is checked all the same.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use devices::function::vfio::Bdf;
use rustix::fs::{Dir, Mode, OFlags, fstat, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Host, ManageError};

/// Nobody but root writes it.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o600;
/// Others may write: their bits of a mode.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Longest name of a driver that is believed.
const MAX_NAME: usize = 64;
/// Longest file that is read; a state has some 200 bytes.
const MAX_STATE: u64 = 4096;

/// A PF as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    /// Its driver.
    pub driver: Option<String>,
    /// What it was reserved for.
    pub driver_override: Option<String>,
    /// Whether `vfio_pci.enable_sriov` was off and has been switched on.
    pub enabled_sriov: bool,
    /// Whether the kernel looked for drivers for its new VFs.
    pub autoprobe: Option<bool>,
}

/// Held while PFs are changed.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code)] File);

/// The folder, open, so that nobody puts another one in its place meanwhile.
struct Folder(OwnedFd);

impl Folder {
    /// # Errors
    /// When it is a link, belongs to somebody else, or others may write to it.
    fn open(host: &Host) -> Result<Self, ManageError> {
        let failed = |source: io::Error| ManageError::State { path: host.state.clone(), source };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder = open(&host.state, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let found = fstat(&folder).map_err(|error| failed(error.into()))?;
        if found.st_uid != rustix::process::geteuid().as_raw() || found.st_mode & WRITABLE_BY_OTHERS != 0 {
            return Err(ManageError::StateFolder { path: host.state.clone() });
        }
        Ok(Self(folder))
    }

    /// A file of the folder; never what a link leads to.
    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.0, name, flags, Mode::from_raw_mode(FILE_MODE))?.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, rustix::fs::AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// Makes the folder and takes the lock.
pub(super) fn lock(host: &Host) -> Result<Lock, ManageError> {
    let failed = |path: &Path, source| ManageError::State { path: path.to_owned(), source };
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&host.state);
    made.map_err(|source| failed(&host.state, source))?;
    let path = host.state.join("lock");
    let file = Folder::open(host)?.file("lock", OFlags::WRONLY | OFlags::CREATE);
    let file = file.map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(ManageError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(failed(&path, source)),
    }
}

fn name(pf: Bdf) -> String {
    format!("{pf}.json")
}

fn path(host: &Host, pf: Bdf) -> PathBuf {
    host.state.join(name(pf))
}

/// What is known of `pf`; none if it is not prepared.
pub(super) fn load(host: &Host, pf: Bdf) -> Result<Option<Before>, ManageError> {
    let path = path(host, pf);
    let folder = match Folder::open(host) {
        Ok(folder) => folder,
        Err(ManageError::State { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let read = folder.file(&name(pf), OFlags::RDONLY).and_then(|file| file.take(MAX_STATE).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ManageError::State { path, source }),
    }
    let wrong = |what: String| ManageError::StateContent { path: path.clone(), what };
    let before: Before = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let named = [&before.driver, &before.driver_override];
    if let Some(name) = named.into_iter().flatten().find(|name| !is_driver_name(name)) {
        return Err(wrong(format!("{name:?} is not a driver")));
    }
    Ok(Some(before))
}

/// Names become parts of paths.
fn is_driver_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Keeps what `pf` is before anything is changed, all of it or nothing.
pub(super) fn store(host: &Host, pf: Bdf, before: &Before) -> Result<(), ManageError> {
    let folder = Folder::open(host)?;
    let temporary = format!("{pf}.new");
    let write = || {
        // One that a broken-off run left would be in the way of a file that has to be new.
        folder.remove(&temporary)?;
        let mut file = folder.file(&temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        file.write_all(serde_json::to_string(before)?.as_bytes())?;
        file.sync_all()?;
        Ok(renameat(&folder.0, &temporary, &folder.0, name(pf))?)
    };
    write().map_err(|source| ManageError::State { path: path(host, pf), source })
}

/// Forgets `pf`.
pub(super) fn remove(host: &Host, pf: Bdf) -> Result<(), ManageError> {
    Folder::open(host)?.remove(&name(pf)).map_err(|source| ManageError::State { path: path(host, pf), source })
}

/// Another PF that is prepared, if there is one.
pub(super) fn other(host: &Host, pf: Bdf) -> Option<Bdf> {
    let folder = Folder::open(host).ok()?;
    let names = Dir::read_from(&folder.0).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    let mut others = names.filter_map(|name| name.strip_suffix(".json")?.parse::<Bdf>().ok());
    others.find(|other| *other != pf)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
