// SPDX-License-Identifier: Apache-2.0
//! `heirloom probe` as a process, on software PFs: the one in the process, and one behind sockets. Hardware is in
//! `host_pf`, which runs in the host VM.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and so may its helpers")]

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tests::Heirloom;

/// Lines of a probe, but for KVM's, which are this machine's affair.
fn probe(words: &[&str]) -> (i32, Vec<Value>) {
    let finished = Heirloom::plain(&[&["probe", "--json"], words].concat()).finish().unwrap();
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"));
    let failed = report["checks"].as_array().unwrap().iter().any(|line| line["result"] == "fail");
    assert_eq!(report["usable"], !failed, "{report:#}");
    assert_eq!(finished.code, Some(i32::from(failed)), "{finished}");
    let lines = report["checks"].as_array().unwrap().iter();
    let lines: Vec<Value> = lines.filter(|line| !line["name"].as_str().unwrap().starts_with("kvm")).cloned().collect();
    (i32::from(lines.iter().any(|line| line["result"] == "fail")), lines)
}

fn find<'a>(lines: &'a [Value], name: &str, function: &str) -> &'a Value {
    let of = |line: &&Value| line["name"] == name && line["function"].as_str().is_some_and(|f| f.ends_with(function));
    lines.iter().find(of).unwrap_or_else(|| panic!("no {name} of {function}: {lines:#?}"))
}

fn looks_good(lines: &[Value], pf: &str, vf: &str) {
    for (name, function) in [("admin_queue", pf), ("admin_commands", pf), ("vf_bar0", vf), ("notify_info", vf)] {
        assert_eq!(find(lines, name, function)["result"], "pass", "{lines:#?}");
    }
    let sizes = find(lines, "queue_sizes", vf)["detail"].as_str().unwrap();
    assert!(sizes.contains("3 queues of 256, 256, 64 entries"), "{sizes}");
}

#[test]
fn software_pf_of_the_process() {
    let (code, lines) = probe(&["--soft-pf", "builtin"]);
    assert_eq!(code, 0, "{lines:#?}");
    looks_good(&lines, "soft/pf", "soft/vf0");
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &str) -> Server {
    let words = ["soft-pf", "--socket-dir", folder, "--vf", "net,loopback", "--vf", "net,loopback"];
    let mut server = Command::new(tests::binary().unwrap()).args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    Server(server)
}

#[test]
fn software_pf_behind_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (code, lines) = probe(&["--soft-pf", path, "--deep"]);
    assert_eq!((code, find(&lines, "pf_socket", "pf.sock")["result"].as_str()), (1, Some("fail")));
    let server = serve(path);
    let (code, lines) = probe(&["--soft-pf", path]);
    assert_eq!((code, find(&lines, "admin_queue", "pf.sock")["result"].as_str()), (0, Some("unknown")));
    // Twice: the PF is free again, and its VFs are off.
    for _ in 0..2 {
        let (code, lines) = probe(&["--soft-pf", path, "--deep"]);
        assert_eq!(code, 0, "{lines:#?}");
        looks_good(&lines, "pf.sock", "vf0.sock");
        looks_good(&lines, "pf.sock", "vf1.sock");
    }
    drop(server);
    let (code, lines) = probe(&["--soft-pf", path, "--deep"]);
    assert_eq!((code, find(&lines, "vfio_user", "pf.sock")["result"].as_str()), (1, Some("fail")));
}

/// A server that takes connections and says nothing is given up.
#[test]
fn silent_server() {
    let folder = tempfile::tempdir().unwrap();
    let _pf = UnixListener::bind(folder.path().join("pf.sock")).unwrap();
    let _vf = UnixListener::bind(folder.path().join("vf0.sock")).unwrap();
    let (code, lines) = probe(&["--soft-pf", folder.path().to_str().unwrap(), "--deep"]);
    assert_eq!((code, find(&lines, "vfio_user", "pf.sock")["result"].as_str()), (1, Some("fail")));
}

#[test]
fn wrong_words() {
    for words in
        [&["probe", "--vf", "eth0"][..], &["probe", "--all", "--pf", "41:00.0"], &["probe", "--memory", "much"]]
    {
        Heirloom::plain(words).finish().unwrap().expect_code(2).unwrap();
    }
    let help = Heirloom::plain(&["probe", "--help"]).finish().unwrap().expect_code(0).unwrap();
    help.expect_output("heirloom probe --pf 0000:41:00.0 --deep").unwrap();
    let help = Heirloom::plain(&["pf", "prepare", "--help"]).finish().unwrap().expect_code(0).unwrap();
    help.expect_output("heirloom pf prepare 0000:41:00.0 --vfs 4 --dry-run").unwrap();
}
