// SPDX-License-Identifier: Apache-2.0
//! The main loop's part when functions are wanted back or fail: whoever has them is told at once. The
//! kernel waits for a function it wants back, and so does whoever writes to `sriov_numvfs`.

use std::os::fd::AsRawFd;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::EventFd;

/// One event and what to do about it.
pub(super) struct Watched {
    event: EventFd,
    act: Box<dyn Fn() + Send>,
}

impl Watched {
    /// `act` runs on the main loop's thread at the event; `None` if it cannot be watched, which is logged.
    pub(super) fn new(event: &EventFd, name: &str, act: impl Fn() + Send + 'static) -> Option<Self> {
        match event.try_clone() {
            Ok(event) => Some(Self { event, act: Box::new(act) }),
            Err(error) => {
                tracing::warn!(function = name, %error, "cannot watch for requests to give a function back");
                None
            }
        }
    }
}

/// Watches the functions of a machine.
pub(super) struct RemovalWatch {
    watched: Vec<Watched>,
}

impl RemovalWatch {
    pub(super) fn new(watched: Vec<Watched>) -> Self {
        Self { watched }
    }
}

impl MutEventSubscriber for RemovalWatch {
    /// Each event is acted on once: a function that is let go of cannot be wanted back again, and the
    /// kernel repeats itself until it is.
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        let Some(watched) = self.watched.iter().find(|watched| watched.event.as_raw_fd() == events.fd()) else {
            return;
        };
        if let Err(error) = ops.remove(Events::new(&watched.event, EventSet::IN)) {
            tracing::debug!("an event that was seen is still watched: {error:?}");
        }
        (watched.act)();
    }

    fn init(&mut self, ops: &mut EventOps) {
        for watched in &self.watched {
            if let Err(error) = ops.add(Events::new(&watched.event, EventSet::IN)) {
                tracing::error!("cannot watch for requests to give a function back: {error:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use event_manager::{EventManager, SubscriberOps};
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;
    use crate::machine::{Loop, Subscriber};

    #[test]
    fn each_event_is_acted_on_once_and_by_its_own() {
        let events: Vec<_> = (0..2).map(|_| EventFd::new(EFD_NONBLOCK).unwrap()).collect();
        let seen: Vec<_> = (0..2).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let watch = |(event, seen): (&EventFd, &Arc<AtomicU64>)| {
            let seen = Arc::clone(seen);
            Watched::new(event, "f", move || {
                let _ = seen.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap()
        };
        let mut manager: Loop = EventManager::new().unwrap();
        let watched = events.iter().zip(&seen).map(watch).collect();
        manager.add_subscriber(Box::new(RemovalWatch::new(watched)) as Subscriber);
        manager.run_with_timeout(10).unwrap();
        events[1].write(1).unwrap();
        manager.run_with_timeout(1000).unwrap();
        events[1].write(1).unwrap();
        manager.run_with_timeout(10).unwrap();
        let counts: Vec<_> = seen.iter().map(|seen| seen.load(Ordering::SeqCst)).collect();
        assert_eq!(counts, [0, 1]);
    }
}
