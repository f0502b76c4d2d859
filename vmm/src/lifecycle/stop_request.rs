// SPDX-License-Identifier: Apache-2.0
//! The operator asks the process to stop, by a signal or from the console; and a watch that it stops in time.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use super::Ended;
use crate::end_in_time::end_in_time;

/// A request to stop. Signal handlers and the console make it, the main loop looks for it.
pub(super) struct StopRequest {
    /// 0: none yet; a signal's number; [`FROM_CONSOLE`] or [`PANICKED`].
    what: AtomicI32,
    /// The reason of the first panic.
    panicked: OnceLock<String>,
    event: Arc<EventFd>,
    /// Whoever waits for something else meanwhile.
    told: Mutex<Option<Box<dyn Fn() + Send>>>,
}

/// Ctrl-A X.
pub(super) const FROM_CONSOLE: i32 = -1;
/// A panic.
const PANICKED: i32 = -2;

impl StopRequest {
    /// No request; the first one signals `event`.
    pub(super) fn new(event: Arc<EventFd>) -> Arc<Self> {
        Arc::new(Self { what: AtomicI32::new(0), panicked: OnceLock::new(), event, told: Mutex::default() })
    }

    /// Asks to stop: `what` is a signal's number or [`FROM_CONSOLE`]. Only the first request counts.
    pub(super) fn make(&self, what: i32) {
        if self.what.compare_exchange(0, what, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Some(ended) = self.ended() {
            end_in_time(ended.code());
        }
        if let Err(error) = self.event.write(1) {
            tracing::error!("cannot wake the main loop: {error}");
        }
        if let Some(told) = &*self.told.lock().unwrap_or_else(PoisonError::into_inner) {
            told();
        }
    }

    /// Has `told` called at the first request, also if it was made before. There is one who is told; the last one counts.
    pub(super) fn on_request(&self, told: impl Fn() + Send + 'static) {
        let mut slot = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if self.ended().is_some() {
            told();
        }
        *slot = Some(Box::new(told));
    }

    /// Asks to stop because a thread panicked, which has a reason.
    pub(super) fn panicked(&self, reason: String) {
        let _ = self.panicked.set(reason);
        self.make(PANICKED);
    }

    /// How the run ends, if somebody asked for that.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self.what.load(Ordering::Relaxed) {
            0 => None,
            FROM_CONSOLE => Some(Ended::FromConsole),
            PANICKED => Some(Ended::Panicked(self.panicked.get().cloned().unwrap_or_default())),
            signal => Some(Ended::Signal(signal)),
        }
    }
}
