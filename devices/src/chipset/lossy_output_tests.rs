// SPDX-License-Identifier: Apache-2.0
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::contract::mock::{PATIENCE, wait_until};

const LONG: Duration = PATIENCE;

/// Does what the script says, then takes everything. Keeps what it took.
struct Scripted {
    script: VecDeque<io::Result<usize>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
        self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(ErrorKind::WouldBlock.into())
    }
}

fn scripted(script: Vec<io::Result<usize>>) -> (LossyOutput, Arc<Mutex<Vec<u8>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let writer = Scripted { script: script.into(), taken: taken.clone() };
    (LossyOutput::new("test-out", Box::new(writer)).unwrap(), taken)
}

/// Blocks in each write until told to go on.
struct Stuck {
    entered: Sender<usize>,
    go: Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(bytes.len());
        self.go.recv().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn short_writes_interruptions_and_eagain_lose_nothing() {
    let error = |kind: ErrorKind| Err(io::Error::from(kind));
    let (mut out, taken) = scripted(vec![Ok(1), error(ErrorKind::WouldBlock), error(ErrorKind::Interrupted), Ok(2)]);
    out.write_all(b"hello ").unwrap();
    out.write_all(b"world").unwrap();
    assert!(out.drain(LONG));
    assert_eq!(*taken.lock().unwrap(), b"hello world");
    assert_eq!(out.lost(), 0);
}

#[test]
fn a_stuck_reader_costs_bytes_and_no_time() {
    let ((entered, has_entered), (go, wait)) = (channel(), channel());
    let mut out = LossyOutput::new("test-out", Box::new(Stuck { entered, go: wait })).unwrap();
    out.write_all(b"x").unwrap();
    assert_eq!(has_entered.recv_timeout(LONG).unwrap(), 1, "the thread is stuck from here on");
    out.write_all(&vec![b'y'; CAPACITY]).unwrap();
    assert_eq!(out.lost(), 0);
    out.write_all(b"zzz").unwrap();
    assert_eq!(out.lost(), 3);
    assert!(!out.drain(Duration::from_millis(1)));
    go.send(()).unwrap();
    assert_eq!(has_entered.recv_timeout(LONG).unwrap(), CAPACITY, "the rest goes in one write");
    go.send(()).unwrap();
    assert!(out.drain(LONG));
    out.write_all(b"a").unwrap();
    assert_eq!(has_entered.recv_timeout(LONG).unwrap(), 1, "and it goes on");
    drop(go);
}

#[test]
fn f21_a_full_disk_costs_bytes_until_it_has_room_again() {
    let full = || Err(io::Error::from(ErrorKind::StorageFull));
    let (mut out, taken) = scripted(vec![Ok(2), full(), full()]);
    for (text, written, lost) in [("abcd", "ab", 2), ("efg", "ab", 5), ("hi", "abhi", 5)] {
        out.write_all(text.as_bytes()).unwrap();
        // Written, or dropped: it is one of both, and then no more is.
        wait_until(text, || (taken.lock().unwrap().as_slice(), out.lost()) == (written.as_bytes(), lost));
        assert!(out.drain(LONG), "a failing writer holds up nobody");
    }
}

/// The rest is written during the drop or, on a machine that is very busy, soon after it.
fn wait_for(taken: &Mutex<Vec<u8>>, wanted: &[u8]) {
    wait_until("the rest is written", || *taken.lock().unwrap() == wanted);
}

#[test]
fn drop_writes_the_rest_even_to_a_busy_writer() {
    let (mut out, taken) = scripted(Vec::new());
    out.write_all(b"last words").unwrap();
    drop(out);
    wait_for(&taken, b"last words");

    let busy = || Err(io::Error::from(ErrorKind::WouldBlock));
    let (mut out, taken) = scripted(vec![busy(), busy(), busy(), busy()]);
    out.write_all(b"later").unwrap();
    drop(out);
    wait_for(&taken, b"later");
}

#[test]
fn drop_does_not_hang_on_a_stuck_writer() {
    let ((entered, has_entered), (_go, wait)) = (channel(), channel());
    let mut out = LossyOutput::new("test-out", Box::new(Stuck { entered, go: wait })).unwrap();
    out.write_all(b"x").unwrap();
    has_entered.recv_timeout(LONG).unwrap();
    let (ended, has_ended) = channel();
    thread::spawn(move || {
        drop(out);
        ended.send(()).unwrap();
    });
    has_ended.recv_timeout(LONG).expect("nobody lets the writer go on");
}

/// Always busy. Its end can be seen by the other end of the channel.
struct Busy(#[expect(dead_code)] Sender<()>);

impl Write for Busy {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_thread_of_a_dropped_output_gives_up_on_a_writer_that_stays_busy() {
    let (alive, ended) = channel();
    let mut out = LossyOutput::new("test-out", Box::new(Busy(alive))).unwrap();
    out.write_all(b"x").unwrap();
    drop(out);
    assert_eq!(ended.recv_timeout(LONG), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}
