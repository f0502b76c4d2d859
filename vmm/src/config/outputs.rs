// SPDX-License-Identifier: Apache-2.0
//! The files a run writes must not be the files it reads: a disk image given as the serial port's file
//! by mistake would be gone before the guest starts. Looks only.
#![forbid(unsafe_code)]

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{ConfigError, Plan};
use crate::output::older;

/// Checks that neither the serial port's file nor one of `others`, each with the option that names it, would
/// overwrite an input, or one another.
///
/// # Errors
/// [`ConfigError::Usage`] with both names.
pub fn check_outputs(plan: &Plan, others: &[(&'static str, PathBuf)]) -> Result<(), ConfigError> {
    let others = others.iter().map(|(option, path)| (*option, path.as_path()));
    let outputs: Vec<_> =
        plan.board.serial.file.iter().map(|path| ("--serial", path.as_path())).chain(others).collect();
    check_older(plan, &outputs)?;
    for (position, (option, path)) in outputs.iter().enumerate() {
        let shown = path.display();
        let written = fs::metadata(path).ok().and_then(identity);
        let input = written.and_then(|written| inputs(plan).into_iter().find(|(_, file)| is(file, written)));
        if let Some((what, _)) = input {
            return Err(ConfigError::Usage(format!("{option} {shown} would overwrite {what}: give it another file")));
        }
        let mut later = outputs.iter().skip(position + 1);
        if let Some((other, _)) = later.find(|(_, other)| is_same_place(path, other)) {
            return Err(ConfigError::Usage(format!("{option} and {other} both write {shown}: give each its own file")));
        }
    }
    Ok(())
}

/// A full output is renamed (see [`crate::output`]), which must not cost an input or another output either.
fn check_older(plan: &Plan, outputs: &[(&'static str, &Path)]) -> Result<(), ConfigError> {
    for (option, path) in outputs {
        let older = older(path);
        let Some(written) = fs::metadata(&older).ok().and_then(identity) else { continue };
        let shown = older.display();
        if let Some((what, _)) = inputs(plan).into_iter().find(|(_, file)| is(file, written)) {
            return Err(ConfigError::Usage(format!(
                "{option} {} would overwrite {what} when it is full and renamed to {shown}: give it another file",
                path.display()
            )));
        }
        if let Some((other, _)) = outputs.iter().find(|(_, other)| is_same_place(&older, other)) {
            return Err(ConfigError::Usage(format!(
                "{option} {} would overwrite the file of {other} when it is full and renamed to {shown}: give it \
                 another file",
                path.display()
            )));
        }
    }
    Ok(())
}

fn inputs(plan: &Plan) -> Vec<(String, &File)> {
    let mut files: Vec<_> = plan.payload.files().map(|(what, file)| (what.to_owned(), file)).collect();
    let disks = plan.functions.legacy.iter().filter_map(|device| Some((device, device.vf.disk()?)));
    files.extend(disks.map(|(device, disk)| (format!("the image of disk '{}'", device.id), &disk.file)));
    files
}

/// What tells one file from another; nothing for terminals, pipes and the like, which may be shared.
fn identity(file: Metadata) -> Option<(u64, u64)> {
    match file.file_type() {
        kind if kind.is_file() => Some((file.dev(), file.ino())),
        // A block device has as many nodes as one makes.
        kind if kind.is_block_device() => Some((u64::MAX, file.rdev())),
        _ => None,
    }
}

fn is(file: &File, written: (u64, u64)) -> bool {
    file.metadata().ok().and_then(identity) == Some(written)
}

/// Whether two paths are one file, or will be once it is there.
fn is_same_place(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => identity(a).is_some_and(|a| identity(b) == Some(a)),
        (Err(_), Err(_)) => place(a).is_some_and(|a| place(b) == Some(a)),
        _ => false,
    }
}

fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}
