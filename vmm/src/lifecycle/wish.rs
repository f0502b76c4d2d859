// SPDX-License-Identifier: Apache-2.0
//! What the operator wants by a signal or from the console, and that an end that is wanted comes in time.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{process, thread};

use vmm_sys_util::eventfd::EventFd;

use super::Ended;
use crate::terminal;

/// How long an end that the operator wants may take; by then nobody but us can be to blame, or who does
/// not read the report. Longer than a machine may take to stop.
const END_LIMIT: Duration = Duration::from_secs(15);
/// What the message about that may take: standard error may be what is stuck.
const LAST_WORDS_LIMIT: Duration = Duration::from_millis(200);

/// Nothing yet, a signal's number, or [`LEAVE`].
pub(super) struct Wish {
    what: AtomicI32,
    event: Arc<EventFd>,
}

/// Ctrl-A X.
pub(super) const LEAVE: i32 = -1;

impl Wish {
    /// No wish; one that is made signals `event`.
    pub(super) fn new(event: Arc<EventFd>) -> Arc<Self> {
        Arc::new(Self { what: AtomicI32::new(0), event })
    }

    /// The wish that comes first counts.
    pub(super) fn make(&self, what: i32) {
        if self.what.compare_exchange(0, what, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Some(ended) = self.granted() {
            end_in_time(ended);
        }
        if let Err(error) = self.event.write(1) {
            tracing::error!("cannot wake the main loop: {error}");
        }
    }

    /// How it is to end, if it is.
    pub(super) fn granted(&self) -> Option<Ended> {
        match self.what.load(Ordering::Relaxed) {
            0 => None,
            LEAVE => Some(Ended::Left),
            signal => Some(Ended::Signal(signal)),
        }
    }
}

/// Ends the process if it does not end by itself, be it that nobody reads the pipe that the report or a
/// message goes to. The operator's wish for an end is not to be repeated with SIGKILL.
fn end_in_time(ended: Ended) {
    let watch = move || {
        thread::sleep(END_LIMIT);
        terminal::restore();
        // On yet another thread, as it may wait for ever.
        let _ = thread::Builder::new().spawn(|| {
            let _ = writeln!(io::stderr(), "heirloom: the end took more than {END_LIMIT:?}, what is left is given up");
        });
        thread::sleep(LAST_WORDS_LIMIT);
        process::exit(ended.code().into())
    };
    if let Err(error) = thread::Builder::new().name("end-in-time".to_owned()).spawn(watch) {
        tracing::warn!("nothing watches how long the end takes: {error}");
    }
}
