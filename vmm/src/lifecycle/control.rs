// SPDX-License-Identifier: Apache-2.0
//! The engine from other threads: each operation is a message to the main loop and a wait for the answer,
//! bounded in number and time. Touches no machine.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::Duration;

use api::{NewDevice, VmConfig};
use vmm_sys_util::eventfd::EventFd;

use super::view::{Counters, LegacyInfo, Ping, VmInfo};
use super::{Category, EventBus, LifecycleError, StateCell, VmState};
use crate::trace::TraceHub;

/// Requests that may wait; more than that are refused, so that a client that asks and asks costs no memory.
const MAX_WAITING: usize = 64;

/// What one can wait for, longest: a little more than the operation's own limits.
mod limit {
    use std::time::Duration;

    /// Looks and keystrokes.
    pub const QUICK: Duration = Duration::from_secs(2);
    /// Stopping guest code waits 1 s for processors.
    pub const PAUSE: Duration = Duration::from_secs(5);
    /// Opening and locking files.
    pub const CHECK: Duration = Duration::from_secs(10);
    /// Stopping processors may take 10 s, the rest of the serial output 2 s.
    pub const STOP: Duration = Duration::from_secs(25);
    /// Each command to the PF before the guest starts may take 10 s.
    pub const START: Duration = Duration::from_secs(60);
}

/// What is asked of the engine.
#[derive(Debug)]
pub(super) enum Request {
    Create(Box<VmConfig>, Vec<OwnedFd>),
    Boot,
    Shutdown,
    Reboot,
    PowerButton,
    Pause,
    Resume,
    Delete,
    Info,
    Counters,
    Legacy(Option<String>),
    AddDevice(Box<NewDevice>, Vec<OwnedFd>),
    RemoveDevice(String),
    Metrics,
    VmmShutdown,
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Reply {
    Done,
    Info(Box<VmInfo>),
    Counters(Counters),
    Legacy(Vec<LegacyInfo>),
    Text(String),
}

/// Who has a ticket: nobody yet, the engine, or nobody any more.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

/// A request under way.
pub(super) struct Ticket {
    request: Option<Request>,
    claim: Arc<AtomicU8>,
    reply: SyncSender<Result<Reply, LifecycleError>>,
}

impl Ticket {
    /// The request, unless nobody waits for its answer any more.
    pub(super) fn begin(&mut self) -> Option<Request> {
        let claimed = self.claim.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire);
        claimed.ok().and_then(|_| self.request.take())
    }

    /// Answers. Never waits: there is room for one answer.
    pub(super) fn answer(self, answer: Result<Reply, LifecycleError>) {
        let _ = self.reply.try_send(answer);
    }
}

/// The engine, for any thread.
#[derive(Clone)]
pub struct Control {
    requests: SyncSender<Ticket>,
    wake: Arc<EventFd>,
    state: Arc<StateCell>,
    events: Arc<EventBus>,
    traces: Arc<TraceHub>,
}

impl Control {
    /// A control, and where its requests arrive. `wake` is signalled for each.
    pub(super) fn new(wake: Arc<EventFd>, events: Arc<EventBus>) -> (Self, Receiver<Ticket>) {
        let (requests, arrivals) = mpsc::sync_channel(MAX_WAITING);
        (Self { requests, wake, state: Arc::default(), events, traces: TraceHub::new() }, arrivals)
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

    /// Who answers. Never waits.
    pub fn ping(&self) -> Ping {
        Ping { version: env!("CARGO_PKG_VERSION"), pid: std::process::id() }
    }

    /// Takes a configuration; its files are opened and locked.
    ///
    /// # Errors
    /// As all operations: where the state or the request does not allow it, and when it takes too long.
    pub fn create(&self, config: VmConfig) -> Result<(), LifecycleError> {
        self.create_with(config, Vec::new())
    }

    /// As [`Self::create`], for a configuration that refers to `descriptors` by their place.
    ///
    /// # Errors
    /// See there.
    pub fn create_with(&self, config: VmConfig, descriptors: Vec<OwnedFd>) -> Result<(), LifecycleError> {
        self.ask(Request::Create(Box::new(config), descriptors), limit::CHECK).map(drop)
    }

    /// Builds the machine and lets it run.
    ///
    /// # Errors
    /// See [`Self::create`]; also what the machine lacks. The state is as before then.
    pub fn boot(&self) -> Result<(), LifecycleError> {
        self.ask(Request::Boot, limit::START).map(drop)
    }

    /// Switches the machine off without asking the guest.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn shutdown(&self) -> Result<(), LifecycleError> {
        self.ask(Request::Shutdown, limit::STOP).map(drop)
    }

    /// Replaces the machine by a new one, as when the guest resets it.
    ///
    /// # Errors
    /// See [`Self::boot`]; the virtual machine is shut down if the new machine cannot be built.
    pub fn reboot(&self) -> Result<(), LifecycleError> {
        self.ask(Request::Reboot, limit::START).map(drop)
    }

    /// Presses the ACPI power button. What the guest makes of it is its business.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn power_button(&self) -> Result<(), LifecycleError> {
        self.ask(Request::PowerButton, limit::QUICK).map(drop)
    }

    /// Stops guest code, in bounded time whatever devices do; see [`crate::machine::Machine::pause`].
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn pause(&self) -> Result<(), LifecycleError> {
        self.ask(Request::Pause, limit::PAUSE).map(drop)
    }

    /// Lets guest code go on.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn resume(&self) -> Result<(), LifecycleError> {
        self.ask(Request::Resume, limit::QUICK).map(drop)
    }

    /// Forgets the virtual machine; switches it off where it is on. Without one there is nothing to do.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn delete(&self) -> Result<(), LifecycleError> {
        self.ask(Request::Delete, limit::STOP).map(drop)
    }

    /// Adds a device to the configuration of a machine that is off; returns its id.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn add_device(&self, device: impl Into<NewDevice>) -> Result<String, LifecycleError> {
        self.add_device_with(device, Vec::new())
    }

    /// As [`Self::add_device`], for a device that refers to one of `descriptors` by its place.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn add_device_with(
        &self,
        device: impl Into<NewDevice>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<String, LifecycleError> {
        match self.ask(Request::AddDevice(Box::new(device.into()), descriptors), limit::CHECK)? {
            Reply::Text(id) => Ok(id),
            other => Err(mixed_up(&other)),
        }
    }

    /// Takes a device out of the configuration of a machine that is off.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn remove_device(&self, id: &str) -> Result<(), LifecycleError> {
        self.ask(Request::RemoveDevice(id.to_owned()), limit::CHECK).map(drop)
    }

    /// Configuration, state and devices.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn info(&self) -> Result<VmInfo, LifecycleError> {
        match self.ask(Request::Info, limit::QUICK)? {
            Reply::Info(info) => Ok(*info),
            other => Err(mixed_up(&other)),
        }
    }

    /// Counters of processors and devices.
    ///
    /// # Errors
    /// See [`Self::create`].
    pub fn counters(&self) -> Result<Counters, LifecycleError> {
        match self.ask(Request::Counters, limit::QUICK)? {
            Reply::Counters(counters) => Ok(counters),
            other => Err(mixed_up(&other)),
        }
    }

    /// The legacy functions in detail; all of them, or the one with this id.
    ///
    /// # Errors
    /// See [`Self::create`]; [`Category::DeviceNotFound`].
    pub fn legacy(&self, id: Option<&str>) -> Result<Vec<LegacyInfo>, LifecycleError> {
        match self.ask(Request::Legacy(id.map(str::to_owned)), limit::QUICK)? {
            Reply::Legacy(functions) => Ok(functions),
            other => Err(mixed_up(&other)),
        }
    }

    /// All counters in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn metrics(&self) -> Result<String, LifecycleError> {
        match self.ask(Request::Metrics, limit::QUICK)? {
            Reply::Text(text) => Ok(text),
            other => Err(mixed_up(&other)),
        }
    }

    /// Ends the engine, after this has returned. The machine is switched off.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn vmm_shutdown(&self) -> Result<(), LifecycleError> {
        self.ask(Request::VmmShutdown, limit::STOP).map(drop)
    }

    fn ask(&self, request: Request, limit: Duration) -> Result<Reply, LifecycleError> {
        let (reply, answers) = mpsc::sync_channel(1);
        let claim = Arc::new(AtomicU8::new(WAITING));
        let ticket = Ticket { request: Some(request), claim: Arc::clone(&claim), reply };
        self.requests.try_send(ticket).map_err(|error| match error {
            TrySendError::Full(_) => {
                LifecycleError::new(Category::Busy, format!("{MAX_WAITING} requests wait already: try again later"))
            }
            TrySendError::Disconnected(_) => shutting_down(),
        })?;
        if let Err(error) = self.wake.write(1) {
            return Err(LifecycleError::from_error(Category::Internal, &error));
        }
        match answers.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(shutting_down()),
            Err(RecvTimeoutError::Timeout) => {
                let taken_back = claim.compare_exchange(WAITING, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
                // It may have been answered at the last moment.
                let late = answers.try_recv();
                late.unwrap_or_else(|_| Err(LifecycleError::deadline(limit, taken_back.is_err())))
            }
        }
    }
}

fn shutting_down() -> LifecycleError {
    LifecycleError::new(Category::ShuttingDown, "the virtual machine monitor is about to end")
}

fn mixed_up(reply: &Reply) -> LifecycleError {
    tracing::error!(?reply, "an answer to another question");
    LifecycleError::new(Category::Internal, "the answer is one to another question: this is a mistake in heirloom")
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
