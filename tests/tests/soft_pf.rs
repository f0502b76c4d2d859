// SPDX-License-Identifier: Apache-2.0
//! `heirloom soft-pf` as a process: its sockets, its end, its report, and our own PF driver on the other side of the
//! sockets. None of this needs KVM.
#![allow(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, Wait};
use devices::function::vfio_user::VfioUserFunction;
use devices::function::{Bars, Configuration};
use serde_json::Value;
use tempfile::TempDir;
use tests::Heirloom;

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    child: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// A server that listens.
    fn start(folder: &TempDir, words: &[&str]) -> Self {
        let folder = folder.path().join("sockets");
        let mut child = Command::new(tests::binary().unwrap())
            .args(["soft-pf", "--socket-dir"])
            .arg(&folder)
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on ") && line.contains("pf.sock"), "{line:?}");
        child.stdout = Some(out.into_inner());
        Self { child, folder }
    }

    fn function(&self, name: &str) -> VfioUserFunction {
        VfioUserFunction::connect(&self.folder.join(name), PATIENCE).unwrap()
    }

    /// SIGTERM; returns the exit code and what was said on standard output.
    fn end(mut self) -> (Option<i32>, String) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

fn refused(words: &[&str], code: i32, text: &str) {
    let finished = Heirloom::plain(&[&["soft-pf"], words].concat()).limit(PATIENCE).finish().unwrap();
    finished.expect_code(code).unwrap().expect_error(text).unwrap();
}

#[test]
fn help_has_an_example_and_bad_words_are_refused() {
    let help = Heirloom::plain(&["soft-pf", "--help"]).finish().unwrap().expect_code(0).unwrap().stdout;
    for word in ["--socket-dir", "--vf", "--pf", "--mixed", "--hidden-vf", "--report", "Examples:", "listening on"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
    let folder = TempDir::new().unwrap();
    let sockets = folder.path().join("sockets").display().to_string();
    let dir = format!("--socket-dir={sockets}");
    refused(&[&dir], 2, "--vf");
    refused(&[&dir, "--vf", "net,loopback", "--vf", "blk,file=/dev/null"], 2, "--mixed");
    refused(&[&dir, "--vf", "net,loopback", "--pf", "blk,file=/dev/null"], 2, "--mixed");
    let same = "net,loopback,mac=02:00:00:00:00:01";
    refused(&[&dir, "--vf", same, "--vf", same], 2, "two network cards have the address");
    refused(&[&dir, "--vf", "blk,file=/nonexistent/disk"], 3, "cannot open the disk image");
    refused(&["--socket-dir=/nonexistent/a/b", "--vf", "net,loopback"], 3, "folder for sockets");
    assert!(!std::path::Path::new(&sockets).exists(), "nothing is left");
}

#[test]
fn sockets_go_with_the_server_and_those_of_a_dead_one_are_taken_over() {
    let folder = TempDir::new().unwrap();
    let words = ["--vf", "net,loopback", "--vf", "net,loopback"];
    let mut first = Server::start(&folder, &words);
    let sockets = first.folder.clone();
    let names = || {
        let entries = std::fs::read_dir(&sockets).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["pf.sock", "vf0.sock", "vf1.sock"]);
    let dir = format!("--socket-dir={}", sockets.display());
    refused(&[&dir, "--vf", "net,loopback"], 3, "another server has its sockets");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(names().len(), 3, "SIGKILL leaves them behind");
    let second = Server::start(&folder, &words);
    assert_eq!(second.function("pf.sock").config_read(0, Width::B4).unwrap(), 0x1041_1af4);
    let (code, said) = second.end();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(names().is_empty(), "the folder was there before this server");
}

#[test]
fn our_pf_driver_drives_it_through_the_sockets_and_the_report_tells() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    let report_word = format!("--report={}", report.display());
    let vf1 = "net,loopback,mac=02:00:00:00:00:01";
    let server = Server::start(&folder, &["--vf", "net,loopback", "--vf", vf1, &report_word, "--report=-"]);
    let vf = server.function("vf1.sock");
    assert_eq!(vf.config_read(0, Width::B4).unwrap(), 0x1041_1af4, "can be examined before it exists");
    vf.region_write(2, 20, Width::B1, 1).unwrap();
    assert_eq!(vf.region_read(2, 20, Width::B1).unwrap(), 0, "and does nothing");

    let driver = PfDriver::start(Arc::new(server.function("pf.sock")), Instant::now() + PATIENCE).unwrap();
    driver.enable_vfs(2).unwrap();
    let cancelled = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
    driver.negotiate_commands(&wait).unwrap();
    assert!(driver.supports_legacy());
    let channel: Arc<dyn AdminChannel> = driver.channel();
    let registers = AdminRegisters::new(channel, NonZeroU16::new(2).unwrap(), None);
    let mac = [0, 5].map(|at| registers.read(Area::Device, at, Width::B1, &wait).unwrap());
    assert_eq!(mac, [2, 1]);
    registers.write(Area::Common, 18, Width::B1, 3, &wait).unwrap();
    assert_eq!(vf.region_read(2, 20, Width::B1).unwrap(), 3, "both interfaces are of one device");
    driver.stop().unwrap();

    let sockets = server.folder.clone();
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(!sockets.exists(), "the folder was the server's own");
    assert!(said.contains("soft/vf1 net") && said.contains("0 DMA faults"), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let count = |name: &str| report["commands"][name].as_u64().unwrap();
    assert_eq!((count("list_use"), count("common_write"), count("device_read")), (1, 1, 2));
    assert_eq!(report["pf"]["device_type"], 1);
}

#[test]
fn a_hidden_vf_can_be_all_ones() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder, &["--vf", "net,loopback", "--hidden-vf", "ones"]);
    let vf = server.function("vf0.sock");
    assert_eq!(vf.config_read(0, Width::B4).unwrap(), 0xffff_ffff);
    assert_eq!(vf.region_read(2, 20, Width::B1).unwrap(), 0xff);
}
