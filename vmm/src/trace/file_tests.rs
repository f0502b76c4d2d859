// SPDX-License-Identifier: Apache-2.0
//! Traces that become too large, or that nobody takes.
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use super::*;
use crate::output::test_disk::TestDisk;

fn interrupt(t: u64) -> Line {
    Line::Interrupt { t, device: "net0".into(), isr: 1, spurious: false }
}

fn lines(text: &[u8]) -> Vec<Line> {
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn begin(file: &mut TraceFile) {
    assert!(file.write(&Line::start("2026-01-02T03:04:05Z".into())));
    assert!(file.write(&Line::Device { t: 1, device: "net0".into(), kind: "net".into() }));
}

#[test]
fn f21_a_full_trace_moves_aside_and_both_parts_can_be_read() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("trace.jsonl");
    let mut file = TraceTarget::new(&path, None).open(200_000).unwrap();
    begin(&mut file);
    for t in 0..10_000 {
        assert!(file.write(&interrupt(t)));
    }
    file.finish();
    let parts = [crate::output::older(&path), path].map(|path| {
        assert!(path.metadata().unwrap().len() <= 201_000, "but for the lines at the head");
        lines(&fs::read(path).unwrap())
    });
    for part in &parts {
        assert!(matches!((&part[0], &part[1]), (Line::Start { .. }, Line::Device { .. })), "{:?}", &part[..2]);
    }
    let (last, first) = (parts[0].last().unwrap().time(), parts[1][2].time());
    assert_eq!((last + 1, parts[1].last().unwrap().time()), (first, 9999));
}

#[test]
fn f21_a_full_disk_leaves_a_gap_that_is_told() {
    let disk = TestDisk::new(100_001);
    let mut file = TraceFile::new(disk.output(), TraceFormat::Json);
    begin(&mut file);
    let written = (0..5000).filter(|t| file.write(&interrupt(*t)) && file.lost == 0).count() as u64;
    assert!(written < 5000 && file.flush());
    disk.set_room(usize::MAX);
    assert!(file.write(&interrupt(5000)));
    file.finish();
    let lines = lines(&disk.content());
    let lost = lines.iter().find_map(|line| if let Line::Lost { count, .. } = line { Some(*count) } else { None });
    let seen = lines.iter().filter(|line| matches!(line, Line::Interrupt { .. })).count() as u64;
    assert_eq!((lost, lines.last().unwrap().time()), (Some(5001 - seen), 5000));
}

#[test]
fn a4_a_fifo_whose_reader_takes_nothing_costs_lines_and_no_time_for_each() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let target = TraceTarget::new(&path, Some(TraceFormat::Json));
    assert!(target.open(0).is_err(), "nobody reads");
    let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    let mut file = target.open(0).unwrap();
    // More than a pipe and the buffer hold: with a wait for each line this would take 17 min.
    for t in 0..10_000 {
        assert!(file.write(&interrupt(t)));
    }
    assert!(file.lost > 0 && file.failing);
    drop(reader);
    assert!(file.flush(), "the next reader may come");
}
