// SPDX-License-Identifier: Apache-2.0
//! Bad input on the command line: one clear error, the right exit code, and nothing created.
//! None of this needs KVM.
#![allow(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::fs;

use tempfile::TempDir;
use tests::{Finished, Heirloom, TestDisk};

const USAGE: i32 = 2;
const SET_UP: i32 = 3;

struct Folder(TempDir);

impl Folder {
    /// A folder with a file called `kernel` that is none.
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("kernel"), b"no kernel at all").unwrap();
        Self(dir)
    }
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
    fn run(&self, words: &[&str]) -> Finished {
        let kernel = self.path("kernel");
        Heirloom::run(&["--kernel", &kernel, "--serial=none"]).args(words).finish().unwrap()
    }
}

fn refused(finished: Finished, code: i32, text: &str) {
    let finished = finished.expect_code(code).unwrap().expect_error(text).unwrap();
    assert!(!finished.stderr.contains("panicked"), "{finished}");
    assert!(finished.stdout.is_empty(), "{finished}");
}

#[test]
fn help_names_every_option_and_the_exit_codes() {
    let help = Heirloom::run(&["--help"]).finish().unwrap().expect_code(0).unwrap().stdout;
    for word in ["--kernel", "--initrd", "--cmdline", "--cpus", "--memory", "--serial", "--legacy-virtio", "--report"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
    for word in ["soft=blk", "soft=net", "irq=auto|intx|msix", "Exit codes", "Ctrl-A X", "Example"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
}

#[test]
fn wrong_words() {
    let folder = Folder::new();
    refused(Heirloom::run(&[]).finish().unwrap(), USAGE, "there is nothing to boot: give --kernel");
    refused(folder.run(&["--legacy-virtio", "soft=blk,file=x,colour=red"]), USAGE, "unknown key 'colour'");
    refused(folder.run(&["--memory=lots"]), USAGE, "such as 512M");
    refused(folder.run(&["--memory=1M"]), USAGE, "multiple of 1M");
    refused(folder.run(&["--cpus=65"]), USAGE, "--cpus");
    let twice = ["--legacy-virtio=soft=net,loopback,id=a", "--legacy-virtio=soft=net,loopback,id=a"];
    refused(folder.run(&twice), USAGE, "two devices have the id 'a'");
}

#[test]
fn files_that_are_missing_or_broken() {
    let folder = Folder::new();
    refused(Heirloom::run(&["--kernel=/nonexistent/vmlinuz"]).finish().unwrap(), SET_UP, "cannot open the kernel");
    refused(folder.run(&[]), SET_UP, "kernel");
    refused(folder.run(&["--initrd=/nonexistent/initrd"]), SET_UP, "cannot open the initial RAM disk");
    let missing = format!("--legacy-virtio=soft=blk,file={}", folder.path("disk.img"));
    refused(folder.run(&[&missing]), SET_UP, "cannot open the disk image");
    assert!(!fs::exists(folder.path("disk.img")).unwrap());
}

#[test]
fn a_fifo_is_no_kernel_and_nobody_waits_for_it() {
    let folder = Folder::new();
    let fifo = folder.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let limit = std::time::Duration::from_secs(20);
    let words = ["--serial=none", "--kernel", &fifo];
    refused(Heirloom::run(&words).limit(limit).finish().unwrap(), SET_UP, "not a regular file");
    let words = ["--kernel", &folder.path("kernel"), "--initrd", &fifo];
    refused(Heirloom::run(&words).limit(limit).finish().unwrap(), SET_UP, "not a regular file");
}

#[test]
fn outputs_do_not_overwrite_inputs() {
    let folder = Folder::new();
    let disk = TestDisk::new(1 << 20, 1).unwrap();
    let before = disk.bytes().unwrap();
    let image = disk.path().to_str().unwrap().to_owned();
    let link = folder.path("link");
    std::os::unix::fs::symlink(&image, &link).unwrap();
    let option = format!("--legacy-virtio=soft=blk,file={image},id=root");
    let kernel = folder.path("kernel");
    for words in [["--serial", &image], ["--report", &image], ["--report", &link], ["--trace-legacy", &link]] {
        let words = [&["--kernel", &kernel, &option], words.as_slice()].concat();
        refused(Heirloom::run(&words).finish().unwrap(), USAGE, "would overwrite the image of disk 'root'");
    }
    let words = ["--kernel", &kernel, "--serial", &kernel];
    refused(Heirloom::run(&words).finish().unwrap(), USAGE, "would overwrite the kernel");
    let (one, same) = (folder.path("new.log"), folder.path("./new.log"));
    let words = ["--kernel", &kernel, "--serial", &one, "--report", &same];
    refused(Heirloom::run(&words).finish().unwrap(), USAGE, "give each its own file");
    assert!(disk.bytes().unwrap() == before && !fs::exists(one).unwrap());
}

#[test]
fn a_trace_has_a_place_of_its_own() {
    let folder = Folder::new();
    let disk = TestDisk::new(1024, 1).unwrap();
    let kernel = folder.path("kernel");
    let option = format!("--legacy-virtio=soft=blk,file={}", disk.path().display());
    let words = ["--kernel", &kernel, &option, "--serial=stdio", "--trace-legacy", "-"];
    refused(Heirloom::run(&words).finish().unwrap(), USAGE, "--trace-legacy - would write between");
    let nowhere = folder.path("none/trace.jsonl");
    let words = ["--kernel", &kernel, &option, "--serial=none", "--trace-legacy", &nowhere];
    refused(Heirloom::run(&words).finish().unwrap(), SET_UP, "cannot write the trace of legacy accesses to");
    let summarize = |path: &str| Heirloom::plain(&["trace", "summarize", path]).finish().unwrap();
    refused(summarize(&nowhere), 1, "cannot read");
    refused(summarize(&kernel), 1, "line 1 is not a line of a trace");
}

#[test]
fn a_disk_that_is_no_whole_number_of_sectors() {
    let folder = Folder::new();
    let disk = TestDisk::new(1000, 1).unwrap();
    let option = format!("--legacy-virtio=soft=blk,file={}", disk.path().display());
    refused(folder.run(&[&option]), SET_UP, "not a multiple of 512");
    assert_eq!(disk.bytes().unwrap().len(), 1000);
}

#[test]
fn a_tap_that_does_not_exist_is_not_created() {
    let folder = Folder::new();
    refused(folder.run(&["--legacy-virtio=soft=net,tap=heirloom9"]), SET_UP, "heirloom9");
    assert!(!fs::exists("/sys/class/net/heirloom9").unwrap());
}

#[test]
fn more_memory_than_the_host_can_give() {
    let folder = Folder::new();
    refused(folder.run(&["--memory=60T"]), SET_UP, "memory");
}

#[test]
fn a_serial_file_and_a_report_are_not_created_for_a_machine_that_cannot_be() {
    let folder = Folder::new();
    let (serial, report) = (folder.path("serial.log"), folder.path("report.txt"));
    let kernel = folder.path("kernel");
    let words = ["--kernel", &kernel, "--serial", &serial, "--report", &report];
    refused(Heirloom::run(&words).finish().unwrap(), SET_UP, "kernel");
    assert!(!fs::exists(serial).unwrap() && !fs::exists(report).unwrap());
    let words = ["--kernel", &kernel, "--report", "/nonexistent/folder/report.txt"];
    refused(Heirloom::run(&words).finish().unwrap(), SET_UP, "/nonexistent/folder");
}
