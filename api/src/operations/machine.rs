// SPDX-License-Identifier: Apache-2.0
//! Operations on the life of the virtual machine, and the one that ends the monitor.

use std::os::fd::OwnedFd;

use super::{Operation, descriptors, examples, parameter, takes_nothing};
use crate::routes::{Body, Call, Parameter, Route, VMM_SHUTDOWN};
use crate::state::{StateSet, VmState};
use crate::{Code, Fault, VmConfig, decode};

const RUNNING: StateSet = StateSet::of(&[VmState::Running]);
/// What a machine may lack when it is put together.
const STARTING: &[Code] = &[Code::InvalidConfig, Code::FileUnusable, Code::SetupFailed, Code::PfUnavailable];

/// Makes a machine of a configuration.
#[derive(Debug)]
pub struct Create {
    /// What it is made of.
    pub config: VmConfig,
    /// Came with the request; the configuration refers to them by their place.
    pub descriptors: Vec<OwnedFd>,
}

impl From<VmConfig> for Create {
    fn from(config: VmConfig) -> Self {
        Self { config, descriptors: Vec::new() }
    }
}

impl Operation for Create {
    type Reply = ();
    const ROUTE: Route = Route::change("/api/v1/vm.create", "createVM", "Make a virtual machine, without starting it")
        .says(
            "Files are looked at now and opened again at each boot. File descriptors for network cards may come \
                 with the request (SCM_RIGHTS); `{\"fd\": N}` is the N-th of them, counted from 0.",
        )
        .when(StateSet::of(&[VmState::NotCreated]))
        .takes(Body::config(examples::CONFIGS))
        .takes_descriptors()
        .fails(&[
            Code::UnsupportedField,
            Code::InvalidConfig,
            Code::FileUnusable,
            Code::DuplicateId,
            Code::SetupFailed,
        ]);

    fn decode(call: Call) -> Result<Self, Fault> {
        decode::query(&call.query, &[])?;
        let config = decode::config(decode::json(&call.body)?)?;
        descriptors::check(&config.legacy_virtio, &call.descriptors)?;
        Ok(Self { config, descriptors: call.descriptors })
    }
}

takes_nothing! {
    /// Removes the machine and ends the monitor. The reply still goes out.
    VmmShutdown -> () =
        Route::change(VMM_SHUTDOWN, "shutdownVMM", "Remove the virtual machine and end the monitor")
            .says("The reply goes out before the process ends.");

    /// Starts the guest.
    Boot -> () =
        Route::change("/api/v1/vm.boot", "bootVM", "Start the guest").when(StateSet::OFF).fails(STARTING);

    /// Ends the guest as a power cut does. The configuration stays.
    Shutdown -> () =
        Route::change("/api/v1/vm.shutdown", "shutdownVM", "End the guest, as a power cut does")
            .says("The configuration stays and can be booted again. To ask the guest itself, use `vm.power-button`.")
            .when(StateSet::ON);

    /// Ends the guest and starts it again.
    Reboot -> () =
        Route::change("/api/v1/vm.reboot", "rebootVM", "End the guest and start it again")
            .when(RUNNING)
            .fails(STARTING);

    /// Presses the guest's power button.
    PowerButton -> () =
        Route::change("/api/v1/vm.power-button", "power-buttonVM", "Press the guest's power button")
            .says("The guest decides what follows; one without ACPI does not notice.")
            .when(RUNNING);

    /// Lets the guest's processors go on.
    Resume -> () =
        Route::change("/api/v1/vm.resume", "resumeVM", "Resume the guest's processors")
            .when(StateSet::of(&[VmState::Paused]));

    /// Removes the machine, after a shutdown if it runs. Without one there is nothing to do.
    Delete -> () =
        Route::change("/api/v1/vm.delete", "deleteVM", "Remove the virtual machine").says(
            "A running machine is shut down first. Without a virtual machine this does nothing and succeeds.",
        );
}

/// What the guest's clocks do while it is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PauseClock {
    /// They run on. A guest that uses KVM's clock is told that it stood still.
    #[default]
    Run,
    /// They stand still: time stamp counters, KVM's clock, ACPI's timer, interval timer.
    Stop,
}

impl PauseClock {
    const RUN: &str = "run";
    const STOP: &str = "stop";

    /// As a parameter has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => Self::RUN,
            Self::Stop => Self::STOP,
        }
    }
}

/// Stops the guest's processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pause {
    /// What its clocks do meanwhile.
    pub clock: PauseClock,
}

impl Operation for Pause {
    type Reply = ();
    const ROUTE: Route = Route::change("/api/v1/vm.pause", "pauseVM", "Stop the guest's processors")
        .says(
            "Its clocks run on unless `clock=stop` is given. Guests that use KVM's clock learn that they stood still, \
             and their watchdogs keep quiet; older ones, and those on another clock, jump ahead at `vm.resume` and may \
             report processors that hang.",
        )
        .when(RUNNING)
        .asks(&[Parameter {
            name: "clock",
            text: "`run` (default), or `stop`: time stamp counters, KVM's clock, ACPI's timer and the interval timer \
                   stand still. The real-time clock shows the host's time, and goes on.",
            example: "stop",
        }])
        .fails(&[Code::InvalidField, Code::SetupFailed]);

    fn decode(call: Call) -> Result<Self, Fault> {
        let clock = match parameter(&call, "clock")?.as_deref() {
            None | Some(PauseClock::RUN) => PauseClock::Run,
            Some(PauseClock::STOP) => PauseClock::Stop,
            Some(other) => {
                let text = format!("parameter 'clock': '{other}' is neither 'run' nor 'stop'");
                return Err(Fault::new(Code::InvalidField, text).at("clock"));
            }
        };
        Ok(Self { clock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e17_a_pause_says_what_becomes_of_the_clocks() {
        let decode =
            |query: &str| Pause::decode(Call { body: Vec::new(), query: query.to_owned(), descriptors: Vec::new() });
        for (query, clock) in [("", PauseClock::Run), ("clock=run", PauseClock::Run), ("clock=stop", PauseClock::Stop)]
        {
            assert_eq!(decode(query).unwrap().clock, clock, "{query}");
        }
        for query in ["clock=halt", "clock=Stop", "clock=stop&clock=run", "time=stop"] {
            assert_eq!(decode(query).unwrap_err().code, Code::InvalidField, "{query}");
        }
    }
}
