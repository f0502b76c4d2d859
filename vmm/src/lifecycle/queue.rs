// SPDX-License-Identifier: Apache-2.0
//! Work from any thread for the one thread that has the machine: bounded in number and time. What is asked for and its
//! answer are one closure, so that no answer can be one to another question. Knows nothing of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

use api::{Code, Fault};
use vmm_sys_util::eventfd::EventFd;

/// Requests that may wait; more than that are refused, so that a client that asks and asks costs no memory.
const MAX_WAITING: usize = 64;

/// Who has a request: nobody yet, the worker, or nobody any more.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

/// A request under way. Called, it is carried out and answered, unless nobody waits for its answer any more.
pub(super) type Job<W> = Box<dyn FnOnce(&mut W) + Send>;

/// Where requests for a worker `W` go.
pub(super) struct Queue<W> {
    jobs: SyncSender<Job<W>>,
    wake: Arc<EventFd>,
}

impl<W> Clone for Queue<W> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<W: 'static> Queue<W> {
    /// A queue, and where its requests arrive. `wake` is signalled for each.
    pub(super) fn new(wake: Arc<EventFd>) -> (Self, Receiver<Job<W>>) {
        let (jobs, arrivals) = mpsc::sync_channel(MAX_WAITING);
        (Self { jobs, wake }, arrivals)
    }

    /// Has the worker do `work`, and waits `limit` at most for what comes of it.
    ///
    /// # Errors
    /// What `work` says; [`Code::Busy`], [`Code::Unavailable`] and [`Code::DeadlineExceeded`].
    pub(super) fn ask<R: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut W) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, Fault> {
        // There is room for one answer: the worker never waits.
        let (reply, answers) = mpsc::sync_channel(1);
        let claim = Arc::new(AtomicU8::new(WAITING));
        let claimed = Arc::clone(&claim);
        let job: Job<W> = Box::new(move |worker| {
            if claimed.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let _ = reply.try_send(work(worker));
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                Fault::new(Code::Busy, format!("{MAX_WAITING} requests are already waiting: try again later"))
            }
            TrySendError::Disconnected(_) => shutting_down(),
        })?;
        if let Err(error) = self.wake.write(1) {
            return Err(Fault::from_error(Code::Internal, &error));
        }
        match answers.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(shutting_down()),
            Err(RecvTimeoutError::Timeout) => {
                let taken_back = claim.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
                // It may have been answered at the last moment.
                let late = answers.try_recv();
                late.unwrap_or_else(|_| Err(too_late(limit, taken_back.is_err())))
            }
        }
    }
}

/// An operation that takes longer than its client waits.
fn too_late(limit: Duration, begun: bool) -> Fault {
    let fate = if begun { "it continues and may still succeed" } else { "it was not started and will not be" };
    Fault::new(Code::DeadlineExceeded, format!("the operation did not end within {limit:?}: {fate}"))
}

fn shutting_down() -> Fault {
    Fault::new(Code::Unavailable, "the virtual machine monitor is about to end")
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
