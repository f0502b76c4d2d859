// SPDX-License-Identifier: Apache-2.0
//! Landlock: which paths this process may open, and no TCP, no signal to another process, no abstract socket of one.
//! What a kernel does not know is left out, and told. A path that is not there yet is none: the error comes when it is
//! opened. Pipes and files in memory are never bound.

use std::path::{Path, PathBuf};

use api::types::SandboxInfo;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::SandboxError;

/// Landlock as far as it is used: version 6 has all of it.
const USED: ABI = ABI::V6;

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A file or a folder is read.
    Read,
    /// A file or what a folder has is read and written.
    ReadWrite,
    /// A file is written: it, or its folder, where it moves aside and begins anew.
    Output,
    /// A socket is made at this path, beside it the file that locks it, and both are removed at the end.
    Socket,
    /// Sockets are made in this folder, which may have to be made, and is removed at the end then.
    SocketFolder,
}

/// Paths that may be opened.
#[derive(Clone, Debug, Default)]
pub struct Paths(Vec<(PathBuf, Access)>);

/// What every run reads: memory and control groups of this host, its devices, its identity, its time zone, firmware that
/// is installed.
const OF_THE_HOST: [&str; 10] = [
    "/proc/meminfo",
    "/proc/self",
    "/proc/sys/vm",
    "/sys",
    "/etc/localtime",
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/usr/share",
    "/usr/lib/ipxe",
    "/dev/urandom",
];

/// Devices that machines are made of.
const DEVICES: [&str; 4] = ["/dev/kvm", "/dev/net/tun", "/dev/vfio", "/dev/iommu"];

impl Paths {
    /// What every run needs.
    pub fn new() -> Self {
        let host = OF_THE_HOST.iter().map(|path| (path.into(), Access::Read));
        let devices = DEVICES.iter().map(|path| (path.into(), Access::ReadWrite));
        Self(host.chain(devices).collect())
    }

    /// And this one.
    pub fn add(&mut self, path: &Path, access: Access) {
        self.0.push((path.to_owned(), access));
    }
}

/// Puts it in force on this thread and all that it starts, and notes what holds.
///
/// # Errors
/// When the kernel has Landlock and refuses.
pub(super) fn restrict(paths: Option<&Paths>, held: &mut SandboxInfo) -> Result<(), SandboxError> {
    let status = rules(paths).and_then(RulesetCreated::restrict_self).map_err(SandboxError::filter)?;
    if let LandlockStatus::Available { effective_abi, .. } = status.landlock {
        held.landlock = effective_abi as u8;
        held.files_bound = paths.is_some();
        held.tcp_denied = effective_abi >= ABI::V4;
        held.scoped = effective_abi >= ABI::V6;
    }
    Ok(())
}

fn rules(paths: Option<&Paths>) -> Result<RulesetCreated, RulesetError> {
    let mut rules = Ruleset::default().handle_access(AccessNet::from_all(USED))?.scope(Scope::from_all(USED))?;
    if paths.is_some() {
        rules = rules.handle_access(AccessFs::from_all(USED))?;
    }
    let mut rules = rules.create()?;
    let named = paths.into_iter().flat_map(|paths| &paths.0);
    for (path, allowed) in named.flat_map(|(path, access)| allowed(path, *access)) {
        // Where there is nothing to open there is nothing to allow; and what has no place (the pipe of /dev/fd/63) is not
        // bound.
        let is_stream = path.metadata().is_ok_and(|data| !data.is_file() && !data.is_dir());
        if is_stream && path.canonicalize().is_err() {
            continue;
        }
        let Ok(opened) = PathFd::new(&path) else { continue };
        rules = rules.add_rule(PathBeneath::new(opened, allowed))?;
    }
    Ok(rules)
}

/// The paths of its rules, and what they allow.
fn allowed(path: &Path, access: Access) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let read = AccessFs::from_read(USED) & !BitFlags::from(AccessFs::Execute);
    let write = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let is_folder = path.is_dir();
    // Rules for a file know no rights of folders.
    let fitting = |wanted: BitFlags<AccessFs>, path: &Path| {
        if path.is_dir() { wanted } else { wanted & AccessFs::from_file(USED) }
    };
    let new = AccessFs::MakeReg | AccessFs::RemoveFile;
    match access {
        Access::Read => vec![(path.to_owned(), fitting(read, path))],
        Access::ReadWrite => vec![(path.to_owned(), fitting(read | write, path))],
        Access::Output => match path.metadata() {
            // A terminal, a FIFO, a device: nothing moves aside.
            Ok(data) if !data.is_file() && !is_folder => vec![(path.to_owned(), fitting(read | write, path))],
            _ => vec![(folder(path), write | new)],
        },
        Access::Socket => vec![(folder(path), read | write | new | AccessFs::MakeSock)],
        Access::SocketFolder => {
            // One that is not there yet will be made.
            let place = if is_folder { path.to_owned() } else { folder(path) };
            let rights = read | write | new | AccessFs::MakeSock;
            vec![(place, rights), (folder(path), AccessFs::MakeDir | AccessFs::RemoveDir)]
        }
    }
}

/// The folder that a file is in, wherever a link leads.
fn folder(path: &Path) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => ".".into(),
        Some(folder) => folder.to_owned(),
        None => "/".into(),
    }
}
