// SPDX-License-Identifier: Apache-2.0
//! Which processes have a device node open. Reads `/proc`, as far as this user may.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::path::Path;

/// A process that has the node open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Name of the program, as the kernel shortens it.
    pub name: String,
    /// How many descriptors it has for the node.
    pub files: usize,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = if self.pid == std::process::id() { ", this one" } else { "" };
        write!(f, "process {} ({}{own})", self.pid, self.name)
    }
}

/// Processes in the tree `proc` that have `node` open, by process id.
pub fn holders(proc: &Path, node: &Path) -> Vec<Holder> {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let holder = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let files = files.filter(|file| fs::read_link(file.path()).is_ok_and(|link| link == node)).count();
        if files == 0 {
            return None;
        }
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        Some(Holder { pid, name: name.trim_end().to_owned(), files })
    };
    let mut found: Vec<_> = processes.filter_map(holder).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_the_file_it_has_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = fs::canonicalize(file.path()).unwrap();
        let found = holders(Path::new("/proc"), &path);
        assert_eq!(found.iter().map(|h| (h.pid, h.files)).collect::<Vec<_>>(), [(std::process::id(), 1)]);
        assert!(found[0].to_string().ends_with(", this one)"), "{}", found[0]);
        drop(file);
        assert_eq!(holders(Path::new("/proc"), &path), []);
    }
}
