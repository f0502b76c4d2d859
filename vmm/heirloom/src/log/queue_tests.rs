// SPDX-License-Identifier: Apache-2.0
use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::LogFormat;
use super::super::tests::Lines;
use super::*;

const LONG: Duration = Duration::from_secs(60);

/// Blocks in each write until told to go on.
struct Stuck {
    entered: Sender<()>,
    go: Receiver<()>,
    lines: Lines,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.go.recv();
        self.lines.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn text(lines: &Lines) -> String {
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a2_a_reader_that_takes_nothing_holds_up_nobody_and_is_told_what_it_missed() {
    let ((entered, has_entered), (go, wait)) = (channel(), channel());
    let lines = Lines::default();
    let output = Stuck { entered, go: wait, lines: lines.clone() };
    let queue = Queue::start(Box::new(output), Note(LogFormat::Text)).unwrap();
    queue.put(b"first\n");
    has_entered.recv_timeout(LONG).unwrap();
    // The thread is stuck; whoever logs is not, and memory is bounded.
    let line = [b'x'; 1 << 10];
    for _ in 0..3 << 10 {
        queue.put(&line);
    }
    assert!(!queue.flush(Duration::from_millis(1)));
    assert_eq!(queue.0.state().bytes, CAPACITY);
    drop(go);
    assert!(queue.flush(LONG));
    let text = text(&lines);
    assert!(text.starts_with("first\n"));
    assert!(text.ends_with("WARN 2048 messages were dropped here: they are read too slowly\n"), "{text:.200}");
}

/// Full for a while.
struct Full(u32, Lines);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
            None => self.1.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn f21_a_full_disk_does_not_end_the_log_and_is_named() {
    let lines = Lines::default();
    let queue = Queue::start(Box::new(Full(3, lines.clone())), Note(LogFormat::Json)).unwrap();
    for line in ["one\n", "two\n", "three\n", "four\n"] {
        queue.put(line.as_bytes());
    }
    assert!(queue.flush(LONG));
    let text = text(&lines);
    let (note, rest) = text.split_once('\n').unwrap();
    let note: serde_json::Value = serde_json::from_str(note).unwrap();
    assert_eq!(note["message"], "3 messages were lost here: No space left on device (os error 28)");
    assert_eq!((note["level"].as_str(), rest), (Some("WARN"), "four\n"));
}
