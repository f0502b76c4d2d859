// SPDX-License-Identifier: Apache-2.0
//! With FIFOs, full file systems and other writers.
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use tempfile::TempDir;

use super::*;

fn fifo(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// `work` on another thread: one that waits for ever fails the test instead of hanging it.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, done) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    done.recv_timeout(Duration::from_secs(60)).expect("it waits for somebody")
}

#[test]
fn a4_a_fifo_that_nobody_reads_is_refused_at_once_and_says_so() {
    let folder = TempDir::new().unwrap();
    let path = fifo(&folder);
    for open_it in [
        |path: &Path| Output::create(path, 0).map(drop),
        |path: &Path| Output::append(path, 100).map(drop),
        |path: &Path| whole::replace_within(Duration::from_millis(100), path, b"report"),
    ] {
        let path = path.clone();
        let error = in_time(move || open_it(&path).unwrap_err());
        assert_eq!(error.to_string(), "it is a FIFO that nobody reads: start its reader first");
    }
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(open(&socket).unwrap_err().to_string().contains("it is a socket"));
}

#[test]
fn a4_a_fifo_with_a_reader_gets_everything_and_writes_do_not_wait() {
    let folder = TempDir::new().unwrap();
    let path = fifo(&folder);
    let mut reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let mut output = Output::create(&path, 10).unwrap();
    let full = in_time(move || {
        while output.write(&[b'x'; 4096]).is_ok() {}
        (output.write(&[b'x'; 4096]).unwrap_err().kind(), output)
    });
    assert_eq!(full.0, io::ErrorKind::WouldBlock);
    let mut bytes = [0; 4096];
    assert_eq!(reader.read(&mut bytes).unwrap(), 4096);
    drop(full);
    while reader.read(&mut bytes).unwrap() != 0 {}
    replace(&path, b"report").unwrap();
    assert_eq!(reader.read(&mut bytes).unwrap(), 6, "and it is no file that could be renamed");
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
}

#[test]
fn f21_files_are_private_and_one_that_is_there_keeps_its_mode() {
    let folder = TempDir::new().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for name in ["created", "appended", "replaced"] {
        let path = folder.path().join(name);
        let write = |path: &Path| match name {
            "created" => Output::create(path, 4).unwrap().write_all(b"12345"),
            "appended" => Output::append(path, 4).unwrap().write_all(b"12345"),
            _ => replace(path, b"12345"),
        };
        write(&path).unwrap();
        assert_eq!(mode(&path), 0o600, "{name}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path).unwrap();
        assert_eq!((mode(&path), fs::read_dir(&folder).unwrap().count() > 0), (0o640, true), "{name}");
    }
}

#[test]
fn f21_a_full_file_moves_aside_and_a_new_one_begins() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, "of an earlier run").unwrap();
    let mut output = Output::create(&path, 10).unwrap();
    for line in ["one\n", "two\n", "three\n", "four\n", "five\n"] {
        output.write_all(line.as_bytes()).unwrap();
    }
    assert_eq!((text(&path), text(&older(&path))), ("four\nfive\n".into(), "three\n".into()));
    output.write_all(b"longer than the limit\n").unwrap();
    assert_eq!((text(&path), text(&older(&path))), ("longer than the limit\n".into(), "four\nfive\n".into()));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left");

    let mut more = Output::append(&path, 1000).unwrap();
    more.write_all(b"more\n").unwrap();
    assert_eq!(text(&path), "longer than the limit\nmore\n");
}

#[test]
fn f21_a_link_stays_and_its_file_moves() {
    let folder = TempDir::new().unwrap();
    let (path, link) = (folder.path().join("out"), folder.path().join("link"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut output = Output::create(&link, 4).unwrap();
    output.write_all(b"one\n").unwrap();
    output.write_all(b"two\n").unwrap();
    replace(&link, b"whole").unwrap();
    assert_eq!((text(&path), text(&older(&path))), ("whole".into(), "one\n".into()));
    assert!(link.is_symlink());
}

#[test]
fn f21_logrotate_copytruncate_leaves_no_hole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    for mut output in [Output::create(&path, 0).unwrap(), Output::append(&path, 1000).unwrap()] {
        output.write_all(&[b'x'; 500]).unwrap();
        let rotated =
            Command::new("sh").arg("-c").arg(r#"cp "$0" "$0.copy" && truncate -s 0 "$0""#).arg(&path).status().unwrap();
        assert!(rotated.success());
        output.write_all(b"after\n").unwrap();
        assert_eq!(text(&path), "after\n");
        output.write_all(&[b'y'; 600]).unwrap();
        assert!(text(&path).starts_with("after\n"), "what was cut does not count as size");
        assert!(!older(&path).exists());
    }
}

#[test]
fn f21_a_file_that_somebody_else_renamed_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let (path, moved) = (folder.path().join("out"), folder.path().join("moved"));
    let mut output = Output::create(&path, 4).unwrap();
    output.write_all(b"one\n").unwrap();
    fs::rename(&path, &moved).unwrap();
    output.write_all(b"two\n").unwrap();
    assert_eq!((text(&path), text(&moved)), ("two\n".into(), "one\n".into()));
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "new: ").unwrap();
    output.write_all(b"three\n").unwrap();
    assert_eq!(text(&path), "new: three\n");
    assert!(!older(&path).exists());
}

#[test]
fn f21_what_cannot_move_aside_is_cut_and_stays_within_its_limit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out");
    fs::create_dir_all(older(&path).join("not empty")).unwrap();
    let mut output = Output::create(&path, 10).unwrap();
    for _ in 0..100 {
        output.write_all(b"12345678\n").unwrap();
    }
    assert_eq!(text(&path), "12345678\n");
    assert!(!suffixed(&path, ".new").exists());
}

#[test]
fn f21_a_full_device_is_named_with_its_cause_and_costs_no_report() {
    let mut output = Output::create(Path::new("/dev/full"), 0).unwrap();
    let error = output.write(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), "/dev/full: No space left on device (os error 28)");
    assert_eq!(replace(Path::new("/dev/full"), b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn f21_a_report_that_does_not_fit_leaves_the_old_one() {
    // The child alone is limited: files of it have 8 KiB at most, and it does not die of the signal.
    if let Some(path) = std::env::var_os("HEIRLOOM_TEST_REPLACE") {
        let _ = signal_hook::flag::register(libc::SIGXFSZ, std::sync::Arc::default());
        assert!(replace(Path::new(&path), &[b'n'; 100_000]).is_err());
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("report");
    fs::write(&path, "old").unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"ulimit -f 8; exec "$0" --exact "$1""#])
        .arg(std::env::current_exe().unwrap())
        .arg("output::tests::f21_a_report_that_does_not_fit_leaves_the_old_one")
        .env("HEIRLOOM_TEST_REPLACE", &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!((text(&path), fs::read_dir(&folder).unwrap().count()), ("old".into(), 1));
}
