// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;

use super::super::LogFormat;
use super::super::note::Note;
use super::super::tests::Lines;
use super::*;

#[test]
fn a2_one_source_is_limited_and_says_how_much_was_left_out() {
    let mut bucket = Bucket { left: 2, refilled: Instant::now(), left_out: 0 };
    let start = bucket.refilled;
    assert_eq!([(); 4].map(|()| bucket.take(start)), [Some(0), Some(0), None, None]);
    assert_eq!(bucket.take(start + INTERVAL / 2), None);
    assert_eq!(bucket.take(start + INTERVAL), Some(3), "one in each interval, with what went before it");
    assert_eq!(bucket.take(start + INTERVAL), None);
    let later = start + 100_000 * INTERVAL;
    assert_eq!(bucket.take(later), Some(1));
    assert_eq!((1..BURST).filter(|_| bucket.take(later).is_some()).count() as u32, BURST - 1);
    assert_eq!(bucket.take(later), None, "rest earns one burst and no more");
}

#[test]
fn a2_devices_do_not_silence_each_other_and_debugging_is_complete() {
    let lines = Lines::default();
    let queue = Queue::start(Box::new(lines.clone()), Note(LogFormat::Text)).unwrap();
    let (writer, limit) = (queue.clone(), RateLimit::new(queue.clone()));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish()
        .with(limit);
    let fault = |device: &str| tracing::warn!(device, "a fault");
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..1000 {
            fault("net0");
            tracing::debug!("a detail");
        }
        fault("net1");
    });
    assert!(queue.flush(Duration::from_secs(60)));
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    let burst = BURST as usize;
    // One more for each second that it takes.
    assert!((burst..burst + 100).contains(&count("device=\"net0\"")), "{}", count("net0"));
    assert_eq!((count("device=\"net1\""), count("a detail")), (1, 1000));
}

#[test]
fn a2_what_is_told_apart_is_bounded() {
    tracing::subscriber::with_default(tracing_subscriber::fmt().finish(), || {
        let queue = Queue::start(Box::new(Lines(Arc::default())), Note(LogFormat::Json)).unwrap();
        let limit = RateLimit::new(queue);
        let place = tracing::callsite!(name: "here", kind: tracing::metadata::Kind::EVENT, fields: device);
        let place = tracing::callsite::Callsite::metadata(place).callsite();
        for number in 0..10 * SOURCES {
            limit.take(Source { place: place.clone(), device: Some(number.to_string()) }, Instant::now());
        }
        assert!(limit.sources.lock().unwrap().len() <= SOURCES + 1);
    });
}
