// SPDX-License-Identifier: Apache-2.0
//! The thread of one function: waits for kicks, for linked ioeventfds and for the tap device, and
//! processes queues.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber, SubscriberId, SubscriberOps};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::SoftPfError;
use super::event_loop::{Loop, Subscriber};
use super::threaded::Threaded;
use crate::contract::threads::{self, ThreadKind};
use crate::function::{FunctionError, KickLink, Result as FunctionResult, eventfds};

/// Event data: queue indices, and these.
const SOURCE: u32 = 0x1_0000;
const STOP: u32 = 0x1_0001;

/// A running thread. Dropping it stops the thread and waits for its end.
pub(super) struct Worker {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread that serves `owner`.
    pub(super) fn spawn(mut events: Loop, owner: Arc<Threaded>) -> Result<Self, SoftPfError> {
        let stop = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(SoftPfError::Event)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let server = Server {
            source: owner.function.device().model.source(),
            owner: owner.clone(),
            watching: false,
            stop: stop.try_clone().map_err(SoftPfError::Event)?,
            stopped: stopped.clone(),
        };
        events.add_subscriber(Arc::new(Mutex::new(server)));
        let name = owner.function.name().to_owned();
        let run = move || {
            while !stopped.load(Ordering::Acquire) {
                if let Err(error) = events.run() {
                    tracing::error!(
                        function = owner.function.name(),
                        ?error,
                        "event loop failed; no queue is served any more"
                    );
                    break;
                }
            }
        };
        let thread = threads::spawn(ThreadKind::Function, name, run).map_err(SoftPfError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.stop.write(1) {
            tracing::error!(%error, "cannot stop a function's thread");
        } else if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a function's thread panicked");
        }
    }
}

/// Watches the function's own descriptors.
struct Server {
    owner: Arc<Threaded>,
    source: Option<RawFd>,
    /// Whether the source is watched. It is not while nobody would take what it has: it stays
    /// readable, and the loop would spin.
    watching: bool,
    stop: EventFd,
    stopped: Arc<AtomicBool>,
}

impl Server {
    fn update_source(&mut self, ops: &mut EventOps<'_>) {
        let Some(source) = self.source else { return };
        let wanted = self.owner.wants_source();
        if wanted == self.watching {
            return;
        }
        let events = Events::with_data_raw(source, SOURCE, EventSet::IN);
        let changed = if wanted { ops.add(events) } else { ops.remove(events) };
        match changed {
            Ok(()) => self.watching = wanted,
            Err(error) => tracing::error!(?error, wanted, "cannot change what a function's thread waits for"),
        }
    }
}

impl MutEventSubscriber for Server {
    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            STOP => self.stopped.store(true, Ordering::Release),
            SOURCE => {
                let again = self.owner.serve(0);
                if events.event_set().contains(EventSet::HANG_UP) && !again && self.owner.wants_source() {
                    // Datagram sockets that were shut down say nothing else.
                    self.owner.function.device().model.source_hung_up();
                }
                // Gone for good when the model says so.
                if self.owner.function.device().model.source().is_none() && self.watching {
                    let watched = self.source.take();
                    let removed = watched.map(|fd| ops.remove(Events::with_data_raw(fd, SOURCE, EventSet::IN)));
                    self.watching = removed.is_some_and(|removed| removed.is_err());
                }
            }
            queue => {
                let queue = queue as usize;
                if let Some(event) = self.owner.kicks.get(queue) {
                    // Non-blocking; it may have been read for an earlier kick.
                    let _ = event.read();
                    self.owner.serve(queue);
                }
            }
        }
        self.update_source(ops);
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        let kicks = (0..).zip(&self.owner.kicks).map(|(queue, event)| Events::with_data(event, queue, EventSet::IN));
        for events in kicks.chain([Events::with_data(&self.stop, STOP, EventSet::IN)]) {
            if let Err(error) = ops.add(events) {
                tracing::error!(?error, "a function's thread cannot wait for its events");
            }
        }
    }
}

/// Turns signals of an ioeventfd into kicks. Each signal wakes the thread (the eventfd is watched for edges), so that a
/// kick costs no read: the eventfd keeps them all, and [`Link::count`] takes them when somebody wants to know.
struct Forwarder {
    owner: Arc<Threaded>,
    queue: u16,
    /// This is the function's thread, so the kick need not go round by its event loop; but the queue that takes what a
    /// source has also decides whether that is watched.
    direct: bool,
    event: EventFd,
    watched: Arc<AtomicBool>,
}

impl MutEventSubscriber for Forwarder {
    fn process(&mut self, _events: Events, _ops: &mut EventOps<'_>) {
        if !self.direct {
            self.owner.kick(self.queue);
        } else if self.owner.hears_kicks() {
            self.owner.serve(self.queue.into());
        }
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        let added = ops.add(Events::new(&self.event, EventSet::IN | EventSet::EDGE_TRIGGERED)).is_ok();
        self.watched.store(added, Ordering::Release);
    }
}

/// Lets signals of `event` kick the queue `value`, for as long as the link lives.
pub(super) fn link(owner: &Arc<Threaded>, value: u16, event: &EventFd) -> FunctionResult<Box<dyn KickLink>> {
    let io = |source| FunctionError::Io { name: owner.function.name().to_owned(), what: "link an ioeventfd", source };
    let event = event.try_clone().map_err(io)?;
    let link = Link::new(owner.clone(), value, event).map_err(io)?;
    Ok(Box::new(link))
}

/// An ioeventfd that kicks a queue for as long as this lives.
struct Link {
    owner: Arc<Threaded>,
    queue: u16,
    id: SubscriberId,
    event: EventFd,
    /// Signals that were taken out of the eventfd.
    taken: AtomicU64,
}

impl Link {
    /// Adds `event` to the event loop; each signal kicks the queue with index `value`.
    fn new(owner: Arc<Threaded>, queue: u16, event: EventFd) -> io::Result<Self> {
        let watched = Arc::new(AtomicBool::new(false));
        let direct = queue != 0 || owner.function.device().model.source().is_none();
        let forwarder = Forwarder {
            owner: Arc::clone(&owner),
            queue,
            direct,
            event: event.try_clone()?,
            watched: Arc::clone(&watched),
        };
        let forwarder: Subscriber = Arc::new(Mutex::new(forwarder));
        let id = owner
            .endpoint
            .call_blocking(move |events| Ok::<_, event_manager::Error>(events.add_subscriber(forwarder)))
            .map_err(|error| io::Error::other(format!("the function's thread is gone: {error:?}")))?;
        let link = Self { owner, queue, id, event, taken: AtomicU64::new(0) };
        if watched.load(Ordering::Acquire) { Ok(link) } else { Err(io::Error::other("epoll did not take the eventfd")) }
    }
}

impl KickLink for Link {
    fn count(&self) -> Option<u64> {
        let taken = eventfds::take(&self.event).unwrap_or(0);
        if taken != 0 {
            // The thread may not have seen the last of them, and sees nothing in an eventfd that was emptied.
            self.owner.kick(self.queue);
        }
        Some(self.taken.fetch_add(taken, Ordering::AcqRel).wrapping_add(taken))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let id = self.id;
        // Fails only if the thread has ended, and the link with it.
        if let Err(error) = self.owner.endpoint.call_blocking(move |events| events.remove_subscriber(id).map(drop)) {
            tracing::debug!(?error, "ioeventfd link outlived the function's thread");
        }
        // Nobody watches it any more: what is left in it is a kick that may not have been seen.
        self.count();
    }
}
