// SPDX-License-Identifier: Apache-2.0
//! What happens to the virtual machine, as a stream that any number of readers follow. Opens no file.
//!
//! Publishing never waits for a reader: events are kept in a ring, and a reader that is too slow is told
//! how many it lost.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use crate::timestamp::rfc3339;

/// Events that are kept for slow readers.
const KEPT: usize = 1024;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A configuration was taken.
    Created,
    /// The machine is about to be built.
    Booting,
    /// Guest code runs, from its start.
    Booted,
    /// The machine could not be built.
    BootFailed {
        /// Why.
        reason: String,
    },
    /// Guest code stands still.
    Paused,
    /// Guest code goes on.
    Resumed,
    /// The power button was pressed.
    PowerButton,
    /// The guest reset the machine.
    GuestReset,
    /// The guest does nothing but reset the machine, and has to wait before it starts again.
    ResetDelayed {
        /// For how long, such as `1.6s`.
        delay: String,
    },
    /// The guest switched the machine off.
    GuestPowerOff,
    /// The guest, KVM or a device model could not go on.
    Crashed {
        /// Why.
        reason: String,
    },
    /// The machine is off.
    Shutdown,
    /// The configuration is forgotten.
    Deleted,
    /// A device joined the configuration.
    DeviceAdded {
        /// Id of the device.
        id: String,
    },
    /// A device left the configuration.
    DeviceRemoved {
        /// Id of the device.
        id: String,
    },
    /// A device answers no more, until the guest resets it.
    DeviceFaulted {
        /// Id of the device.
        id: String,
        /// Why.
        reason: String,
    },
    /// The guest reset it and it answers again.
    DeviceRecovered {
        /// Id of the device.
        id: String,
    },
    /// The host's storage began to fail requests of a software VF: a full disk, an I/O error, a file that shrank.
    HostError {
        /// Id of the device.
        id: String,
        /// What failed, and why.
        reason: String,
    },
    /// A PF of legacy functions is lost.
    PfLost {
        /// Its address, its socket, or `soft/pf`.
        pf: String,
        /// Why.
        reason: String,
    },
    /// It was restarted.
    PfReturned {
        /// As above.
        pf: String,
    },
    /// A thread of this program panicked: it ends.
    Panicked {
        /// Which, where and why.
        reason: String,
    },
    /// The process is about to end.
    VmmShutdown,
}

impl EventKind {
    /// Who it is about.
    pub const fn source(&self) -> &'static str {
        match self {
            Self::DeviceAdded { .. }
            | Self::DeviceRemoved { .. }
            | Self::DeviceFaulted { .. }
            | Self::DeviceRecovered { .. }
            | Self::HostError { .. } => "device",
            Self::PfLost { .. } | Self::PfReturned { .. } => "pf",
            Self::GuestReset | Self::ResetDelayed { .. } | Self::GuestPowerOff | Self::Crashed { .. } => "guest",
            Self::Panicked { .. } | Self::VmmShutdown => "vmm",
            _ => "vm",
        }
    }

    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Booting => "booting",
            Self::Booted => "booted",
            Self::BootFailed { .. } => "boot_failed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::PowerButton => "power_button",
            Self::GuestReset => "reset",
            Self::ResetDelayed { .. } => "reset_delayed",
            Self::GuestPowerOff => "power_off",
            Self::Crashed { .. } => "crashed",
            Self::Shutdown => "shutdown",
            Self::Deleted => "deleted",
            Self::DeviceAdded { .. } => "added",
            Self::DeviceRemoved { .. } => "removed",
            Self::DeviceFaulted { .. } => "faulted",
            Self::DeviceRecovered { .. } => "recovered",
            Self::HostError { .. } => "host_error",
            Self::PfLost { .. } => "lost",
            Self::PfReturned { .. } => "returned",
            Self::Panicked { .. } => "panicked",
            Self::VmmShutdown => "shutting_down",
        }
    }

    fn properties(&self) -> [Option<(&'static str, &str)>; 2] {
        match self {
            Self::DeviceFaulted { id, reason } | Self::HostError { id, reason } => {
                [Some(("id", id)), Some(("reason", reason))]
            }
            Self::DeviceAdded { id } | Self::DeviceRemoved { id } | Self::DeviceRecovered { id } => {
                [Some(("id", id)), None]
            }
            Self::PfLost { pf, reason } => [Some(("pf", pf)), Some(("reason", reason))],
            Self::ResetDelayed { delay } => [Some(("delay", delay)), None],
            Self::PfReturned { pf } => [Some(("pf", pf)), None],
            Self::Crashed { reason } | Self::BootFailed { reason } | Self::Panicked { reason } => {
                [Some(("reason", reason)), None]
            }
            _ => [None, None],
        }
    }
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Counts from 1, without a gap.
    pub seq: u64,
    /// When it was published.
    pub timestamp: SystemTime,
    /// What happened.
    pub kind: EventKind,
}

struct Properties<'a>(&'a EventKind);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.properties().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Event {
    /// `{"seq":1,"timestamp":"2026-01-02T03:04:05.678901234Z","source":"vm","event":"created","properties":{}}`
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serializer.serialize_struct("Event", 5)?;
        event.serialize_field("seq", &self.seq)?;
        event.serialize_field("timestamp", &rfc3339(self.timestamp))?;
        event.serialize_field("source", self.kind.source())?;
        event.serialize_field("event", self.kind.name())?;
        event.serialize_field("properties", &Properties(&self.kind))?;
        event.end()
    }
}

#[derive(Default)]
struct Ring {
    kept: VecDeque<Arc<Event>>,
    published: u64,
    closed: bool,
}

/// The stream.
#[derive(Default)]
pub struct EventBus {
    ring: Mutex<Ring>,
    changed: Condvar,
}

impl EventBus {
    /// A stream without events.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Tells all readers. Takes a lock for a few instructions, and waits for nobody. Nothing is published
    /// after [`Self::close`].
    pub fn publish(&self, kind: EventKind) {
        let mut ring = self.ring();
        if ring.closed {
            return;
        }
        ring.published += 1;
        let event = Event { seq: ring.published, timestamp: SystemTime::now(), kind };
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(Arc::new(event));
        self.changed.notify_all();
    }

    /// There will be no more events.
    pub fn close(&self) {
        self.ring().closed = true;
        self.changed.notify_all();
    }

    /// A reader of the events from now on.
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        let next = self.ring().published + 1;
        Subscription { bus: Arc::clone(self), next }
    }

    /// A reader that begins with the oldest event that is kept.
    #[cfg(test)]
    pub(crate) fn subscribe_from_start(self: &Arc<Self>) -> Subscription {
        let next = self.ring().kept.front().map_or(1, |event| event.seq);
        Subscription { bus: Arc::clone(self), next }
    }

    /// Events published so far.
    pub fn published(&self) -> u64 {
        self.ring().published
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Next {
    /// The next event.
    Event(Arc<Event>),
    /// So many events came and went before they were read.
    Lost(u64),
    /// Nothing happened within the limit.
    Nothing,
    /// All was read, and there will be no more.
    Closed,
}

/// One reader.
pub struct Subscription {
    bus: Arc<EventBus>,
    next: u64,
}

impl Subscription {
    /// Waits for the next event, at most for `limit`.
    pub fn next(&mut self, limit: Duration) -> Next {
        let start = Instant::now();
        let bus = Arc::clone(&self.bus);
        let mut ring = bus.ring();
        loop {
            if let Some(first) = ring.kept.front()
                && self.next < first.seq
            {
                let lost = first.seq - self.next;
                self.next = first.seq;
                return Next::Lost(lost);
            }
            let position = ring.kept.front().map_or(0, |first| self.next - first.seq);
            if let Some(event) = usize::try_from(position).ok().and_then(|at| ring.kept.get(at)) {
                self.next = event.seq + 1;
                return Next::Event(Arc::clone(event));
            }
            if ring.closed {
                return Next::Closed;
            }
            let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                return Next::Nothing;
            };
            ring = bus.changed.wait_timeout(ring, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
