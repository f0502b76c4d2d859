// SPDX-License-Identifier: Apache-2.0
//! The machine of a test: the bare-metal guest, a disk and a network card.

use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;
use tests::report::last_boot;
use tests::{Finished, Heirloom, TestDisk, small_guest};

pub(crate) static GUEST: LazyLock<Result<PathBuf, String>> = LazyLock::new(small_guest);

/// A machine with a disk and a network card, about to run the scenario in `cmdline`.
pub(crate) struct Bench {
    pub disk: TestDisk,
    disk_keys: &'static str,
    net_keys: &'static str,
    pub memory: &'static str,
    pub cpu: &'static str,
    words: Vec<String>,
}

impl Bench {
    pub(crate) fn new(cmdline: &str) -> Result<Self, String> {
        let words = vec![format!("--cmdline={cmdline}")];
        Ok(Self { disk: TestDisk::new(64 << 10, 7)?, disk_keys: "", net_keys: "", memory: "64M", cpu: "legacy", words })
    }
    pub(crate) fn disk_keys(mut self, keys: &'static str) -> Self {
        self.disk_keys = keys;
        self
    }
    pub(crate) fn net_keys(mut self, keys: &'static str) -> Self {
        self.net_keys = keys;
        self
    }
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    pub(crate) fn start(&self) -> Result<Heirloom, String> {
        let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        Ok(Heirloom::run(&words)
            .args(&["--memory", self.memory, "--cpu", self.cpu, "--kernel"])
            .arg(guest)
            .arg(format!("--legacy-virtio=soft=blk,file={},id=disk{}", self.disk.path().display(), self.disk_keys))
            .arg(format!("--legacy-virtio=soft=net,loopback,id=net{}", self.net_keys))
            .arg("--report")
            .arg(self.report_path()))
    }

    pub(crate) fn report_path(&self) -> PathBuf {
        self.disk.dir().join("report.json")
    }

    /// Runs to a clean end, with `GUEST-OK` printed. Returns the output and the last boot's report.
    pub(crate) fn run(&self) -> Result<(Finished, Value), String> {
        let finished = self.start()?.finish()?.expect_code(0)?.expect_output("GUEST-OK")?;
        Ok((finished, last_boot(&self.report_path())?))
    }
}
