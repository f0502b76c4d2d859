// SPDX-License-Identifier: Apache-2.0
//! What the main loop does when a function is wanted back or fails: it tells the function's user at once. The
//! kernel waits for a function it wants back, and so does whoever writes to `sriov_numvfs`.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::eventfd::EventFd;

use super::SetupError;

/// One event and what to do about it.
pub(super) struct Watched {
    event: EventFd,
    name: String,
    act: Box<dyn Fn() + Send>,
}

impl Watched {
    /// `act` runs on the main loop's thread at the event of the function `name`.
    ///
    /// # Errors
    /// When there is no descriptor to be had for it. The guest does not start then: the kernel would wait for a
    /// function it wants back for as long as the guest lives, and nobody would know why.
    pub(super) fn new(event: &EventFd, name: &str, act: impl Fn() + Send + 'static) -> Result<Self, SetupError> {
        let failed = |source| SetupError::System { what: "watch for requests to give a function back", source };
        Ok(Self { event: event.try_clone().map_err(failed)?, name: name.to_owned(), act: Box::new(act) })
    }
}

/// Events that the main loop should watch, and cannot: subscribers are asked what they want when they are added, and have
/// no other way to say that they did not get it.
#[derive(Clone, Default)]
pub(super) struct Unwatched(Arc<Mutex<Option<SetupError>>>);

impl Unwatched {
    /// Nobody will notice `what`.
    pub(super) fn tell(&self, what: impl Into<String>, source: event_manager::Error) {
        *self.error() = Some(SetupError::Unwatched { what: what.into(), source });
    }

    /// # Errors
    /// The last one that was told.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        self.error().take().map_or(Ok(()), Err)
    }

    fn error(&self) -> MutexGuard<'_, Option<SetupError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the functions of a machine.
pub(super) struct RemovalWatch {
    watched: Vec<Watched>,
    unwatched: Unwatched,
}

impl RemovalWatch {
    /// `unwatched` is told of what cannot be watched.
    pub(super) fn new(watched: Vec<Watched>, unwatched: &Unwatched) -> Self {
        Self { watched, unwatched: unwatched.clone() }
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
                self.unwatched.tell(format!("requests to give {} back", watched.name), error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let unwatched = Unwatched::default();
        manager.add_subscriber(Box::new(RemovalWatch::new(watched, &unwatched)) as Subscriber);
        unwatched.check().unwrap();
        manager.run_with_timeout(10).unwrap();
        events[1].write(1).unwrap();
        manager.run_with_timeout(1000).unwrap();
        events[1].write(1).unwrap();
        manager.run_with_timeout(10).unwrap();
        let counts: Vec<_> = seen.iter().map(|seen| seen.load(Ordering::SeqCst)).collect();
        assert_eq!(counts, [0, 1]);
    }

    /// Somebody has the descriptor's place in the main loop already.
    struct InTheWay(std::os::fd::RawFd);

    impl MutEventSubscriber for InTheWay {
        fn process(&mut self, _events: Events, _ops: &mut EventOps) {}
        fn init(&mut self, ops: &mut EventOps) {
            ops.add(Events::new_raw(self.0, EventSet::IN)).unwrap();
        }
    }

    #[test]
    fn b8_a_removal_that_cannot_be_watched_is_no_machine() {
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        let watched = Watched::new(&event, "0000:41:00.3", || {}).unwrap();
        let mut manager: Loop = EventManager::new().unwrap();
        manager.add_subscriber(Box::new(InTheWay(watched.event.as_raw_fd())) as Subscriber);
        let unwatched = Unwatched::default();
        manager.add_subscriber(Box::new(RemovalWatch::new(vec![watched], &unwatched)) as Subscriber);
        let error = unwatched.check().unwrap_err().to_string();
        assert!(error.starts_with("cannot watch for requests to give 0000:41:00.3 back: "), "{error}");
    }
}
