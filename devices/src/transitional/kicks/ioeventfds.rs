// SPDX-License-Identifier: Apache-2.0
//! Kicks without an exit: a port write signals an eventfd in the kernel, and the eventfd makes the
//! function's notify address be written. One link for each queue, re-made when BAR0 moves.
//!
//! It touches port events and function links; which queues are linked is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::doorbell::Doorbell;
use crate::contract::platform::PortEvents;
use crate::function::KickLink;
use crate::spec::virtio::legacy::QUEUE_NOTIFY;
use crate::transitional::layout::queue_set::QueueSet;

/// A link that works.
struct Live {
    port: u16,
    link: Box<dyn KickLink>,
}

/// One queue's link, made or not.
struct QueueIoeventfd {
    event: EventFd,
    live: Option<Live>,
    /// Kicks through links that ended.
    retired: u64,
    /// Links made so far whose kicks nobody counts.
    uncounted: u64,
    /// The port for which making it failed: not tried again there.
    failed_at: Option<u16>,
}

/// What was made through the links of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoeventfdCounts {
    /// Kicks, where the function counts them.
    pub kicks: u64,
    /// Links that work now.
    pub live: usize,
    /// Links made so far whose kicks nobody counts: in the kernel nothing does.
    pub uncounted: u64,
}

/// The links of one function.
#[derive(Default)]
pub(super) struct Ioeventfds {
    name: String,
    port_events: Option<Arc<dyn PortEvents>>,
    /// Port of queue notify, while BAR0 is decoded.
    port: Option<u16>,
    queues: BTreeMap<u16, QueueIoeventfd>,
    logged: bool,
}

impl Ioeventfds {
    /// No links; without `port_events` there will never be one. `name` is for logs.
    pub(super) fn new(name: &str, port_events: Option<Arc<dyn PortEvents>>) -> Self {
        Self { name: name.to_owned(), port_events, ..Self::default() }
    }

    /// BAR0 is decoded at `base`, or nowhere. Links at the old place end with the next
    /// [`Self::sync`].
    pub(super) fn set_base(&mut self, base: Option<u16>) {
        self.port = base.and_then(|base| base.checked_add(QUEUE_NOTIFY.into()));
    }

    /// Links that could not be made may be tried again: the function or its doorbell is another one.
    pub(super) fn forget_failures(&mut self) {
        self.queues.values_mut().for_each(|link| link.failed_at = None);
    }

    /// Ends links that are not wanted or are at the wrong port, and makes the missing ones among
    /// `candidates`. Returns the queues that had a signal pending when their link ended.
    pub(super) fn sync(
        &mut self,
        doorbell: &Doorbell<'_>,
        candidates: impl Iterator<Item = u16>,
        wanted: impl Fn(u16) -> bool,
    ) -> QueueSet {
        let late = QueueSet::default();
        let Some(port_events) = self.port_events.clone() else { return late };
        let port = self.port;
        for (queue, link) in &mut self.queues {
            let right = wanted(*queue) && link.live.as_ref().is_some_and(|live| Some(live.port) == port);
            if !right && link.end(*queue, port_events.as_ref()) {
                late.insert(*queue);
            }
        }
        let Some(port) = port else { return late };
        for queue in candidates.filter(|queue| wanted(*queue)) {
            if let Err(error) = self.make(queue, port, doorbell, port_events.as_ref()) {
                self.log(&error);
            }
        }
        late
    }

    /// Makes a queue's link if it has none and was not refused one here.
    fn make(&mut self, queue: u16, port: u16, doorbell: &Doorbell<'_>, ports: &dyn PortEvents) -> Result<(), String> {
        let link = match self.queues.entry(queue) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(QueueIoeventfd::new()?),
        };
        if link.live.is_some() || link.failed_at == Some(port) {
            return Ok(());
        }
        link.begin(queue, port, doorbell, ports).inspect_err(|_| link.failed_at = Some(port))
    }

    /// The guest decides how often links are made, so a failure is logged once.
    fn log(&mut self, error: &str) {
        if !std::mem::replace(&mut self.logged, true) {
            tracing::info!(device = self.name, error, "no ioeventfd for a queue; its kicks exit to the VMM");
        }
    }

    /// What was made through links so far.
    pub(super) fn counts(&self) -> IoeventfdCounts {
        IoeventfdCounts {
            kicks: self.queues.values().map(QueueIoeventfd::kicks).fold(0, u64::wrapping_add),
            live: self.queues.values().filter(|link| link.live.is_some()).count(),
            uncounted: self.queues.values().map(|link| link.uncounted).fold(0, u64::wrapping_add),
        }
    }
}

impl QueueIoeventfd {
    fn new() -> Result<Self, String> {
        let event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(|error| format!("no eventfd: {error}"))?;
        Ok(Self { event, live: None, retired: 0, uncounted: 0, failed_at: None })
    }

    /// The function's side first: from the moment the port signals the event, somebody must listen.
    fn begin(&mut self, queue: u16, port: u16, doorbell: &Doorbell<'_>, ports: &dyn PortEvents) -> Result<(), String> {
        let link = doorbell
            .function
            .link_ioeventfd(doorbell.bar, doorbell.offset, queue, &self.event)
            .map_err(|error| error.to_string())?;
        ports
            .attach(port, queue, &self.event)
            .map_err(|error| format!("cannot attach an event to port {port:#x}: {error}"))?;
        if link.count().is_none() {
            self.uncounted = self.uncounted.wrapping_add(1);
        }
        self.live = Some(Live { port, link });
        self.failed_at = None;
        Ok(())
    }

    /// Ends the link, the port's side first. Returns whether a signal was left behind.
    fn end(&mut self, queue: u16, ports: &dyn PortEvents) -> bool {
        let Some(live) = self.live.take() else { return false };
        if let Err(error) = ports.detach(live.port, queue, &self.event) {
            tracing::debug!(port = live.port, queue, %error, "cannot detach an event from a port");
        }
        let kicks = live.link.count();
        drop(live);
        self.retired = self.retired.wrapping_add(kicks.unwrap_or(0));
        self.event.read().is_ok()
    }

    fn kicks(&self) -> u64 {
        let live = self.live.as_ref().and_then(|live| live.link.count());
        self.retired.wrapping_add(live.unwrap_or(0))
    }
}
