// SPDX-License-Identifier: Apache-2.0
//! Kicks: from the guest's write to BAR0 offset 16 to the function's notify address, without the
//! function's lock. A slow register access on one vCPU never holds up another vCPU's kick.
//!
//! It touches the notify address of its function and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;

use super::early::StartAt;
use super::ioeventfds::{LinkCounts, Links};
use super::queue_set::QueueSet;
use crate::bus::Width;
use crate::contract::NotifyAddress;
use crate::function::PciFunction;
use crate::transitional::below::fault::Faults;
use crate::transitional::telemetry::stats::Stats;

/// Where kicks are stored.
#[derive(Clone)]
pub struct Doorbell {
    /// The function that has the BAR: the VF, or the PF.
    pub function: Arc<dyn PciFunction>,
    /// BAR number.
    pub bar: u8,
    /// Bytes into the BAR.
    pub offset: u64,
    /// Whether it is the PF's.
    pub of_owner: bool,
}

impl Doorbell {
    /// The doorbell at the earliest of `addresses` that this process can reach. Without one, kicks are
    /// register writes.
    pub fn find(
        addresses: &[NotifyAddress],
        vf: &Arc<dyn PciFunction>,
        owner: Option<&Arc<dyn PciFunction>>,
    ) -> Option<Self> {
        addresses.iter().find_map(|address| Self::at(*address, vf, owner))
    }

    /// An address in the PF's BAR needs the PF, and an address outside its BAR is nobody's.
    fn at(address: NotifyAddress, vf: &Arc<dyn PciFunction>, owner: Option<&Arc<dyn PciFunction>>) -> Option<Self> {
        let (function, bar, offset, of_owner) = match address {
            NotifyAddress::Member { bar, offset } => (vf, bar, offset, false),
            NotifyAddress::Owner { bar, offset } => (owner?, bar, offset, true),
        };
        let size = function.region(bar)?.size;
        let fits = offset % 2 == 0 && offset.checked_add(2).is_some_and(|end| end <= size);
        fits.then(|| Self { function: Arc::clone(function), bar, offset, of_owner })
    }

    fn ring(&self, queue: u16) -> crate::function::Result<()> {
        self.function.region_write(self.bar, self.offset, Width::B2, queue.into())
    }
}

impl std::fmt::Display for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = if self.of_owner { "owner" } else { "member" };
        write!(f, "{whose} BAR {} + {:#x}", self.bar, self.offset)
    }
}

/// What became of a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kick {
    /// It is done with: stored, or dropped.
    Done,
    /// There is no doorbell, or it failed: the caller has to write the register.
    Command,
    /// The device is to be started first. Nothing is done yet.
    Start,
}

/// The kick state of one function.
pub struct Notifier {
    /// Moves when a PF comes back with another one; read by kicks without a lock.
    doorbell: ArcSwapOption<Doorbell>,
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
    links: Mutex<Links>,
    faults: Arc<Faults>,
    stats: Arc<Stats>,
}

impl Notifier {
    /// No queue is set up. `links` makes the route without exits, if there is to be one. `start_at`
    /// says when a kick is [`Kick::Start`].
    pub fn new(
        doorbell: Option<Doorbell>,
        links: Links,
        start_at: StartAt,
        faults: Arc<Faults>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            doorbell: ArcSwapOption::new(doorbell.map(Arc::new)),
            configured: QueueSet::default(),
            early: QueueSet::default(),
            started: AtomicBool::new(false),
            start_at,
            has_features: AtomicBool::new(false),
            links: Mutex::new(links),
            faults,
            stats,
        }
    }

    /// A guest's kick. Lock-free.
    pub fn kick(&self, queue: u16) -> Kick {
        if !self.configured.contains(queue) {
            self.stats.kicks_dropped.add();
            return Kick::Done;
        }
        // Remember first, ring after. If DRIVER_OK comes between the test and the insertion, the
        // replay may miss this queue, but then the ring below comes after DRIVER_OK and counts.
        if !self.started.load(Ordering::SeqCst) {
            self.stats.kicks_early.add();
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
    pub fn remember(&self, queue: u16) {
        self.early.insert(queue);
    }

    /// The driver wrote its features.
    pub fn features_written(&self) {
        self.has_features.store(true, Ordering::SeqCst);
    }

    /// Whether the device has DRIVER_OK.
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::SeqCst)
    }

    /// Rings for `queue` by whatever is cheapest.
    pub fn ring(&self, queue: u16) -> Kick {
        let doorbell = self.doorbell.load();
        let Some(doorbell) = doorbell.as_ref() else { return Kick::Command };
        match doorbell.ring(queue) {
            Ok(()) => {
                self.stats.kicks_stored.add();
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
    pub fn queue_ready(&self, queue: u16) {
        self.configured.insert(queue);
        self.sync_links();
    }

    /// `queue` has none any more. No kick is made for it after this, but for one that a vCPU is in
    /// the middle of; the device drops that one like any for a disabled queue.
    pub fn queue_gone(&self, queue: u16) {
        self.configured.remove(queue);
        self.early.remove(queue);
        self.sync_links();
    }

    /// The device acted on a status with or without DRIVER_OK. Returns the queues to ring again.
    pub fn set_started(&self, started: bool) -> impl Iterator<Item = u16> + use<> {
        self.started.store(started, Ordering::SeqCst);
        let early = started.then(|| self.early.take());
        self.sync_links();
        early.into_iter().flatten()
    }

    /// All queues are gone: before a reset begins.
    pub fn reset(&self) {
        self.configured.clear();
        self.started.store(false, Ordering::SeqCst);
        self.has_features.store(false, Ordering::SeqCst);
        self.early.clear();
        self.sync_links();
    }

    /// Kicks go there from now on, or by commands. Links to the earlier place end.
    pub fn move_doorbell(&self, doorbell: Option<Doorbell>) {
        {
            let mut links = self.links();
            if let Some(old) = self.doorbell.swap(doorbell.map(Arc::new)) {
                // A signal left behind was for a device that is not there any more.
                let _ = links.sync(&old, std::iter::empty(), |_| false);
            }
            links.forget_failures();
        }
        self.sync_links();
    }

    /// BAR0 is decoded at this port now, or nowhere.
    pub fn set_base(&self, base: Option<u16>) {
        self.links().set_base(base);
        self.sync_links();
    }

    /// Links exactly the queues that can do without exits: set up, and the device has DRIVER_OK. Before
    /// it, kicks have to be seen, to start the device or to be repeated. Called after each change of what it reads, and it
    /// reads under the lock, so the last of several callers leaves it right.
    fn sync_links(&self) {
        let late = {
            let mut links = self.links();
            let doorbell = self.doorbell.load();
            let Some(doorbell) = doorbell.as_ref() else { return };
            let wanted = |queue| self.is_started() && self.configured.contains(queue);
            links.sync(doorbell, self.configured.iter(), wanted)
        };
        // A signal that nobody took before the link ended is a kick that nobody made.
        for queue in late.iter().filter(|queue| self.configured.contains(*queue)) {
            let _ = self.ring(queue);
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `queue` is set up.
    pub fn is_configured(&self, queue: u16) -> bool {
        self.configured.contains(queue)
    }

    /// Queues that are set up.
    pub fn configured(&self) -> Vec<u16> {
        self.configured.iter().collect()
    }

    /// What went without an exit, and queues that can be kicked so now.
    pub fn linked(&self) -> LinkCounts {
        self.links().counts()
    }

    /// Where kicks go, for reports.
    pub fn describe(&self) -> String {
        self.doorbell.load().as_deref().map_or_else(|| "register".to_owned(), Doorbell::to_string)
    }
}

#[cfg(test)]
#[path = "notifier_tests.rs"]
mod tests;
