// SPDX-License-Identifier: Apache-2.0
//! How a device serves its queues, under its lock: takes buffers, and gives back those that the host is done with.

use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};

use super::super::chain::RingError;
use super::super::job::Job;
use super::super::memory::Memory;
use super::super::model::Progress;
use super::super::queue::Setup;
use super::super::ring::{Left, Ring};
use super::{BATCH, HOLD_BYTES, NO_INTERRUPT, Served, VirtioDevice, feature, status};

impl VirtioDevice {
    /// Processes a queue for one turn, if need be before DRIVER_OK where the device does so (`early`), and interrupts the
    /// driver if it asked for that.
    pub(in super::super) fn service(&mut self, index: usize, memory: &Memory, early: bool) -> Served {
        if !self.may_run(index, early) {
            return Served::default();
        }
        self.deliver(memory);
        match self.turn(index, memory) {
            Ok((served, interrupt)) => {
                if interrupt {
                    self.queue_interrupt(index);
                }
                served
            }
            Err(error) => {
                self.break_queue(index, &error);
                Served::default()
            }
        }
    }

    /// One turn. Returns what is left, and whether an interrupt is due.
    fn turn(&mut self, index: usize, memory: &Memory) -> Result<(Served, bool), RingError> {
        // A caller that processes kicks one by one (administration virtqueues) never holds them back.
        let hold_kicks = self.model.admin_queues() == 0;
        let features = self.common.driver_features;
        let Some(queue) = self.queues.get_mut(index) else { return Ok((Served::default(), false)) };
        if !queue.is_mapped(memory) {
            return Err(self.chain.fault(queue.ring.desc_table()));
        }
        queue.ring.set_event_idx(features & feature::EVENT_IDX != 0);
        let used_before = queue.ring.next_used();
        // A driver can make buffers available before it got them back, as often as it likes.
        let room = u32::from(queue.ring.size().saturating_sub(self.pending));
        self.throttled = room == 0;
        if self.throttled {
            return Ok((Served::default(), false));
        }
        let mut ring = Ring {
            queue: &mut queue.ring,
            memory,
            chain: &mut self.chain,
            requests: &mut self.requests,
            left: Left { buffers: BATCH.min(room), bytes: HOLD_BYTES },
        };
        let mut progress = Progress::More;
        // Each round but the last takes a buffer at least, so the budget bounds them.
        for _ in 0..BATCH {
            if hold_kicks {
                ring.queue.disable_notification(memory).map_err(|_| ring.fault())?;
            }
            let processed = self.model.process(index, &mut ring, features);
            if !ring.requests.is_empty() {
                // Also those before one that breaks the queue; at most the size of the queue.
                self.pending = self.pending.saturating_add(ring.requests.len() as u16);
                let taken = ring.requests.drain(..).map(|request| Job { queue: index, epoch: self.epoch, request });
                self.jobs.extend(taken);
            }
            progress = processed?;
            let settled = match progress {
                Progress::More | Progress::Waiting => true,
                // Nothing was held back, and the driver needs no index to know when to kick.
                Progress::Drained if !hold_kicks && !ring.queue.event_idx_enabled() => true,
                Progress::Drained => !ring.queue.enable_notification(memory).map_err(|_| ring.fault())?,
            };
            if settled {
                break;
            }
        }
        let used = ring.queue.next_used() != used_before;
        let interrupt = used && wants_interrupt(&mut ring)?;
        if index == 0 {
            self.starved = progress == Progress::Drained;
        }
        let also = self.model.follow_up().filter(|also| *also != index);
        Ok((Served { again: progress == Progress::More, also }, interrupt))
    }

    /// Requests that [`Self::service`] took, to be carried out without the device's lock.
    pub(in super::super) fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Gives requests back to the driver. Returns a queue that has work because of it.
    pub(in super::super) fn complete(
        &mut self,
        finished: Vec<(Job, Result<u8, RingError>)>,
        memory: &Memory,
    ) -> Option<usize> {
        // The driver of an earlier epoch is gone.
        let epoch = self.epoch;
        self.done.extend(finished.into_iter().filter(|(job, _)| job.epoch == epoch));
        self.deliver(memory)
    }

    /// Gives back what is done, which is DMA; without bus mastering it waits.
    fn deliver(&mut self, memory: &Memory) -> Option<usize> {
        if !self.bus_master {
            return None;
        }
        let mut queue = None;
        while let Some((job, status)) = self.done.pop_front() {
            self.pending = self.pending.saturating_sub(1);
            queue = Some(job.queue);
            let returned = status.and_then(|status| self.give_back(&job, status, memory));
            if let Err(error) = returned {
                self.break_queue(job.queue, &error);
            }
        }
        let index = queue?;
        match self.wants_interrupt(index, memory) {
            Ok(true) => self.queue_interrupt(index),
            Ok(false) => {}
            Err(error) => self.break_queue(index, &error),
        }
        std::mem::take(&mut self.throttled).then_some(index)
    }

    fn give_back(&mut self, job: &Job, status: u8, memory: &Memory) -> Result<(), RingError> {
        let Some(mut ring) = self.running_ring(job.queue, memory) else { return Ok(()) };
        let written = job.request.answer(memory, status)?;
        ring.complete_head(job.request.chain().head(), written)
    }

    fn wants_interrupt(&mut self, index: usize, memory: &Memory) -> Result<bool, RingError> {
        self.running_ring(index, memory).map_or(Ok(false), |mut ring| wants_interrupt(&mut ring))
    }

    /// The ring of a queue that is not stopped.
    fn running_ring<'a>(&'a mut self, index: usize, memory: &'a Memory) -> Option<Ring<'a>> {
        let stopped = self.common.status & status::NEEDS_RESET != 0;
        let queue = self.queues.get_mut(index)?;
        if stopped || queue.broken || queue.setup() == Setup::Disabled {
            return None;
        }
        let (chain, requests) = (&mut self.chain, &mut self.requests);
        Some(Ring { queue: &mut queue.ring, memory, chain, requests, left: Left::default() })
    }

    /// The driver broke a queue: it stays stopped until the driver resets the device, and a modern
    /// driver is told.
    fn break_queue(&mut self, index: usize, error: &RingError) {
        tracing::debug!(device = self.figures.name(), queue = index, %error, "queue stopped");
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.broken = true;
        self.figures.count_broken_ring();
        if queue.setup() == Setup::Modern {
            self.common.status |= status::NEEDS_RESET;
            self.config_interrupt();
        }
    }
}

/// Whether the driver wants an interrupt for the buffers returned since it was last asked.
fn wants_interrupt(ring: &mut Ring<'_>) -> Result<bool, RingError> {
    // With EVENT_IDX the crate compares indices; without, it leaves the flag to us.
    let wanted = ring.queue.needs_notification(ring.memory).map_err(|_| ring.fault())?;
    if ring.queue.event_idx_enabled() {
        return Ok(wanted);
    }
    let flags = GuestAddress(ring.queue.avail_ring());
    let flags: u16 = ring.memory.read_obj(flags).map_err(|_| ring.fault())?;
    Ok(u16::from_le(flags) & NO_INTERRUPT == 0)
}
