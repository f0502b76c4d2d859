// SPDX-License-Identifier: Apache-2.0
//! For tests: a real FUSE file whose server never answers, `scripts/lib/silent-fuse`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The server. Dropping it ends it, and with it the waiting of all who use the file.
pub struct SilentFuse {
    child: Child,
    folder: tempfile::TempDir,
}

impl SilentFuse {
    /// Starts one; `None` where FUSE is not to be had, which `test` says it was skipped for.
    pub fn start(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib/silent-fuse");
        let mut command = Command::new(script);
        command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said == "ready\n" {
            return Some(Self { child, folder });
        }
        let output = child.wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{why}");
        println!("SKIPPED: {test}: {why}");
        None
    }

    /// The file. Whoever has it must end this before, or waits.
    pub fn file(&self) -> File {
        let root = format!("/proc/{}/root", self.child.id());
        let path = Path::new(&root).join(self.folder.path().strip_prefix("/").unwrap()).join("bar");
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    }
}

impl Drop for SilentFuse {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
