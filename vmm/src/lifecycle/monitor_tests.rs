// SPDX-License-Identifier: Apache-2.0
//! Lines in a file, and readers that are late, slow or gone.
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::lifecycle::EventKind;

fn lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn targets_are_parsed() {
    assert_eq!("path=a=b".parse(), Ok(MonitorTarget::Path("a=b".into())));
    assert_eq!("fd=7".parse(), Ok(MonitorTarget::Fd(7)));
    for wrong in ["", "path=", "fd=x", "fd=-1", "fd=0", "/tmp/x", "file=x"] {
        assert!(wrong.parse::<MonitorTarget>().is_err(), "{wrong}");
    }
}

#[test]
fn a_file_gets_every_event_and_keeps_what_it_had() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events");
    std::fs::write(&path, "{}\n").unwrap();
    let bus = EventBus::new();
    let monitor = EventMonitor::start(&bus, MonitorTarget::Path(path.clone()).open().unwrap()).unwrap();
    bus.publish(EventKind::Created);
    bus.publish(EventKind::Crashed { reason: "line\nbreak".into() });
    bus.close();
    monitor.finish();
    let lines = lines(&std::fs::read_to_string(path).unwrap());
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[1]["seq"], &lines[1]["event"]), (&1.into(), &"created".into()));
    assert_eq!(lines[2]["properties"]["reason"], "line\nbreak");
}

#[test]
fn a_descriptor_is_duplicated_and_one_that_is_not_open_is_an_error() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let file = MonitorTarget::Fd(writer.as_raw_fd()).open().unwrap();
    drop(writer);
    let bus = EventBus::new();
    let monitor = EventMonitor::start(&bus, file).unwrap();
    bus.publish(EventKind::Booted);
    bus.close();
    monitor.finish();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(lines(&text)[0]["event"], "booted");
    assert!(MonitorTarget::Fd(9999).open().is_err());
}

#[test]
fn a_fifo_without_a_reader_is_an_error_and_nobody_waits() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(MonitorTarget::Path(path).open().is_err());
}

#[test]
fn a_reader_that_takes_nothing_holds_up_nobody_and_is_told_what_it_missed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let options = File::options().read(true).custom_flags(libc::O_NONBLOCK).clone();
    let mut reader = options.open(&path).unwrap();
    let bus = EventBus::new();
    let monitor = EventMonitor::start(&bus, MonitorTarget::Path(path).open().unwrap()).unwrap();
    let start = Instant::now();
    for _ in 0..5000 {
        bus.publish(EventKind::Paused);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    bus.close();
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while start.elapsed() < Duration::from_secs(20) {
        match reader.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    monitor.finish();
    let lines = lines(&text);
    let lost: u64 =
        lines.iter().filter(|l| l["event"] == "lost").map(|l| l["properties"]["count"].as_u64().unwrap()).sum();
    let got = lines.iter().filter(|l| l["event"] == "paused").count() as u64;
    assert!(lost > 0, "a pipe does not hold 5000 events");
    assert_eq!(lost + got, 5000);
}
