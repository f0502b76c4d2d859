// SPDX-License-Identifier: Apache-2.0
//! Runs commands on a PF's admin virtqueue. The calling thread adds its chain under a short lock,
//! rings the doorbell and polls for its own completion; whoever sees a used buffer marks its slot.
//!
//! A command that is given up is quarantined: its slot and buffers stay untouched until the device
//! returns them. Nothing here allocates after construction.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use super::backoff::{self, Backoff};
use super::dma::{AdminMemory, OutsideRegion};
use super::opcode::{self, status};
use super::ring::{RingFault, SplitRing};
use super::slots::SlotTable;
use super::wire::{self, MAX_DATA, MAX_RESULT, REPLY_LEN, Request};
use super::{AdminChannel, AdminError, Command};
use crate::bus::Width;
use crate::contract::{Counters, Counts, Wait, WaitOver};
use crate::function::PciFunction;
use crate::spec::virtio::status as device_status;

const RETRY_FIRST: Duration = Duration::from_micros(100);
const RETRY_LAST: Duration = Duration::from_millis(10);

/// Registers of the PF that the queue needs, checked to lie inside their BARs.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueRegisters {
    /// BAR of the doorbell.
    pub(super) doorbell_bar: u8,
    /// Bytes into that BAR.
    pub(super) doorbell_offset: u64,
    /// What to write to the doorbell: the index of the admin virtqueue.
    pub(super) queue_index: u16,
    /// BAR of device_status.
    pub(super) status_bar: u8,
    /// Bytes into that BAR.
    pub(super) status_offset: u64,
}

crate::contract::counter_kinds! {
    /// What is counted of a queue since it was started.
    pub enum QueueCounter;
    "Chains given to the device; a retry counts again." Submitted = "submitted";
    "Commands that the device answered while they were waited for." Answered = "answered";
    "Commands sent again because the device answered EAGAIN or ENOMEM." Retries = "retries";
    "Commands given up while the device held them." Abandoned = "abandoned";
    "Given-up commands that the device still holds." Quarantined = "quarantined";
}

/// What a queue counted.
pub type QueueCounts = Counts<QueueCounter, { QueueCounter::COUNT }>;

/// Who may add commands. LIST_USE must run alone (virtio 1.4, driver normative of the list
/// commands), so it closes the gate, waits until the device holds nothing, and opens it when the
/// device has returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// A thread prepares or runs LIST_USE.
    Closed,
    /// LIST_USE was given up; its slot is quarantined.
    Lost(u16),
}

#[derive(Debug)]
struct Inner {
    ring: SplitRing,
    gate: Gate,
}

/// The admin virtqueue of a started PF. All methods may be called from any thread; as many commands
/// run at once as there are slots.
pub struct PfQueue {
    function: Arc<dyn PciFunction>,
    pub(super) registers: QueueRegisters,
    memory: AdminMemory,
    inner: Mutex<Inner>,
    slots: SlotTable,
    dead: OnceLock<&'static str>,
    counters: Counters<QueueCounter, { QueueCounter::COUNT }>,
}

impl fmt::Debug for PfQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PfQueue")
            .field("function", &self.function)
            .field("slots", &self.slots.len())
            .field("dead", &self.dead.get())
            .finish_non_exhaustive()
    }
}

impl PfQueue {
    /// A queue whose rings the device knows already.
    pub(super) fn new(
        function: Arc<dyn PciFunction>,
        registers: QueueRegisters,
        memory: AdminMemory,
        ring: SplitRing,
    ) -> Self {
        let slots = SlotTable::new(ring.slots());
        let inner = Mutex::new(Inner { ring, gate: Gate::Open });
        Self { function, registers, memory, inner, slots, dead: OnceLock::new(), counters: Counters::default() }
    }

    /// Commands that can run at once.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Why the queue is dead, if it is.
    pub fn dead(&self) -> Option<&'static str> {
        self.dead.get().copied()
    }

    /// Counters, each read at a slightly different moment.
    pub fn counts(&self) -> QueueCounts {
        self.counters.counts().with(QueueCounter::Quarantined, self.slots.quarantined())
    }

    /// Reads device_status of the PF; the queue is dead from now on if the PF was reset or removed.
    pub fn check_device(&self) -> Result<(), AdminError> {
        let seen = self.function.region_read(self.registers.status_bar, self.registers.status_offset, Width::B1);
        match seen {
            Err(_) => self.die("the PF is gone; restart its driver"),
            Ok(0xff) => self.die("the PF reads as all ones: it was removed or lost power"),
            Ok(status) if status & u64::from(device_status::NEEDS_RESET) != 0 => {
                self.die("the PF asks for a reset (DEVICE_NEEDS_RESET)")
            }
            Ok(status) if status & u64::from(device_status::DRIVER_OK) == 0 => {
                self.die("the PF was reset behind its driver; restart the driver")
            }
            Ok(_) => {}
        }
        self.check_alive()
    }

    /// As [`Self::die`], because its owner wants it so: nothing to warn of.
    pub(super) fn close(&self, reason: &'static str) {
        let _ = self.dead.set(reason);
    }

    /// Ends the queue: every command, waiting or new, fails with `reason`.
    pub(super) fn die(&self, reason: &'static str) {
        if self.dead.set(reason).is_ok() {
            tracing::warn!(function = self.function.name(), reason, "admin virtqueue is dead");
        }
    }

    fn check_alive(&self) -> Result<(), AdminError> {
        self.dead().map_or(Ok(()), |reason| Err(AdminError::Dead(reason)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, fault: impl Into<RingFault>) -> AdminError {
        let reason = fault.into().reason();
        self.die(reason);
        AdminError::Dead(self.dead().unwrap_or(reason))
    }

    /// Marks the slots of everything the device returned.
    fn reap(&self, inner: &mut Inner) {
        let Inner { ring, gate } = inner;
        let outcome = ring.reap(|slot, used| {
            if self.slots.returned(slot, used) && *gate == Gate::Lost(slot) {
                *gate = Gate::Open;
            }
        });
        if let Err(fault) = outcome {
            self.fault(fault);
        }
    }

    /// Reaps unless another thread is at it, which then does the same work.
    fn try_reap(&self) {
        match self.inner.try_lock() {
            Ok(mut inner) => self.reap(&mut inner),
            Err(TryLockError::Poisoned(poisoned)) => self.reap(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Repeats `attempt` until it gives something, the queue dies or the wait is over.
    fn wait_for<T>(
        &self,
        wait: &Wait<'_>,
        mut attempt: impl FnMut() -> Result<Option<T>, AdminError>,
    ) -> Result<T, AdminError> {
        let mut backoff = Backoff::default();
        loop {
            self.check_alive()?;
            if let Some(value) = attempt()? {
                return Ok(value);
            }
            if let Some(reason) = wait.over() {
                return Err(reason.into());
            }
            backoff.pause();
        }
    }

    fn close_gate(&self, wait: &Wait<'_>) -> Result<(), AdminError> {
        self.wait_for(wait, || {
            let mut inner = self.lock();
            self.reap(&mut inner);
            let open = inner.gate == Gate::Open;
            if open {
                inner.gate = Gate::Closed;
            }
            Ok(open.then_some(()))
        })
        .map_err(never_sent)?;
        let drained = self.wait_for(wait, || {
            let mut inner = self.lock();
            self.reap(&mut inner);
            Ok(inner.ring.is_idle().then_some(()))
        });
        if drained.is_err() {
            self.open_gate();
        }
        drained.map_err(never_sent)
    }

    fn open_gate(&self) {
        let mut inner = self.lock();
        if inner.gate == Gate::Closed {
            inner.gate = Gate::Open;
        }
    }

    /// Gives the device a chain if there is a slot and the gate lets the command through.
    fn try_submit(&self, run: &Run<'_>) -> Result<Option<u16>, AdminError> {
        let mut inner = self.lock();
        self.reap(&mut inner);
        self.check_alive()?;
        if inner.gate != Gate::Open && !run.exclusive {
            return Ok(None);
        }
        let Some(slot) = self.slots.find_free() else { return Ok(None) };
        self.fill(slot, run).map_err(|error| self.fault(error))?;
        // Before the device can return it: a reaper must find the slot in flight.
        self.slots.start(slot);
        inner.ring.publish(slot, run.request.as_bytes().len(), run.writable).map_err(|fault| self.fault(fault))?;
        self.counters.add(QueueCounter::Submitted);
        Ok(Some(slot))
    }

    /// Writes the request, and clears the reply: what the device does not write reads as zero and
    /// never as the answer to an earlier command.
    fn fill(&self, slot: u16, run: &Run<'_>) -> Result<(), OutsideRegion> {
        self.memory.write(AdminMemory::readable(slot), run.request.as_bytes())?;
        let zero = [0; REPLY_LEN + MAX_RESULT];
        self.memory.write(AdminMemory::writable(slot), zero.get(..run.writable).unwrap_or_default())
    }

    /// Rings the doorbell, outside of the lock: what stands behind it may be slow.
    fn notify(&self) -> Result<(), AdminError> {
        let QueueRegisters { doorbell_bar, doorbell_offset, queue_index, .. } = self.registers;
        if self.function.region_write(doorbell_bar, doorbell_offset, Width::B2, queue_index.into()).is_err() {
            self.die("the PF's doorbell cannot be written: the PF is gone");
        }
        self.check_alive()
    }

    /// Polls until the device returns `slot`.
    fn poll(&self, slot: u16, run: &Run<'_>, wait: &Wait<'_>) -> Result<u32, AdminError> {
        let polled = self.wait_for(wait, || {
            if let Some(used) = self.slots.done(slot) {
                return Ok(Some(used));
            }
            self.try_reap();
            Ok(self.slots.done(slot))
        });
        match polled {
            Err(reason @ (AdminError::Timeout | AdminError::Cancelled)) => self.abandon(slot, run, reason),
            other => other,
        }
    }

    /// Quarantines `slot`, unless the device returns it at the last moment.
    fn abandon(&self, slot: u16, run: &Run<'_>, reason: AdminError) -> Result<u32, AdminError> {
        {
            let mut inner = self.lock();
            self.reap(&mut inner);
            if let Some(used) = self.slots.done(slot) {
                return Ok(used);
            }
            self.slots.quarantine(slot);
            if run.exclusive {
                inner.gate = Gate::Lost(slot);
            }
        }
        self.counters.add(QueueCounter::Abandoned);
        if reason == AdminError::Timeout {
            self.check_device()?;
        }
        Err(reason)
    }

    /// Sends the command once and takes its reply.
    fn run_once(&self, run: &Run<'_>, result: &mut [u8], wait: &Wait<'_>) -> Result<(), AdminError> {
        let slot = self.wait_for(wait, || self.try_submit(run)).map_err(never_sent)?;
        self.notify()?;
        let used = self.poll(slot, run, wait)? as usize;
        let mut bytes = [0; REPLY_LEN + MAX_RESULT];
        let written = bytes.get_mut(..used.min(run.writable)).unwrap_or_default();
        self.memory.read(AdminMemory::writable(slot), written).map_err(|error| self.fault(error))?;
        self.slots.free(slot);
        self.counters.add(QueueCounter::Answered);
        wire::take_reply(written, used, result)
    }

    fn run(&self, run: &Run<'_>, result: &mut [u8], wait: &Wait<'_>) -> Result<(), AdminError> {
        let mut delay = RETRY_FIRST;
        loop {
            let refused = match self.run_once(run, result, wait) {
                Err(error @ AdminError::Refused { status: status::EAGAIN | status::ENOMEM, .. }) => error,
                other => return other,
            };
            match backoff::sleep(delay, wait) {
                None => {}
                Some(WaitOver::Timeout) => return Err(refused),
                Some(WaitOver::Cancelled) => return Err(AdminError::Cancelled),
            }
            self.counters.add(QueueCounter::Retries);
            delay = (delay * 2).min(RETRY_LAST);
        }
    }
}

/// One command on its way.
struct Run<'a> {
    request: &'a Request,
    /// Bytes of the device-writable part.
    writable: usize,
    /// Nothing else may be outstanding.
    exclusive: bool,
}

/// A deadline that passes before the device got the command: there was no room.
fn never_sent(error: AdminError) -> AdminError {
    if error == AdminError::Timeout { AdminError::Full } else { error }
}

impl AdminChannel for PfQueue {
    /// Runs one command on the calling thread. LIST_USE waits until nothing else is outstanding and
    /// holds back the others. On [`AdminError::Short`] with at least 8 bytes, `result` holds what
    /// came, the rest is zero.
    fn execute(&self, command: &Command<'_>, result: &mut [u8], wait: &Wait<'_>) -> Result<(), AdminError> {
        let too_long = AdminError::TooLong { data: command.data.len(), result: result.len() };
        let Some(request) = Request::encode(command) else { return Err(too_long) };
        if result.len() > MAX_RESULT {
            return Err(too_long);
        }
        if let Some(reason) = wait.over() {
            return Err(reason.into());
        }
        let exclusive = command.opcode == opcode::LIST_USE;
        let run = Run { request: &request, writable: REPLY_LEN + result.len(), exclusive };
        if exclusive {
            self.close_gate(wait)?;
        }
        let outcome = self.run(&run, result, wait);
        if exclusive {
            self.open_gate();
        }
        outcome
    }
}

const _: () = assert!(MAX_DATA == 64 && MAX_RESULT == 128, "the text of AdminError::TooLong names both");

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
