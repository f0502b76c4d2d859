// SPDX-License-Identifier: Apache-2.0
//! Over functions of a real machine's making: a software PF, its driver, and one transitional function.

use std::io::Write;
use std::sync::Condvar;

use super::*;
use crate::output::Output;
use crate::trace::file::TraceFormat;
use crate::trace::line::{Access, Sent};
use crate::trace::test_device::TestDevice;
use devices::contract::mock::{give_it_time, wait_until};

/// A file that keeps what it gets, and takes nothing while it is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    bytes: Vec<u8>,
    shut: bool,
}

impl Gate {
    fn shut(&self, shut: bool) {
        self.0.0.lock().unwrap().shut = shut;
        self.0.1.notify_all();
    }

    fn lines(&self) -> Vec<Line> {
        let bytes = self.0.0.lock().unwrap().bytes.clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inside = self.0.0.lock().unwrap();
        while inside.shut {
            inside = self.0.1.wait(inside).unwrap();
        }
        inside.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json(gate: &Gate) -> TraceFile {
    TraceFile::new(Output::other("gate", Box::new(gate.clone())), TraceFormat::Json)
}

fn accesses(lines: &[Line]) -> Vec<&Access> {
    lines.iter().filter_map(|line| if let Line::Access(access) = line { Some(access) } else { None }).collect()
}

fn lost(lines: &[Line]) -> u64 {
    lines.iter().map(|line| if let Line::Lost { count, .. } = line { *count } else { 0 }).sum()
}

/// Live lines until so many accesses are there, or counted as lost.
fn live(subscription: &TraceSubscription, wanted: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    wait_until("all accesses", || {
        match subscription.next(Duration::from_millis(100)) {
            NextLine::Line(line) => lines.push(serde_json::from_str(&line).unwrap()),
            NextLine::Nothing | NextLine::End => {}
        }
        accesses(&lines).len() as u64 + lost(&lines) >= wanted
    });
    lines
}

#[test]
fn a_file_has_all_accesses_once_it_is_closed() {
    let (hub, gate, device) = (TraceHub::new(), Gate::default(), TestDevice::new("net0"));
    device.trace(hub.tracer());
    hub.write_to(json(&gate)).unwrap();
    for _ in 0..500 {
        device.read(19);
    }
    device.read(18);
    hub.close();
    let lines = gate.lines();
    assert!(matches!(&lines[0], Line::Start { .. }));
    assert!(matches!(&lines[1], Line::Device { device, kind, .. } if device == "net0" && kind == "net"));
    let seen = accesses(&lines);
    assert_eq!((seen.len(), lost(&lines)), (501, 0));
    assert_eq!(
        (seen[500].register.as_str(), seen[500].sent, seen[500].command_count),
        ("device_status", Sent::Admin, 1)
    );
    assert!(hub.subscribe(None).unwrap().next(Duration::from_secs(5)) == NextLine::End, "it is closed");
}

#[test]
fn a_file_that_takes_nothing_costs_records_and_holds_up_nobody() {
    let (hub, gate, device) = (TraceHub::with_capacity(64), Gate::default(), TestDevice::new("net0"));
    device.trace(hub.tracer());
    hub.write_to(json(&gate)).unwrap();
    gate.shut(true);
    // If one waited for the file, it would wait for ever.
    for _ in 0..20_000 {
        device.read(19);
    }
    gate.shut(false);
    hub.close();
    let lines = gate.lines();
    assert!(lost(&lines) > 0, "the ring has 64 places, and the file was shut");
    assert_eq!(accesses(&lines).len() as u64 + lost(&lines), 20_000, "each access is there or counted");
    assert_eq!(device.read(18), 0, "the device is as before");
}

#[test]
fn live_readers_get_their_device_and_the_ring_rests_when_they_are_gone() {
    let hub = TraceHub::new();
    let (one, two) = (TestDevice::new("one"), TestDevice::new("two"));
    one.trace(hub.tracer());
    two.trace(hub.tracer());
    let all = hub.subscribe(None).unwrap();
    let only_two = hub.subscribe(Some("two")).unwrap();
    one.read(0);
    two.read(0);
    assert_eq!(accesses(&live(&all, 2)).len(), 2);
    let lines = live(&only_two, 1);
    assert_eq!(lines.iter().filter_map(Line::device_id).collect::<Vec<_>>(), ["two", "two"]);
    drop((all, only_two));
    wait_until("the thread ends", || {
        one.read(0);
        hub.state().thread.is_none()
    });
    while hub.tracer().take().is_some() {}
    one.read(0);
    assert!(hub.tracer().take().is_none(), "nobody looks, nothing is noted");
    let again = hub.subscribe(None).unwrap();
    one.read(18);
    assert_eq!(accesses(&live(&again, 1)).len(), 1);
}

#[test]
fn a_slow_live_reader_is_told_what_it_lost() {
    let (hub, device) = (TraceHub::new(), TestDevice::new("net0"));
    device.trace(hub.tracer());
    let slow = hub.subscribe(None).unwrap();
    for part in 0..20 {
        for _ in 0..500 {
            device.read(19);
        }
        give_it_time(Duration::from_millis(u64::from(part != 0) * 10));
    }
    let lines = live(&slow, 10_000);
    let (seen, gone) = (accesses(&lines).len() as u64, lost(&lines));
    assert!(gone > 0, "{AHEAD} lines wait at most");
    assert_eq!(seen + gone, 10_000);
}
