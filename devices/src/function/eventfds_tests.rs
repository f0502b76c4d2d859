// SPDX-License-Identifier: Apache-2.0
//! Tests of `eventfds`, with eventfds as a hostile process leaves them: blocking, full or empty.

use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use vmm_sys_util::eventfd::EFD_NONBLOCK;

use super::*;

/// The most that a counter can hold.
const FULL: u64 = u64::MAX - 1;

/// What another holder of the descriptor can do to it.
fn blocking() -> EventFd {
    let event = EventFd::new(EFD_NONBLOCK).unwrap();
    let flags = fcntl_getfl(borrow(&event)).unwrap();
    fcntl_setfl(borrow(&event), flags - OFlags::NONBLOCK).unwrap();
    event
}

/// Fails the test, instead of hanging it, when `work` waits.
fn does_not_wait<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(work()));
    told.recv_timeout(Duration::from_secs(20)).expect("it waits")
}

#[test]
fn every_signal_is_counted() {
    let event = EventFd::new(EFD_NONBLOCK).unwrap();
    // More than the kernel keeps completions for.
    for _ in 0..5000 {
        signal(&event).unwrap();
    }
    assert_eq!(take(&event), Some(5000));
    assert_eq!(take(&event), None);
    signal_if_writable(&event).unwrap();
    assert_eq!(take(&event), Some(1));
}

#[test]
fn threads_lose_no_signal_of_each_other() {
    let event = EventFd::new(EFD_NONBLOCK).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2000).for_each(|_| signal(&event).unwrap()));
        }
    });
    assert_eq!(take(&event), Some(8000));
}

#[test]
fn a_full_counter_that_blocks_holds_nobody_up() {
    let event = blocking();
    event.write(FULL).unwrap();
    let theirs = event.try_clone().unwrap();
    does_not_wait(move || (0..300).for_each(|_| signal(&theirs).unwrap()));
    assert!(event.read().unwrap() >= FULL, "still signalled");
    event.write(FULL).unwrap();
    let theirs = event.try_clone().unwrap();
    does_not_wait(move || signal_if_writable(&theirs).unwrap());
}

#[test]
fn an_empty_counter_that_blocks_holds_nobody_up() {
    let event = blocking();
    let theirs = event.try_clone().unwrap();
    assert_eq!(does_not_wait(move || take(&theirs)), None);
    event.write(3).unwrap();
    assert_eq!(take(&event), Some(3));
}

#[test]
fn what_is_no_eventfd_is_an_error() {
    use std::os::fd::{FromRawFd, IntoRawFd};
    let (pipe, _other) = std::io::pipe().unwrap();
    // SAFETY: the descriptor is the pipe's own and nobody else's from here on.
    #[allow(unsafe_code)]
    let event = unsafe { EventFd::from_raw_fd(OwnedFd::from(pipe).into_raw_fd()) };
    assert!(Aio::new().is_none_or(|aio| aio.signal(&event).is_err()));
}
