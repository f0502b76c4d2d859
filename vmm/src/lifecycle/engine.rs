// SPDX-License-Identifier: Apache-2.0
//! The engine: one virtual machine and the main loop that runs its devices. It carries out what a
//! [`Control`] asks for, what the guest does to its machine, and what the operator wants.
//!
//! Everything here happens on the thread that called [`Engine::run`]. An operation that stops or builds a
//! machine holds up the main loop, and so INTx, only for a machine that does not run then. A pause holds it up
//! for as long as processors need to stop, at most [`PAUSE_LIMIT`].

mod guest;
mod look;
mod requests;

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use api::operations::PauseClock;
use api::{Code, Fault, VmConfig, VmState};
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::control::{Control, Request, Worker};
use super::counters::{EngineCounter, EngineCounters};
use super::opening::Opener;
use super::operator::Operator;
use super::options::EngineOptions;
use super::pace::ResetPace;
use super::publisher::EventPublisher;
use super::queue::Job;
use super::stop_request::StopRequest;
use super::vm::{Failure, VirtualMachine};
use super::{Ended, EventBus, EventKind};
use crate::config::ConfigError;
use crate::machine::{Loop, Observer, SetupError};
use crate::panics;
use crate::report::Report;
use crate::signals;

/// How long a pause waits for processors that are busy in a device access.
const PAUSE_LIMIT: Duration = Duration::from_secs(1);

/// The engine.
pub struct Engine {
    options: EngineOptions,
    main_loop: Loop,
    stop_request: Arc<StopRequest>,
    opener: Opener,
    control: Control<Self>,
    /// Gone when the engine ends: who asks then is told at once.
    requests: Option<Receiver<Job<Self>>>,
    vm: Option<VirtualMachine>,
    operator: Operator,
    report: Report,
    counters: Arc<EngineCounters>,
    pace: ResetPace,
    ended: Option<Ended>,
}

/// Wakes the main loop. What for is found elsewhere.
struct Wake(Arc<EventFd>);

impl MutEventSubscriber for Wake {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        let _ = self.0.read();
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&*self.0, EventSet::IN)) {
            tracing::error!("cannot watch for requests and signals: {error:?}");
        }
    }
}

impl Engine {
    /// An engine without a virtual machine.
    ///
    /// # Errors
    /// When the system has no eventfd, epoll or signal handler to give.
    pub fn new(options: EngineOptions, events: Arc<EventBus>) -> Result<Self, SetupError> {
        let system = |what| move |source| SetupError::System { what, source };
        let mut main_loop = Loop::new().map_err(SetupError::NoMainLoop)?;
        let wake = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(system("make an eventfd"))?);
        let stop_request = StopRequest::new(Arc::clone(&wake));
        if options.takes_signals {
            let on_signal = Arc::clone(&stop_request);
            signals::watch(move |signal| on_signal.make(signal)).map_err(system("watch for signals"))?;
            let on_panic = Arc::clone(&stop_request);
            panics::tell(move |reason| on_panic.panicked(reason));
        }
        main_loop.add_subscriber(Box::new(Wake(Arc::clone(&wake))));
        let (pace, ring) = ResetPace::new().map_err(system("make a timer"))?;
        main_loop.add_subscriber(ring);
        let (control, requests) = Control::new(wake, events);
        let (outputs, name) = (options.outputs.clone(), options.name.clone());
        let opener = Opener { outputs, name, stop: Arc::clone(&stop_request) };
        Ok(Self {
            opener,
            options,
            main_loop,
            stop_request,
            control,
            requests: Some(requests),
            vm: None,
            operator: Operator::default(),
            report: Report::default(),
            counters: Arc::default(),
            pace,
            ended: None,
        })
    }

    /// For other threads.
    pub fn control(&self) -> Control<Self> {
        self.control.clone()
    }

    /// What the machines did so far that have ended.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How the run ends, if somebody asked for that: what fails then may have failed for that reason.
    pub fn asked_to_end(&self) -> Option<Ended> {
        self.stop_request.ended()
    }

    /// Takes a configuration before [`Self::run`], and opens its files: it waits for them until the operator asks for
    /// the end. [`Self::created`] says that it is to stay.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn prepare(&mut self, config: VmConfig) -> Result<(), ConfigError> {
        self.prepare_with(config, Vec::new(), None)
    }

    fn prepare_with(
        &mut self,
        config: VmConfig,
        descriptors: Vec<OwnedFd>,
        limit: Option<Duration>,
    ) -> Result<(), ConfigError> {
        self.vm = Some(VirtualMachine::new(config, descriptors, &self.options, &self.opener, limit)?);
        Ok(())
    }

    /// The virtual machine of [`Self::prepare`] is created: says so.
    pub fn created(&mut self) {
        self.enter(VmState::Created, EventKind::Created);
    }

    /// Serves the guest, requests and signals until one of them ends the engine. The machine is gone then.
    ///
    /// # Errors
    /// When the main loop cannot go on, or a machine cannot be stopped or, for an engine that ends with its
    /// guest, not be started again.
    pub fn run(&mut self) -> Result<Ended, SetupError> {
        // A panic of this very thread is told like any other's, and then it ends in order as far as it can.
        let outcome = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(outcome) => outcome,
            Err(panic) => {
                let reason = panics::message(&*panic);
                Ok(self.stop_request.ended().unwrap_or(Ended::Panicked(reason)))
            }
        };
        if let Ok(Ended::Panicked(reason)) = &outcome {
            self.control.events().publish(EventKind::Panicked { reason: reason.clone() });
        }
        // Before the machine goes, so that nobody waits for an answer while it does.
        self.requests = None;
        self.control.events().publish(EventKind::VmmShutdown);
        let why = match &outcome {
            Ok(ended) => ended.to_string(),
            Err(error) => error.to_string(),
        };
        let stopped = self.switch_off(&why).map(drop);
        self.set_state(VmState::NotCreated);
        self.vm = None;
        self.operator.release();
        self.control.events().close();
        stopped.and(outcome)
    }

    fn serve(&mut self) -> Result<Ended, SetupError> {
        loop {
            // A request to stop comes before what the guest did about the same time.
            if let Some(ended) = self.stop_request.ended() {
                return Ok(ended);
            }
            self.look_at_guest()?;
            self.answer_requests();
            match self.ended.take() {
                // A signal while the guest ended counts more.
                Some(ended) => return Ok(self.stop_request.ended().unwrap_or(ended)),
                // What came meanwhile has signalled the loop: nothing waits for the next event.
                None => self.main_loop.run().map_err(SetupError::MainLoop)?,
            };
        }
    }

    fn answer_requests(&mut self) {
        while self.ended.is_none() {
            let Some(job) = self.requests.as_ref().and_then(|requests| requests.try_recv().ok()) else { return };
            job(self);
        }
    }

    fn vm(&mut self) -> Result<&mut VirtualMachine, Fault> {
        self.vm
            .as_mut()
            .ok_or_else(|| Fault::new(Code::Internal, "there is no virtual machine: this is a bug in heirloom"))
    }

    fn set_state(&mut self, state: VmState) {
        self.control.set_state(state);
    }

    /// The state is there before the event that tells of it.
    fn enter(&mut self, state: VmState, event: EventKind) {
        self.set_state(state);
        self.control.events().publish(event);
    }
}

impl Worker for Engine {
    type Failure = Failure;

    fn answer<R: Request<Self>>(&mut self, request: R) -> Result<R::Reply, Failure> {
        if R::NEEDS_STATE {
            // The guest may have ended since the loop woke up: then it did so before the request.
            self.look_at_guest()?;
            R::ROUTE.check_state(self.control.state())?;
        }
        request.carry_out(self)
    }
}

/// Operations.
impl Engine {
    /// Builds the machine and lets it run. Without success the state is what it was.
    ///
    /// # Errors
    /// What the configuration or the host lacks.
    pub fn boot(&mut self) -> Result<(), Failure> {
        self.control.events().publish(EventKind::Booting);
        match self.start_machine() {
            Ok(()) => {
                self.counters.add(EngineCounter::Boots);
                self.enter(VmState::Running, EventKind::Booted);
                Ok(())
            }
            Err(failure) => {
                let failure = self.boot_failed(failure);
                Err(failure)
            }
        }
    }

    fn start_machine(&mut self) -> Result<(), Failure> {
        let observer: Arc<dyn Observer> = Arc::new(EventPublisher {
            events: Arc::clone(self.control.events()),
            counters: Arc::clone(&self.counters),
            traces: Arc::clone(self.control.traces()),
        });
        let opener = self.opener.clone();
        let stop_request = Arc::clone(&self.stop_request);
        let vm = self.vm()?;
        vm.build(observer, &opener)?;
        let (serial, screen) = (vm.config.serial.mode, vm.config.screen.mode);
        self.operator.take(serial, screen, &stop_request)?;
        let Some(machine) = self.vm.as_mut().and_then(|vm| vm.machine.as_mut()) else {
            return Err(SetupError::Internal("a machine that was built is not there").into());
        };
        self.operator.attach(machine);
        self.pace.started(Instant::now());
        Ok(machine.start(&mut self.main_loop)?)
    }

    fn boot_failed(&mut self, failure: Failure) -> Failure {
        let reason = match &failure {
            Failure::Config(error) => error.to_string(),
            Failure::Setup(error) => error.to_string(),
            Failure::Other(error) => error.to_string(),
        };
        self.operator.release();
        if let Some(mut machine) = self.vm.as_mut().and_then(|vm| vm.machine.take()) {
            // It never ran, or was ended by what failed: there is nothing to report of it.
            let _ = machine.stop(&mut self.main_loop);
        }
        self.control.events().publish(EventKind::BootFailed { reason });
        failure
    }

    /// Ends the machine, if there is one, and adds to the report what it did.
    fn switch_off(&mut self, why: &str) -> Result<(), SetupError> {
        let Some(mut machine) = self.vm.as_mut().and_then(|vm| vm.machine.take()) else { return Ok(()) };
        let stopped = machine.stop(&mut self.main_loop);
        self.report.add(&machine, &stopped.as_ref().map_or_else(ToString::to_string, |_| why.to_owned()));
        self.operator.detach();
        if let Some(vm) = &mut self.vm {
            vm.ended_by = Some(why.to_owned());
            vm.last_screen = machine.screen().map(|screen| screen.screen());
        }
        drop(machine);
        stopped.map(drop)
    }

    fn shut_down(&mut self, why: &str) -> Result<(), Failure> {
        let stopped = self.switch_off(why);
        self.pace.forget();
        self.operator.release();
        if let Some(vm) = &mut self.vm {
            vm.release();
        }
        self.enter(VmState::Shutdown, EventKind::Shutdown);
        if self.options.ends.with_guest && self.ended.is_none() {
            self.ended = Some(Ended::Requested);
        }
        Ok(stopped?)
    }

    /// A new machine from the same open files. The old one's are free before the new one asks for them.
    fn reboot(&mut self, why: &str) -> Result<(), Failure> {
        self.switch_off(why)?;
        self.boot().inspect_err(|_| {
            if let Some(vm) = &mut self.vm {
                vm.release();
            }
            self.control.set_state(VmState::Shutdown);
            self.control.events().publish(EventKind::Shutdown);
        })
    }

    fn power_button(&mut self) -> Result<(), Failure> {
        let listens = self.vm()?.machine()?.power_button();
        if !listens {
            tracing::info!("the power button was pressed, but the guest does not listen to it yet");
        }
        self.control.events().publish(EventKind::PowerButton);
        Ok(())
    }

    fn pause(&mut self, clock: PauseClock) -> Result<(), Failure> {
        let machine = self.vm()?.machine()?;
        let busy = machine.pause(PAUSE_LIMIT).map_err(SetupError::from)?;
        if clock == PauseClock::Stop
            && let Err(error) = machine.stop_clock()
        {
            machine.resume().map_err(SetupError::from)?;
            return Err(error.into());
        }
        if !busy.is_empty() {
            tracing::info!(vcpus = ?busy, "paused; these vCPUs still wait for a device, but run no guest code");
        }
        self.enter(VmState::Paused, EventKind::Paused);
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.vm()?.machine()?.resume().map_err(SetupError::from)?;
        self.enter(VmState::Running, EventKind::Resumed);
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Failure> {
        if self.vm.is_none() {
            return Ok(());
        }
        if self.control.state().has_machine() {
            self.shut_down("deleted")?;
        }
        self.vm = None;
        self.enter(VmState::NotCreated, EventKind::Deleted);
        if self.options.ends.with_guest {
            self.ended = Some(Ended::Requested);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
