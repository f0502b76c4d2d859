// SPDX-License-Identifier: Apache-2.0
//! Kicks: from the guest's write to BAR0 offset 16 to the function's notify address, without the
//! function's lock. A slow register access on one vCPU never holds up another vCPU's kick.
//!
//! It touches the notify address of its function and nothing else.
//!
//! | module | what it is |
//! | --- | --- |
//! | `doorbell` | where kicks are stored |
//! | `ioeventfds` | kicks without an exit |
//! | `early` | which kick before DRIVER_OK starts the device |

mod doorbell;
mod early;
pub(super) mod early_watch;
mod ioeventfds;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::below::fault::Faults;
use super::layout::queue_set::QueueSet;
use super::telemetry::stats::{DeviceCounter, Stats};
use crate::contract::NotifyAddress;
use crate::contract::platform::PortEvents;
use doorbell::{Doorbell, InUse};
use ioeventfds::{IoeventfdCounts, Ioeventfds};

pub(super) use doorbell::Reach;
pub(super) use early::StartAt;

/// What became of a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Kick {
    /// It is done with: stored, or dropped.
    Done,
    /// There is no doorbell, or it failed: the caller has to write the register.
    Command,
    /// The device is to be started first. Nothing is done yet.
    Start,
}

/// All that there is to save. Ioeventfds are made from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KickState {
    configured: QueueSet,
    early: QueueSet,
    started: bool,
    has_features: bool,
}

/// The kicks of one function.
pub(super) struct Kicks {
    reach: Reach,
    /// Moves when a PF comes back with another one; read by kicks without a lock.
    doorbell: InUse,
    /// Queues with a non-zero address: the others' kicks are dropped (hazard H13).
    configured: QueueSet,
    /// Queues kicked before the device was started, to be kicked again then: a device made for the
    /// modern interface may ignore early ones (hazard H12).
    early: QueueSet,
    /// Whether the device has DRIVER_OK: from its driver, or from the VMM in the driver's place.
    started: AtomicBool,
    start_at: StartAt,
    /// Whether the driver wrote features since the last reset.
    has_features: AtomicBool,
    ioeventfds: Mutex<Ioeventfds>,
    faults: Arc<Faults>,
    stats: Arc<Stats>,
}

impl Kicks {
    /// No queue is set up. Kicks go to the earliest of `addresses` in `reach`, and to a register without one; with
    /// `port_events` they need no exit. `start_at` says when a kick is [`Kick::Start`]; `id` is for logs.
    pub(super) fn new(
        id: &str,
        reach: Reach,
        addresses: &[NotifyAddress],
        port_events: Option<Arc<dyn PortEvents>>,
        start_at: StartAt,
        faults: Arc<Faults>,
        stats: Arc<Stats>,
    ) -> Self {
        let doorbell = InUse::default();
        doorbell.set(Doorbell::find(addresses, &reach));
        Self {
            reach,
            doorbell,
            configured: QueueSet::default(),
            early: QueueSet::default(),
            started: AtomicBool::new(false),
            start_at,
            has_features: AtomicBool::new(false),
            ioeventfds: Mutex::new(Ioeventfds::new(id, port_events)),
            faults,
            stats,
        }
    }

    /// Whether there is a notify address in reach.
    pub(super) fn has_doorbell(&self) -> bool {
        self.doorbell().is_some()
    }

    /// All that there is to save.
    pub(super) fn state(&self) -> KickState {
        KickState {
            configured: self.configured.clone(),
            early: self.early.clone(),
            started: self.is_started(),
            has_features: self.has_features.load(Ordering::SeqCst),
        }
    }

    /// Goes on from `state`.
    pub(super) fn set_state(&self, state: &KickState) {
        self.configured.set(&state.configured);
        self.early.set(&state.early);
        self.has_features.store(state.has_features, Ordering::SeqCst);
        self.started.store(state.started, Ordering::SeqCst);
        self.sync_ioeventfds();
    }

    /// A guest's kick. Lock-free.
    pub(super) fn kick(&self, queue: u16) -> Kick {
        if !self.configured.contains(queue) {
            self.stats.add(DeviceCounter::KicksDropped);
            return Kick::Done;
        }
        // Remember first, ring after. If DRIVER_OK comes between the test and the insertion, the
        // replay may miss this queue, but then the ring below comes after DRIVER_OK and counts.
        if !self.started.load(Ordering::SeqCst) {
            self.stats.add(DeviceCounter::KicksEarly);
            if self.starts_at_kick() {
                return Kick::Start;
            }
            self.early.insert(queue);
        }
        self.ring(queue)
    }

    fn starts_at_kick(&self) -> bool {
        match self.start_at {
            StartAt::Never => false,
            StartAt::Features => self.has_features.load(Ordering::SeqCst),
            StartAt::Once => true,
        }
    }

    /// `queue` was kicked and is to be kicked again when the device is started.
    pub(super) fn remember(&self, queue: u16) {
        self.early.insert(queue);
    }

    /// The driver wrote its features.
    pub(super) fn features_written(&self) {
        self.has_features.store(true, Ordering::SeqCst);
    }

    /// The device may have lost a DRIVER_OK that its driver did not write: the next kick starts it again.
    pub(super) fn start_may_be_lost(&self) {
        // It is not started by this, so nothing is to be rung.
        let _ = self.set_started(false);
    }

    /// Whether the device has DRIVER_OK.
    pub(super) fn is_started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    /// Rings for `queue` by whatever is cheapest.
    pub(super) fn ring(&self, queue: u16) -> Kick {
        let Some(doorbell) = self.doorbell() else { return Kick::Command };
        match doorbell.ring(queue) {
            Ok(()) => {
                self.stats.add(DeviceCounter::KicksStored);
                Kick::Done
            }
            // A kick must not get lost; the register may still be there.
            Err(error) => {
                self.faults.function(&error);
                Kick::Command
            }
        }
    }

    /// `queue` has an address now.
    pub(super) fn queue_ready(&self, queue: u16) {
        self.configured.insert(queue);
        self.sync_ioeventfds();
    }

    /// `queue` has none any more. No kick is made for it after this, but for one that a vCPU is in
    /// the middle of; the device drops that one like any for a disabled queue.
    pub(super) fn queue_gone(&self, queue: u16) {
        self.configured.remove(queue);
        self.early.remove(queue);
        self.sync_ioeventfds();
    }

    /// The device acted on a status with or without DRIVER_OK. Returns the queues to ring again.
    pub(super) fn set_started(&self, started: bool) -> impl Iterator<Item = u16> + use<> {
        self.started.store(started, Ordering::SeqCst);
        let early = started.then(|| self.early.take());
        self.sync_ioeventfds();
        early.into_iter().flatten()
    }

    /// All queues are gone: before a reset begins.
    pub(super) fn reset(&self) {
        self.configured.clear();
        self.started.store(false, Ordering::SeqCst);
        self.has_features.store(false, Ordering::SeqCst);
        self.early.clear();
        self.sync_ioeventfds();
    }

    /// Kicks go to the earliest of `addresses` in reach from now on, or by commands. Ioeventfds of the earlier place
    /// end.
    pub(super) fn move_to(&self, addresses: &[NotifyAddress]) {
        let doorbell = Doorbell::find(addresses, &self.reach);
        {
            let mut ioeventfds = self.ioeventfds();
            let old = self.doorbell();
            self.doorbell.set(doorbell);
            if let Some(old) = old {
                // A signal left behind was for a device that is not there any more.
                let _ = ioeventfds.sync(&old, std::iter::empty(), |_| false);
            }
            ioeventfds.forget_failures();
        }
        self.sync_ioeventfds();
    }

    /// BAR0 is decoded at this port now, or nowhere.
    pub(super) fn set_base(&self, base: Option<u16>) {
        self.ioeventfds().set_base(base);
        self.sync_ioeventfds();
    }

    /// Gives an ioeventfd to exactly the queues that can do without exits: set up, and the device has DRIVER_OK.
    /// Before it, kicks have to be seen, to start the device or to be repeated. Called after each change of what it
    /// reads, and it reads under the lock, so the last of several callers leaves it right.
    fn sync_ioeventfds(&self) {
        let late = {
            let mut ioeventfds = self.ioeventfds();
            let Some(doorbell) = self.doorbell() else { return };
            let wanted = |queue| self.is_started() && self.configured.contains(queue);
            ioeventfds.sync(&doorbell, self.configured.iter(), wanted)
        };
        // A signal that nobody took before the ioeventfd ended is a kick that nobody made.
        for queue in late.iter().filter(|queue| self.configured.contains(*queue)) {
            let _ = self.ring(queue);
        }
    }

    fn ioeventfds(&self) -> MutexGuard<'_, Ioeventfds> {
        self.ioeventfds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `queue` is set up.
    pub(super) fn is_configured(&self, queue: u16) -> bool {
        self.configured.contains(queue)
    }

    /// Queues that are set up.
    pub(super) fn configured(&self) -> Vec<u16> {
        self.configured.iter().collect()
    }

    /// What went without an exit, and queues that can be kicked so now.
    pub(super) fn without_exits(&self) -> IoeventfdCounts {
        self.ioeventfds().counts()
    }

    /// Where kicks go, for reports.
    pub(super) fn describe(&self) -> String {
        self.doorbell().map_or_else(|| "register".to_owned(), |doorbell| doorbell.to_string())
    }

    fn doorbell(&self) -> Option<Doorbell<'_>> {
        self.doorbell.get(&self.reach)
    }
}

#[cfg(test)]
#[path = "kicks_tests.rs"]
mod tests;
