// SPDX-License-Identifier: Apache-2.0
//! Order, loss, and that nobody waits for a reader.
use std::thread;

use super::*;
use devices::contract::mock::{PATIENCE, give_it_time};

const LIMIT: Duration = PATIENCE;

fn seq(next: Next) -> u64 {
    match next {
        Next::Event(event) => event.seq,
        other => panic!("{other:?}"),
    }
}

#[test]
fn readers_get_all_events_in_order_from_when_they_came() {
    let bus = EventBus::new();
    bus.publish(EventKind::Created);
    let (mut late, mut early) = (bus.subscribe(), bus.subscribe_from_start());
    bus.publish(EventKind::Booting);
    bus.publish(EventKind::Booted);
    assert_eq!([1, 2, 3], std::array::from_fn(|_| seq(early.next(LIMIT))));
    assert_eq!([2, 3], std::array::from_fn(|_| seq(late.next(LIMIT))));
    assert!(matches!(late.next(Duration::ZERO), Next::Nothing));
    bus.close();
    bus.publish(EventKind::Deleted);
    assert!(matches!(late.next(LIMIT), Next::Closed));
    assert_eq!(bus.published(), 3);
}

#[test]
fn a_slow_reader_is_told_how_many_it_lost_and_nobody_waits_for_it() {
    let bus = EventBus::new();
    let mut slow = bus.subscribe();
    let many = KEPT as u64 * 3 + 5;
    for _ in 0..many {
        bus.publish(EventKind::Paused);
    }
    let lost = match slow.next(LIMIT) {
        Next::Lost(lost) => lost,
        other => panic!("{other:?}"),
    };
    assert_eq!(lost, many - KEPT as u64);
    let got: Vec<u64> = (0..KEPT).map(|_| seq(slow.next(LIMIT))).collect();
    assert_eq!(got, (lost + 1..=many).collect::<Vec<_>>());
    assert_eq!(bus.ring().kept.len(), KEPT, "memory is bounded");
}

#[test]
fn a_waiting_reader_is_woken() {
    let bus = EventBus::new();
    let mut reader = bus.subscribe();
    let waiting = thread::spawn(move || reader.next(Duration::from_secs(3600)));
    give_it_time(Duration::from_millis(20));
    bus.publish(EventKind::GuestPowerOff);
    assert!(matches!(waiting.join().unwrap(), Next::Event(_)));
}

#[test]
fn json_has_sequence_time_source_name_and_properties() {
    let kind = EventKind::DeviceFaulted { id: "net0".into(), reason: "no \"answer\"".into() };
    let timestamp = SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, 678_901_234);
    let text = serde_json::to_string(&Event { seq: 7, timestamp, kind }).unwrap();
    assert_eq!(
        text,
        r#"{"seq":7,"timestamp":"2026-01-02T03:04:05.678901234Z","source":"device","event":"faulted","properties":{"id":"net0","reason":"no \"answer\""}}"#
    );
}

#[test]
fn a_clock_that_is_set_wrong_is_no_panic() {
    assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000000Z");
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    assert_eq!(rfc3339(far), "9999-12-31T23:59:59.000000000Z");
}
