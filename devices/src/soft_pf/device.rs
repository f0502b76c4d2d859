// SPDX-License-Identifier: Apache-2.0
//! The state of one virtio device, whichever interface drives it: status, features, queues, vectors,
//! ISR. The register layouts over it are in `modern` and `legacy`.
//!
//! One lock guards all of this. It is held over nothing that may wait: rings, registers and frames are served under it;
//! what a disk's requests move is moved without it. A reset forgets those that have not begun, and
//! whoever needs to know that no DMA is made any more waits for the others ([`super::in_flight`]).

use std::collections::VecDeque;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::chain::{Chain, RingError};
use super::disk::Request;
use super::figures::Figures;
use super::in_flight::InFlight;
use super::job::Job;
use super::model::Model;
use super::queue::{Setup, VirtQueue};
use crate::function::eventfds;
use crate::spec::virtio::{NO_VECTOR, isr};
pub(super) use crate::spec::virtio::{feature, status};

mod turn;

/// Buffers taken under one hold of the lock. A reset waits for no more than these.
pub(super) const BATCH: u32 = 64;
/// Bytes of frames that are moved under one hold of the lock.
const HOLD_BYTES: u64 = 256 << 10;

/// `VIRTQ_AVAIL_F_NO_INTERRUPT` (virtio 1.3, 2.7.7).
const NO_INTERRUPT: u16 = 1;

/// What is left to do after a turn of [`VirtioDevice::service`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    /// The same queue needs another turn.
    pub again: bool,
    /// This queue has work now.
    pub also: Option<usize>,
}

/// Selectors of the modern common configuration.
#[derive(Default)]
pub(super) struct Selectors {
    pub device_feature: u32,
    pub driver_feature: u32,
    pub queue: u16,
}

/// Registers that both interfaces have.
pub(super) struct CommonRegisters {
    pub status: u8,
    pub driver_features: u64,
    pub config_vector: u16,
    pub generation: u8,
}

/// One device.
pub(super) struct VirtioDevice {
    pub model: Box<dyn Model>,
    offered: u64,
    pub common: CommonRegisters,
    pub queues: Vec<VirtQueue>,
    isr: u8,
    pub modern: Selectors,
    /// Queue select of the legacy interface.
    pub legacy_queue: u16,
    vectors: u16,
    /// Eventfds of the vectors while MSI-X is enabled.
    msix: Option<Vec<Option<EventFd>>>,
    bus_master: bool,
    figures: Arc<Figures>,
    /// Queue 0 had no buffer left when there was something to put into one.
    starved: bool,
    chain: Chain,
    in_flight: Arc<InFlight>,
    /// Of requests that are taken now.
    epoch: u64,
    /// Requests that were taken in this epoch and are not given back.
    pending: u16,
    /// As many are taken as the queue is long: more are taken when some are given back.
    throttled: bool,
    /// Requests of earlier epochs are still under way, so a reset has not ended.
    settling: bool,
    /// Requests that are done, while they cannot be given back for want of bus mastering.
    done: VecDeque<(Job, Result<u8, RingError>)>,
    /// Requests that were just taken, and those that are to be carried out.
    requests: Vec<Request>,
    jobs: Vec<Job>,
}

impl VirtioDevice {
    /// A device as after power-on, with `vectors` MSI-X vectors, that counts in `figures`; what it has under way is in
    /// `in_flight`.
    pub(super) fn new(
        model: Box<dyn Model>,
        vectors: u16,
        figures: Arc<Figures>,
        in_flight: Arc<InFlight>,
    ) -> Result<Self, virtio_queue::Error> {
        let queues = model.queue_sizes().iter().map(|size| VirtQueue::new(*size)).collect::<Result<_, _>>()?;
        Ok(Self {
            offered: model.features() | feature::VERSION_1 | feature::ACCESS_PLATFORM | feature::INDIRECT_DESC,
            model,
            common: CommonRegisters { status: 0, driver_features: 0, config_vector: NO_VECTOR, generation: 0 },
            queues,
            isr: 0,
            modern: Selectors::default(),
            legacy_queue: 0,
            vectors,
            msix: None,
            bus_master: false,
            starved: true,
            chain: Chain::new(figures.clone()),
            figures,
            in_flight,
            epoch: 0,
            pending: 0,
            throttled: false,
            settling: false,
            done: VecDeque::new(),
            requests: Vec::new(),
            jobs: Vec::new(),
        })
    }

    /// Features that the modern interface offers.
    pub(super) fn offered(&self) -> u64 {
        self.offered
    }

    /// Features that the legacy interface offers. Old drivers rely on "any layout" being there or
    /// not, never on more; a transitional device must offer it.
    pub(super) fn offered_legacy(&self) -> u32 {
        (self.offered | feature::ANY_LAYOUT) as u32
    }

    /// Device reset, by writing 0 to the status register of either interface. MSI-X and bus
    /// mastering belong to PCI and stay.
    pub(super) fn reset(&mut self) {
        self.common.status = 0;
        self.common.driver_features = 0;
        self.queues.iter_mut().for_each(VirtQueue::reset);
        self.common.config_vector = NO_VECTOR;
        self.isr = 0;
        self.modern = Selectors::default();
        self.legacy_queue = 0;
        self.starved = true;
        self.model.reset();
        self.forget_requests();
    }

    /// Requests that were taken and have not begun never do, and the driver hears of none of the others. While the
    /// host still works on one, no queue is served, and [`Self::is_settling`].
    pub(super) fn forget_requests(&mut self) {
        self.epoch = self.in_flight.begin_epoch();
        self.pending = 0;
        self.throttled = false;
        self.done.clear();
        self.jobs.clear();
        self.settling = !self.in_flight.is_idle();
    }

    /// The reset of a queue with requests under way, as a legacy driver does it by the queue's address.
    pub(super) fn queue_restarts(&mut self) {
        if self.pending > 0 {
            self.forget_requests();
        }
    }

    /// Whether the host still works on what a reset ended. Until then the device says that it needs a reset.
    pub(super) fn is_settling(&self) -> bool {
        self.settling && !self.in_flight.is_idle()
    }

    /// Notes that the host is done with what a reset ended. Says whether that is new.
    pub(super) fn settle(&mut self) -> bool {
        let settled = self.settling && self.in_flight.is_idle();
        self.settling &= !settled;
        settled
    }

    /// Status as the driver reads it.
    pub(super) fn shown_status(&self) -> u8 {
        if self.is_settling() { self.common.status | status::NEEDS_RESET } else { self.common.status }
    }

    /// DMA that should have ended goes on: nothing is done any more until a reset, and the driver is told.
    pub(super) fn needs_reset(&mut self) {
        // After a reset that has not ended it says so as it is.
        if !self.is_settling() {
            self.common.status |= status::NEEDS_RESET;
            self.config_interrupt();
        }
    }

    /// Function level reset.
    pub(super) fn function_reset(&mut self) {
        self.reset();
        self.common.generation = 0;
        self.msix = None;
        self.bus_master = false;
    }

    /// COMMAND.BUS_MASTER. Without it the function makes no DMA and sends no interrupt.
    pub(super) fn set_bus_master(&mut self, on: bool) {
        self.bus_master = on;
    }

    /// Enables MSI-X with these eventfds, or disables it.
    pub(super) fn set_msix(&mut self, events: Option<Vec<Option<EventFd>>>) {
        self.msix = events;
    }

    /// Whether MSI-X is enabled.
    pub(super) fn msix_enabled(&self) -> bool {
        self.msix.is_some()
    }

    /// The vector as the device stores it: one that it does not have becomes "none".
    pub(super) fn checked_vector(&self, vector: u16) -> u16 {
        if vector < self.vectors { vector } else { NO_VECTOR }
    }

    /// Reads the ISR and clears it.
    pub(super) fn take_isr(&mut self) -> u8 {
        std::mem::take(&mut self.isr)
    }

    /// Whether the driver finished its set-up and the device has not given up on it.
    pub(super) fn is_live(&self) -> bool {
        self.common.status & status::DRIVER_OK != 0 && self.common.status & status::NEEDS_RESET == 0
    }

    /// Whether queue 0 takes what the model's source has; `early` as for [`Self::service`].
    pub(super) fn wants_source(&self, early: bool) -> bool {
        !self.starved && self.may_run(0, early)
    }

    /// Whether a queue may be processed. Only legacy drivers may use one before DRIVER_OK, and it
    /// is the device's choice whether that works (`early`).
    fn may_run(&self, queue: usize, early: bool) -> bool {
        let Some(queue) = self.queues.get(queue) else { return false };
        let started = match queue.setup() {
            Setup::Disabled => false,
            Setup::Modern => self.is_live() && self.common.status & status::FEATURES_OK != 0,
            Setup::Legacy => self.is_live() || early,
        };
        let stopped = self.common.status & status::NEEDS_RESET != 0 || self.is_settling();
        started && self.bus_master && !queue.broken && !stopped
    }

    fn queue_interrupt(&mut self, index: usize) {
        let vector = self.queues.get(index).map_or(NO_VECTOR, |q| q.vector);
        self.interrupt(vector, isr::QUEUE);
    }

    /// Tells the driver that the configuration changed.
    pub(super) fn config_interrupt(&mut self) {
        self.common.generation = self.common.generation.wrapping_add(1);
        if self.common.status & status::DRIVER_OK != 0 {
            self.interrupt(self.common.config_vector, isr::CONFIG);
        }
    }

    /// MSI-X while that is enabled; else the ISR says it to whoever asks, as a VF has no INTx.
    fn interrupt(&mut self, vector: u16, isr: u8) {
        let Some(events) = &self.msix else {
            self.isr |= isr;
            return;
        };
        if let Some(Some(event)) = events.get(usize::from(vector))
            && self.bus_master
            && let Err(error) = eventfds::signal(event)
        {
            tracing::debug!(device = self.figures.name(), vector, %error, "cannot signal the interrupt's eventfd");
        }
    }
}
