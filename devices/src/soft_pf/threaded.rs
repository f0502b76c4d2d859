// SPDX-License-Identifier: Apache-2.0
//! A function whose queues a thread of its own processes: all of a VF, and the PF but for its administration
//! virtqueue. Requests that were taken out of a queue are carried out without the device's lock: by that thread what
//! can be done without waiting for the host's storage, by a pool of others what cannot. What wakes the thread is in
//! `worker`; registers and configuration space are in `function`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::SoftPfError;
use super::chain::RingError;
use super::device::Served;
use super::event_loop::Endpoint;
use super::figures::Figures;
use super::function::{Function, QUIET_LIMIT};
use super::in_flight::Token;
use super::io_pool::{IoPool, Task};
use super::job::Job;
use super::layout;
use super::model::Model;
use super::quirks::SharedQuirks;
use crate::bus::Width;
use crate::function::Result;

/// Bytes of data after which requests that are done go back to the driver, also if others wait their turn.
const RETURN_AFTER: u64 = 1 << 20;

/// How long a register write that resets the device waits for what the host has under way; a driver looks again.
const RESET_PATIENCE: Duration = Duration::from_millis(100);

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
    /// Waits for the host's storage.
    pub io: IoPool<HandedOver>,
}

impl Threaded {
    /// A function that is not present yet. `endpoint` reaches the event loop of its thread.
    pub(super) fn new(
        model: Box<dyn Model>,
        figures: Arc<Figures>,
        quirks: SharedQuirks,
        endpoint: Endpoint,
    ) -> std::result::Result<Self, SoftPfError> {
        let event = |_: &u16| EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(SoftPfError::Event);
        let kicks = model.queue_sizes().iter().map(event).collect::<std::result::Result<_, _>>()?;
        let io = IoPool::new(format!("{}-io", figures.name()));
        let function = Function::new(model, figures)?;
        Ok(Self { function, kicks, live: AtomicBool::new(false), quirks, endpoint, io })
    }

    /// Begins a function level reset. It has ended when [`Function::await_quiet`] says so.
    pub(super) fn begin_reset(&self) {
        self.function.reset();
        self.set_live(false);
    }

    /// Function level reset. Says whether it ended.
    pub(super) fn reset_function(&self) -> bool {
        self.begin_reset();
        let quiet = self.function.in_flight.wait(Instant::now() + QUIET_LIMIT);
        if !quiet {
            self.function.in_flight.give_up();
        }
        self.settle();
        quiet
    }

    /// Goes on when the host is done with what a reset ended.
    pub(super) fn settle(&self) {
        if self.function.device().settle() {
            self.kicks.iter().for_each(|event| self.wake(event));
        }
    }

    /// Notes what became of DRIVER_OK.
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
            let settling = {
                let device = self.function.device();
                self.set_live(device.is_live());
                device.is_settling()
            };
            if settling {
                // A reset. The driver asks whether it ended; it mostly has by then.
                self.function.in_flight.wait(Instant::now() + RESET_PATIENCE);
                self.settle();
            }
        }
        Ok(BarWrite::Register)
    }

    /// The driver kicked a queue: cheap, and safe on any thread.
    pub(super) fn kick(&self, queue: u16) {
        if let Some(event) = self.kicks.get(usize::from(queue))
            && self.hears_kicks()
        {
            self.wake(event);
        }
    }

    /// Whether a kick is for somebody.
    pub(super) fn hears_kicks(&self) -> bool {
        self.live.load(Ordering::Acquire) || self.serves_early_kicks()
    }

    pub(super) fn wake(&self, event: &EventFd) {
        // Fails only when the counter is full, and then the thread is awake already.
        if let Err(error) = event.write(1) {
            tracing::debug!(function = self.function.name(), %error, "kick not counted");
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
    pub(super) fn serve(self: &Arc<Self>, queue: usize) -> bool {
        let early = self.serves_early_kicks();
        let mut any_again = false;
        let mut next = Some(queue);
        while let Some(queue) = next {
            let (Served { again, also }, jobs) = {
                let mut device = self.function.device();
                let memory = self.function.dma.load();
                let served = device.service(queue, &memory, early);
                self.set_live(device.is_live());
                (served, device.take_jobs())
            };
            self.run(jobs);
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
        !self.quirks.load().vf.loses_early_kicks
    }

    /// Carries `jobs` out: here what can be done without waiting, by a thread of the pool what cannot. Holds no lock.
    pub(super) fn run(self: &Arc<Self>, jobs: Vec<Job>) {
        let (mut finished, mut moved) = (Vec::new(), 0);
        for job in jobs {
            match self.attempt(job, false) {
                Attempt::Finished(done) => {
                    moved += done.job.request.moved();
                    finished.push(done);
                }
                Attempt::Waits(job) => self.hand_over(job),
                Attempt::Forgotten => {}
            }
            if moved >= RETURN_AFTER {
                moved = 0;
                self.give_back(std::mem::take(&mut finished));
            }
        }
        self.give_back(finished);
    }

    fn attempt(&self, mut job: Job, may_wait: bool) -> Attempt {
        let Some(token) = self.function.in_flight.begin(job.epoch, job.request.chain()) else {
            return Attempt::Forgotten;
        };
        // After the token: what is unmapped from now on waits for it. The memory lives for as long as this does.
        let memory = self.function.dma.load_full();
        match job.request.run(&memory, may_wait) {
            Some(status) => Attempt::Finished(Finished { job, status, token }),
            None => Attempt::Waits(job),
        }
    }

    fn hand_over(self: &Arc<Self>, job: Job) {
        if let Err(HandedOver { job, .. }) = self.io.run(HandedOver { owner: Arc::clone(self), job }) {
            self.refuse(job);
        }
    }

    /// There is no thread for it: an error for the driver.
    fn refuse(&self, job: Job) {
        let Some(token) = self.function.in_flight.begin(job.epoch, job.request.chain()) else { return };
        let status = job.request.fail(&self.function.dma.load_full());
        self.give_back(vec![Finished { job, status, token }]);
    }

    /// Gives requests back to the driver.
    fn give_back(&self, finished: Vec<Finished>) {
        let (jobs, tokens): (Vec<_>, Vec<_>) =
            finished.into_iter().map(|Finished { job, status, token }| ((job, status), token)).unzip();
        if jobs.is_empty() {
            return;
        }
        let kick = {
            let mut device = self.function.device();
            let kick = device.complete(jobs, &self.function.dma.load());
            self.set_live(device.is_live());
            kick
        };
        drop(tokens);
        if let Some(event) = kick.and_then(|queue| self.kicks.get(queue)) {
            self.wake(event);
        }
        self.settle();
    }
}

/// A request that the host has answered.
struct Finished {
    job: Job,
    /// What the driver gets, or what it did wrong.
    status: std::result::Result<u8, RingError>,
    /// Held until the driver has it.
    token: Token,
}

enum Attempt {
    Finished(Finished),
    /// The host's storage would have to be waited for.
    Waits(Job),
    /// The device was reset.
    Forgotten,
}

/// A job for a thread that may wait.
pub(super) struct HandedOver {
    owner: Arc<Threaded>,
    job: Job,
}

impl Task for HandedOver {
    fn run(self) {
        if let Attempt::Finished(done) = self.owner.attempt(self.job, true) {
            self.owner.give_back(vec![done]);
        }
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
