// SPDX-License-Identifier: Apache-2.0
//! The state of one virtio device, whichever interface drives it: status, features, queues, vectors,
//! ISR. The register layouts over it are in `modern` and `legacy`.
//!
//! One lock guards all of this, and every use of the driver's memory happens under it. So a reset,
//! which takes the lock too, ends all DMA before it returns.

use std::sync::Arc;

use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use super::chain::{Chain, Ring, RingError};
use super::figures::Figures;
use super::memory::Memory;
use super::model::{Model, Progress};
use super::queue::{NO_VECTOR, Setup, VirtQueue};
use crate::function::eventfds;
use crate::spec::virtio::isr;
pub(super) use crate::spec::virtio::status;

/// Feature bits of the transport (virtio 1.3, 6).
pub(super) mod feature {
    pub const ANY_LAYOUT: u64 = 1 << 27;
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    pub const SR_IOV: u64 = 1 << 37;
    pub const ADMIN_VQ: u64 = 1 << 41;
}

/// Buffers taken under one hold of the lock. A reset waits for no more than these.
pub(super) const BATCH: u32 = 64;

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

/// One device.
pub(super) struct VirtioDevice {
    name: String,
    pub model: Box<dyn Model>,
    offered: u64,
    pub status: u8,
    pub driver_features: u64,
    pub queues: Vec<VirtQueue>,
    pub config_vector: u16,
    isr: u8,
    pub generation: u8,
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
}

impl VirtioDevice {
    /// A device as after power-on, with `vectors` MSI-X vectors, that counts in `figures`.
    pub(super) fn new(
        name: String,
        model: Box<dyn Model>,
        vectors: u16,
        figures: Arc<Figures>,
    ) -> Result<Self, virtio_queue::Error> {
        let queues = model.queue_sizes().iter().map(|size| VirtQueue::new(*size)).collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            offered: model.features() | feature::VERSION_1 | feature::ACCESS_PLATFORM | feature::INDIRECT_DESC,
            model,
            status: 0,
            driver_features: 0,
            queues,
            config_vector: NO_VECTOR,
            isr: 0,
            generation: 0,
            modern: Selectors::default(),
            legacy_queue: 0,
            vectors,
            msix: None,
            bus_master: false,
            starved: true,
            chain: Chain::new(figures.clone()),
            figures,
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
        self.status = 0;
        self.driver_features = 0;
        self.queues.iter_mut().for_each(VirtQueue::reset);
        self.config_vector = NO_VECTOR;
        self.isr = 0;
        self.modern = Selectors::default();
        self.legacy_queue = 0;
        self.starved = true;
        self.model.reset();
    }

    /// Function level reset.
    pub(super) fn function_reset(&mut self) {
        self.reset();
        self.generation = 0;
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
        self.status & status::DRIVER_OK != 0 && self.status & status::NEEDS_RESET == 0
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
            Setup::Modern => self.is_live() && self.status & status::FEATURES_OK != 0,
            Setup::Legacy => self.is_live() || early,
        };
        started && self.bus_master && !queue.broken
    }

    /// Processes a queue for one turn, if need be before DRIVER_OK where the device does so (`early`), and interrupts the driver if it asked for that.
    pub(super) fn service(&mut self, index: usize, memory: &Memory, early: bool) -> Served {
        if !self.may_run(index, early) {
            return Served::default();
        }
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
        let features = self.driver_features;
        let Some(queue) = self.queues.get_mut(index) else { return Ok((Served::default(), false)) };
        if !queue.is_mapped(memory) {
            return Err(self.chain.fault(queue.ring.desc_table()));
        }
        queue.ring.set_event_idx(features & feature::EVENT_IDX != 0);
        let used_before = queue.ring.next_used();
        let mut ring = Ring { queue: &mut queue.ring, memory, chain: &mut self.chain, budget: BATCH };
        let mut progress = Progress::More;
        // Each round but the last takes a buffer at least, so the budget bounds them.
        for _ in 0..BATCH {
            if hold_kicks {
                ring.queue.disable_notification(memory).map_err(|_| ring.fault())?;
            }
            progress = self.model.process(index, &mut ring, features)?;
            let settled = match progress {
                Progress::More => true,
                Progress::Waiting => true,
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

    /// The driver broke a queue: it stays stopped until the driver resets the device, and a modern
    /// driver is told.
    fn break_queue(&mut self, index: usize, error: &RingError) {
        tracing::debug!(device = self.name, queue = index, %error, "queue stopped");
        let Some(queue) = self.queues.get_mut(index) else { return };
        queue.broken = true;
        self.figures.count_broken_ring();
        if queue.setup() == Setup::Modern {
            self.status |= status::NEEDS_RESET;
            self.config_interrupt();
        }
    }

    fn queue_interrupt(&mut self, index: usize) {
        let vector = self.queues.get(index).map_or(NO_VECTOR, |q| q.vector);
        self.interrupt(vector, isr::QUEUE);
    }

    /// Tells the driver that the configuration changed.
    pub(super) fn config_interrupt(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.status & status::DRIVER_OK != 0 {
            self.interrupt(self.config_vector, isr::CONFIG);
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
            tracing::debug!(device = self.name, vector, %error, "cannot signal the interrupt's eventfd");
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
