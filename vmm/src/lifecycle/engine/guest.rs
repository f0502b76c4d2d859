// SPDX-License-Identifier: Apache-2.0
//! What the guest does to its machine: it switches it off, resets it, or crashes.

use std::time::Instant;

use api::Fault;

use super::super::counters::EngineCounter;
use super::super::vm::Failure;
use super::super::{Ended, EventKind};
use super::Engine;
use crate::machine::{Machine, SetupError};
use crate::vcpu::ExitReason;

impl Engine {
    /// Acts on the end of the guest, if it has ended.
    pub(super) fn look_at_guest(&mut self) -> Result<(), SetupError> {
        let Some(reason) = self.vm.as_ref().and_then(|vm| vm.machine.as_ref()).and_then(Machine::exit_reason) else {
            return Ok(());
        };
        if let Some(at) = self.pace.pending() {
            // It has been told already, and the timer wakes the main loop.
            return if Instant::now() < at { Ok(()) } else { self.restart(&Ended::Reset.to_string()) };
        }
        let (ended, event) = match reason {
            ExitReason::PowerOff => (Ended::PoweredOff, EventKind::GuestPowerOff),
            ExitReason::Reset => (Ended::Reset, EventKind::GuestReset),
            ExitReason::Crashed(report) => {
                let reason = report.cause.to_string();
                self.counters.add(EngineCounter::Crashes);
                if !self.options.ends.with_guest {
                    tracing::error!("the guest crashed\n{report}");
                }
                (Ended::Crashed(report), EventKind::Crashed { reason })
            }
            // Nobody but this module stops a machine, and it takes the machine away then.
            ExitReason::Stopped => (Ended::FromConsole, EventKind::Shutdown),
        };
        self.control.events().publish(event);
        if matches!(ended, Ended::Reset) {
            self.counters.add(EngineCounter::GuestResets);
            if !self.options.ends.at_reset {
                tracing::info!("the guest resets itself");
                let Some(delay) = self.pace.reset(Instant::now()) else { return self.restart(&ended.to_string()) };
                self.counters.add(EngineCounter::DelayedResets);
                tracing::warn!("the guest does nothing but reset itself: it starts again in {delay:?}");
                self.control.events().publish(EventKind::ResetDelayed { delay: format!("{delay:?}") });
                return Ok(());
            }
        }
        let why = ended.to_string();
        if self.options.ends.with_guest {
            self.ended = Some(ended);
        }
        self.after_the_end(&why)
    }

    fn restart(&mut self, why: &str) -> Result<(), SetupError> {
        match self.reboot(why) {
            Ok(()) => Ok(()),
            Err(failure) if !self.options.ends.with_guest => {
                let error = Fault::from(failure);
                tracing::error!(causes = ?error.causes, "the guest reset itself and cannot be started again: {error}");
                Ok(())
            }
            Err(Failure::Setup(error)) => Err(error),
            Err(failure) => {
                let error = Fault::from(failure);
                Err(SetupError::Restart(Box::new(error)))
            }
        }
    }

    /// A request to stop that came meanwhile goes before what the guest did.
    fn after_the_end(&mut self, why: &str) -> Result<(), SetupError> {
        let why = self.stop_request.ended().map_or_else(|| why.to_owned(), |ended| ended.to_string());
        match self.shut_down(&why) {
            Err(Failure::Setup(error)) if self.options.ends.with_guest => Err(error),
            Err(failure) => {
                tracing::error!("the machine did not stop cleanly: {}", Fault::from(failure));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
