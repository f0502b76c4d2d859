// SPDX-License-Identifier: Apache-2.0
//! Lines in a file, and readers that are late, slow or gone.
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::lifecycle::EventKind;
use crate::output::test_disk::TestDisk;
use devices::contract::mock::wait_until;

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
    let monitor = EventMonitor::start(&bus, MonitorTarget::Path(path.clone()).open(0).unwrap()).unwrap();
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
    let file = MonitorTarget::Fd(writer.as_raw_fd()).open(0).unwrap();
    drop(writer);
    let bus = EventBus::new();
    let monitor = EventMonitor::start(&bus, file).unwrap();
    bus.publish(EventKind::Booted);
    bus.close();
    monitor.finish();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(lines(&text)[0]["event"], "booted");
    assert!(MonitorTarget::Fd(9999).open(0).is_err());
}

#[test]
fn a_fifo_without_a_reader_is_an_error_and_nobody_waits() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(MonitorTarget::Path(path).open(0).is_err());
}

#[test]
fn a_reader_that_takes_nothing_holds_up_nobody_and_is_told_what_it_missed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let options = File::options().read(true).custom_flags(libc::O_NONBLOCK).clone();
    let mut reader = options.open(&path).unwrap();
    let bus = EventBus::new();
    let monitor = EventMonitor::start(&bus, MonitorTarget::Path(path).open(0).unwrap()).unwrap();
    // Nobody reads meanwhile.
    for _ in 0..5000 {
        bus.publish(EventKind::Paused);
    }
    bus.close();
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    wait_until("the end of the file", || {
        let read = reader.read(&mut bytes);
        if let Ok(count) = read {
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        matches!(read, Ok(0))
    });
    monitor.finish();
    let lines = lines(&text);
    let lost: u64 =
        lines.iter().filter(|l| l["event"] == "lost").map(|l| l["properties"]["count"].as_u64().unwrap()).sum();
    let got = lines.iter().filter(|l| l["event"] == "paused").count() as u64;
    assert!(lost > 0, "a pipe does not hold 5000 events");
    assert_eq!(lost + got, 5000);
}

#[test]
fn f21_a_full_disk_costs_events_until_it_has_room_again() {
    // Room for one line and the beginning of the next.
    let disk = TestDisk::new(150);
    let mut writer = Writer { output: disk.output(), rest: Vec::new(), lost: 0, failing: false };
    let event = |seq| Event { seq, timestamp: SystemTime::now(), kind: EventKind::Paused };
    (1..=5).for_each(|seq| writer.take(&event(seq)));
    assert_eq!((writer.lost, writer.failing), (3, true), "the second is finished later");
    disk.set_room(10_000);
    writer.take(&event(6));
    let lines = lines(std::str::from_utf8(&disk.content()).unwrap());
    let seen: Vec<_> = lines.iter().map(|line| line["seq"].as_u64()).collect();
    assert_eq!(seen, [Some(1), Some(2), None, Some(6)]);
    assert_eq!((&lines[2]["event"], &lines[2]["properties"]["count"]), (&"lost".into(), &3.into()));
    assert!(!writer.failing);
}

#[test]
fn f21_events_do_not_grow_without_limit_and_lines_stay_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events");
    let bus = EventBus::new();
    let target = MonitorTarget::Path(path.clone());
    let monitor = EventMonitor::start(&bus, target.open(1000).unwrap()).unwrap();
    for _ in 0..100 {
        bus.publish(EventKind::GuestReset);
    }
    bus.close();
    monitor.finish();
    let older = lines(&std::fs::read_to_string(crate::output::older(&path)).unwrap());
    let newer = lines(&std::fs::read_to_string(&path).unwrap());
    assert!(path.metadata().unwrap().len() <= 1000 && !newer.is_empty());
    assert_eq!(newer.last().unwrap()["seq"], 100);
    assert_eq!(newer[0]["seq"].as_u64().unwrap(), older.last().unwrap()["seq"].as_u64().unwrap() + 1);
}
