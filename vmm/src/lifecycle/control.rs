// SPDX-License-Identifier: Apache-2.0
//! The engine from other threads: each operation is work for the main loop and a wait for the answer. Touches no
//! machine, and knows the engine only as a [`Worker`].

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use api::{Fault, Operation, VmState};
use vmm_sys_util::eventfd::EventFd;

use super::EventBus;
use super::queue::{Job, Queue};
use super::state::StateCell;
use crate::trace::TraceHub;

/// An operation that a worker `W` carries out.
pub trait Request<W: Worker>: Operation {
    /// How long one waits for it: a little more than its own limits.
    const LIMIT: Duration;
    /// Whether the guest's end and the state come first. An operation that is possible always may do without.
    const NEEDS_STATE: bool = true;

    /// Carries it out, in a state that is right for it.
    ///
    /// # Errors
    /// What went wrong.
    fn carry_out(self, worker: &mut W) -> Result<Self::Reply, W::Failure>;
}

/// Who carries requests out, on a thread of its own.
pub trait Worker: Sized + 'static {
    /// Why a request fails, while it is still known where.
    type Failure: Into<Fault>;

    /// Carries a request out, if the state allows it.
    ///
    /// # Errors
    /// What went wrong.
    fn answer<R: Request<Self>>(&mut self, request: R) -> Result<R::Reply, Self::Failure>;
}

/// A worker, for any thread.
pub struct Control<W> {
    queue: Queue<W>,
    state: Arc<StateCell>,
    events: Arc<EventBus>,
    traces: Arc<TraceHub>,
}

impl<W> Clone for Control<W> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            state: Arc::clone(&self.state),
            events: Arc::clone(&self.events),
            traces: Arc::clone(&self.traces),
        }
    }
}

impl<W: Worker> Control<W> {
    /// A control, and where its requests arrive. `wake` is signalled for each.
    pub(super) fn new(wake: Arc<EventFd>, events: Arc<EventBus>) -> (Self, Receiver<Job<W>>) {
        let (queue, arrivals) = Queue::new(wake);
        (Self { queue, state: Arc::default(), events, traces: TraceHub::new() }, arrivals)
    }

    /// The state of the virtual machine. Never waits.
    pub fn state(&self) -> VmState {
        self.state.get()
    }

    pub(super) fn set_state(&self, state: VmState) {
        self.state.set(state);
    }

    /// What happens to it.
    pub fn events(&self) -> &Arc<EventBus> {
        &self.events
    }

    /// Legacy accesses, for those who look at them live.
    pub fn traces(&self) -> &Arc<TraceHub> {
        &self.traces
    }

    /// Has the worker carry out an operation.
    ///
    /// # Errors
    /// Where the state or the request does not allow it, when the host cannot, and when it takes too long. A failed
    /// [`api::operations::Boot`] leaves the state as it was; after a failed [`api::operations::Reboot`] the virtual
    /// machine is shut down.
    pub fn ask<R: Request<W>>(&self, request: R) -> Result<R::Reply, Fault> {
        self.queue.ask(R::LIMIT, move |worker: &mut W| worker.answer(request).map_err(Into::into))
    }
}
