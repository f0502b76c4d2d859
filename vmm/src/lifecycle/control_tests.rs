// SPDX-License-Identifier: Apache-2.0
//! An engine that is busy, full or gone, played by hand.
use std::thread;
use std::time::Instant;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK};

use super::*;

fn control() -> (Control, Receiver<Ticket>) {
    let wake = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).unwrap());
    Control::new(wake, EventBus::new())
}

#[test]
fn a_request_wakes_the_engine_and_gets_its_answer() {
    let (control, arrivals) = control();
    let wake = Arc::clone(&control.wake);
    let client =
        thread::spawn(move || control.add_device(serde_json::from_str::<api::LegacyVirtioConfig>(NET).unwrap()));
    let mut ticket = arrivals.recv().unwrap();
    while wake.read().is_err() {
        thread::yield_now();
    }
    assert!(matches!(ticket.begin(), Some(Request::AddDevice(..))));
    ticket.answer(Ok(Reply::Text("net7".into())));
    assert_eq!(client.join().unwrap(), Ok("net7".to_owned()));
}

const NET: &str = r#"{"soft":{"net":{"backend":"loopback"}}}"#;

#[test]
fn a_request_that_nobody_takes_is_given_up_and_never_carried_out() {
    let (control, arrivals) = control();
    let start = Instant::now();
    let error = control.ask(Request::Boot, Duration::from_millis(30)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(error.category, Category::Deadline);
    assert!(error.message.contains("was not begun"), "{error}");
    assert!(arrivals.recv().unwrap().begin().is_none());
}

#[test]
fn a_request_that_takes_too_long_goes_on_and_its_client_is_told() {
    let (control, arrivals) = control();
    let client = thread::spawn(move || control.ask(Request::Boot, Duration::from_millis(200)));
    let mut ticket = arrivals.recv().unwrap();
    assert!(ticket.begin().is_some());
    let error = client.join().unwrap().unwrap_err();
    assert!(error.message.contains("goes on"), "{error}");
    // Nobody listens: that must not stop the engine.
    ticket.answer(Ok(Reply::Done));
}

#[test]
fn more_requests_than_there_is_room_for_are_refused_at_once() {
    let (control, _arrivals) = control();
    let clients: Vec<_> = (0..MAX_WAITING)
        .map(|_| {
            let control = control.clone();
            thread::spawn(move || control.ask(Request::Info, Duration::from_secs(3)).unwrap_err().category)
        })
        .collect();
    let start = Instant::now();
    while control.ask(Request::Info, Duration::from_millis(1)).unwrap_err().category != Category::Busy {
        assert!(start.elapsed() < Duration::from_secs(3));
    }
    assert!(clients.into_iter().all(|client| matches!(client.join().unwrap(), Category::Deadline | Category::Busy)));
}

#[test]
fn an_engine_that_is_gone_answers_with_that() {
    let (control, arrivals) = control();
    let other = control.clone();
    let client = thread::spawn(move || other.boot());
    let mut ticket = arrivals.recv().unwrap();
    assert!(ticket.begin().is_some());
    drop((ticket, arrivals));
    assert_eq!(client.join().unwrap().unwrap_err().category, Category::ShuttingDown);
    assert_eq!(control.info().unwrap_err().category, Category::ShuttingDown);
}
