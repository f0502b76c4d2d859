// SPDX-License-Identifier: Apache-2.0
//! The engine from other threads: each operation is work for the main loop and a wait for the answer. Touches no
//! machine.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use api::{Fault, Operation, VmState};
use vmm_sys_util::eventfd::EventFd;

use super::queue::{Job, Queue};
use super::state::StateCell;
use super::{Engine, EventBus, Failure};
use crate::trace::TraceHub;

/// An operation that the engine carries out.
pub trait Request: Operation {
    /// How long one waits for it: a little more than its own limits.
    const LIMIT: Duration;
    /// Whether the guest's end and the state come first. An operation that is possible always may do without.
    const NEEDS_STATE: bool = true;

    /// Carries it out, in a state that is right for it.
    ///
    /// # Errors
    /// What went wrong.
    fn carry_out(self, engine: &mut Engine) -> Result<Self::Reply, Failure>;
}

/// The engine, for any thread.
#[derive(Clone)]
pub struct Control {
    queue: Queue<Engine>,
    state: Arc<StateCell>,
    events: Arc<EventBus>,
    traces: Arc<TraceHub>,
}

impl Control {
    /// A control, and where its requests arrive. `wake` is signalled for each.
    pub(super) fn new(wake: Arc<EventFd>, events: Arc<EventBus>) -> (Self, Receiver<Job<Engine>>) {
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

    /// Has the engine carry out an operation.
    ///
    /// # Errors
    /// Where the state or the request does not allow it, when the host cannot, and when it takes too long. A failed
    /// [`api::operations::Boot`] leaves the state as it was; after a failed [`api::operations::Reboot`] the virtual
    /// machine is shut down.
    pub fn ask<R: Request>(&self, request: R) -> Result<R::Reply, Fault> {
        self.queue.ask(R::LIMIT, move |engine: &mut Engine| engine.answer(request).map_err(Fault::from))
    }
}
