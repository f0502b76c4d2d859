// SPDX-License-Identifier: Apache-2.0
//! What a PF was before it was prepared, kept in a file until it is released, and a lock for whoever changes PFs.
//! The file is root's; what it says is checked all the same.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use devices::function::vfio::Bdf;
use serde::{Deserialize, Serialize};

use super::{Host, ManageError};

/// Nobody but root writes it.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o600;
/// Longest name of a driver that is believed.
const MAX_NAME: usize = 64;

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

/// Makes the folder and takes the lock.
pub(super) fn lock(host: &Host) -> Result<Lock, ManageError> {
    let failed = |path: &Path, source| ManageError::State { path: path.to_owned(), source };
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&host.state);
    made.map_err(|source| failed(&host.state, source))?;
    let path = host.state.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.map_err(|source| failed(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(ManageError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(failed(&path, source)),
    }
}

fn path(host: &Host, pf: Bdf) -> PathBuf {
    host.state.join(format!("{pf}.json"))
}

/// What is known of `pf`; none if it is not prepared.
pub(super) fn load(host: &Host, pf: Bdf) -> Result<Option<Before>, ManageError> {
    let path = path(host, pf);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ManageError::State { path, source }),
    };
    let wrong = |what: String| ManageError::StateContent { path: path.clone(), what };
    let before: Before = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let named = [&before.driver, &before.driver_override];
    if let Some(name) = named.into_iter().flatten().find(|name| !is_driver_name(name)) {
        return Err(wrong(format!("{name:?} is no driver")));
    }
    Ok(Some(before))
}

/// Names become parts of paths.
fn is_driver_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Keeps what `pf` is before anything is changed, all of it or nothing.
pub(super) fn store(host: &Host, pf: Bdf, before: &Before) -> Result<(), ManageError> {
    let path = path(host, pf);
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(serde_json::to_string(before)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| ManageError::State { path: path.clone(), source })
}

/// Forgets `pf`.
pub(super) fn remove(host: &Host, pf: Bdf) -> Result<(), ManageError> {
    let path = path(host, pf);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ManageError::State { path, source }),
        _ => Ok(()),
    }
}

/// Another PF that is prepared, if there is one.
pub(super) fn other(host: &Host, pf: Bdf) -> Option<Bdf> {
    let names = fs::read_dir(&host.state).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut others = names.filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse::<Bdf>().ok());
    others.find(|other| *other != pf)
}
