// SPDX-License-Identifier: Apache-2.0
//! A function whose queues a thread of its own processes: all of a VF, and the PF but for its administration
//! virtqueue. What wakes the thread is in `worker`; registers and configuration space are in `function`.

use std::sync::atomic::{AtomicBool, Ordering};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::SoftPfError;
use super::device::Served;
use super::event_loop::Endpoint;
use super::function::Function;
use super::layout;
use super::model::Model;
use super::quirks::SharedQuirks;
use crate::bus::Width;
use crate::function::Result;

/// A function and what its thread needs.
pub(super) struct Threaded {
    pub function: Function,
    /// One for each queue; a kick writes it and the thread reads it.
    pub kicks: Vec<EventFd>,
    /// DRIVER_OK, readable without the lock.
    live: AtomicBool,
    pub quirks: SharedQuirks,
    /// Reaches the event loop of its thread.
    pub endpoint: Endpoint,
}

impl Threaded {
    /// A function that is not present yet. `endpoint` reaches the event loop of its thread.
    pub(super) fn new(
        name: String,
        model: Box<dyn Model>,
        quirks: SharedQuirks,
        endpoint: Endpoint,
    ) -> std::result::Result<Self, SoftPfError> {
        let event = |_: &u16| EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(SoftPfError::Event);
        let kicks = model.queue_sizes().iter().map(event).collect::<std::result::Result<_, _>>()?;
        let function = Function::new(name, model)?;
        Ok(Self { function, kicks, live: AtomicBool::new(false), quirks, endpoint })
    }

    /// Function level reset.
    pub(super) fn reset_function(&self) {
        self.function.reset();
        self.live.store(false, Ordering::Release);
    }

    /// Notes what a register access did to DRIVER_OK.
    pub(super) fn set_live(&self, live: bool) {
        self.live.store(live, Ordering::Release);
    }

    /// Writes a BAR; returns the queue that a doorbell of the function's own was rung for. Nobody is woken.
    pub(super) fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<BarWrite> {
        if self.function.region_write(bar, offset, width, value)? {
            return Ok(match layout::is_doorbell(offset) {
                true => BarWrite::Doorbell(value as u16),
                false => BarWrite::Beyond,
            });
        }
        if offset < layout::ISR {
            self.set_live(self.function.device().is_live());
        }
        Ok(BarWrite::Register)
    }

    /// The driver kicked a queue: cheap, and safe on any thread.
    pub(super) fn kick(&self, queue: u16) {
        let Some(event) = self.kicks.get(usize::from(queue)) else { return };
        if self.live.load(Ordering::Acquire) || self.serves_early_kicks() {
            self.wake(event);
        }
    }

    fn wake(&self, event: &EventFd) {
        // Fails only when the counter is full, and then the thread is awake already.
        if let Err(error) = event.write(1) {
            tracing::debug!(function = self.function.name, %error, "kick not counted");
        }
    }

    /// Bus mastering came back: what was kicked meanwhile is found now.
    pub(super) fn kick_all(&self) {
        if self.live.load(Ordering::Acquire) {
            self.kicks.iter().for_each(|event| self.wake(event));
        }
    }

    /// Processes a queue, and those that have work because of it, for one turn each. Returns whether one of them
    /// needs another turn; it was kicked for that.
    pub(super) fn serve(&self, queue: usize) -> bool {
        let early = self.serves_early_kicks();
        let mut any_again = false;
        let mut next = Some(queue);
        while let Some(queue) = next {
            let Served { again, also } = {
                let mut device = self.function.device();
                let memory = self.function.dma.load();
                let served = device.service(queue, &memory, early);
                self.live.store(device.is_live(), Ordering::Release);
                served
            };
            if again && let Some(event) = self.kicks.get(queue) {
                // Through the event loop, so that other queues and resets get their turn.
                self.wake(event);
                any_again = true;
            }
            next = also;
        }
        any_again
    }

    /// Whether the model's source is to be watched.
    pub(super) fn wants_source(&self) -> bool {
        self.function.device().wants_source(self.serves_early_kicks())
    }

    fn serves_early_kicks(&self) -> bool {
        !self.quirks.load().loses_early_kicks
    }
}

/// What a write to a BAR was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarWrite {
    /// A register's, or nothing's.
    Register,
    /// The doorbell of the queue with this index, which need not exist.
    Doorbell(u16),
    /// A 16-bit write in the notification area, behind the function's own doorbells.
    Beyond,
}
