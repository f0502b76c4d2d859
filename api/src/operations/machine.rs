// SPDX-License-Identifier: Apache-2.0
//! Operations on the life of the virtual machine, and the one that ends the monitor.

use std::os::fd::OwnedFd;

use super::{DONE, NOTHING, Operation, change, descriptors, examples, nothing};
use crate::routes::{Body, Call, Input, Route, VMM_SHUTDOWN};
use crate::state::{StateSet, VmState};
use crate::{Code, Fault, VmConfig, decode};

const RUNNING: StateSet = StateSet::of(&[VmState::Running]);
/// What a machine may lack when it is put together.
const STARTING: &[Code] = &[Code::InvalidConfig, Code::FileUnusable, Code::SetupFailed, Code::PfUnavailable];

/// Removes the machine and ends the monitor. The reply still goes out.
#[derive(Clone, Copy, Debug)]
pub struct VmmShutdown;

impl Operation for VmmShutdown {
    type Reply = ();
    const ROUTE: Route = Route {
        text: "The reply goes out before the process ends.",
        ..change::<Self>(VMM_SHUTDOWN, "shutdownVMM", "Remove the virtual machine and end the monitor")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

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
    const ROUTE: Route = Route {
        text: "Files are looked at now and opened again at each boot. File descriptors for network cards may come \
               with the request (SCM_RIGHTS); `{\"fd\": N}` is the N-th of them, counted from 0.",
        states: StateSet::of(&[VmState::NotCreated]),
        input: Input { body: Some(Body::config(examples::CONFIGS)), descriptors: true, ..NOTHING },
        successes: DONE,
        faults: &[
            Code::UnsupportedField,
            Code::InvalidConfig,
            Code::FileUnusable,
            Code::DuplicateId,
            Code::SetupFailed,
        ],
        ..change::<Self>("/api/v1/vm.create", "createVM", "Make a virtual machine, without starting it")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        decode::query(&call.query, &[])?;
        let config = decode::config(decode::json(&call.body)?)?;
        descriptors::check(&config.legacy_virtio, &call.descriptors)?;
        Ok(Self { config, descriptors: call.descriptors })
    }
}

/// Starts the guest.
#[derive(Clone, Copy, Debug)]
pub struct Boot;

impl Operation for Boot {
    type Reply = ();
    const ROUTE: Route = Route {
        states: StateSet::OFF,
        faults: STARTING,
        ..change::<Self>("/api/v1/vm.boot", "bootVM", "Start the guest")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// Ends the guest as a power cut does. The configuration stays.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown;

impl Operation for Shutdown {
    type Reply = ();
    const ROUTE: Route = Route {
        text: "The configuration stays and can be booted again. To ask the guest itself, use `vm.power-button`.",
        states: StateSet::ON,
        ..change::<Self>("/api/v1/vm.shutdown", "shutdownVM", "End the guest, as a power cut does")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// Ends the guest and starts it again.
#[derive(Clone, Copy, Debug)]
pub struct Reboot;

impl Operation for Reboot {
    type Reply = ();
    const ROUTE: Route = Route {
        states: RUNNING,
        faults: STARTING,
        ..change::<Self>("/api/v1/vm.reboot", "rebootVM", "End the guest and start it again")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// Presses the guest's power button.
#[derive(Clone, Copy, Debug)]
pub struct PowerButton;

impl Operation for PowerButton {
    type Reply = ();
    const ROUTE: Route = Route {
        text: "What follows is up to the guest; one without ACPI does not notice.",
        states: RUNNING,
        ..change::<Self>("/api/v1/vm.power-button", "power-buttonVM", "Press the guest's power button")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// Stops the guest's processors.
#[derive(Clone, Copy, Debug)]
pub struct Pause;

impl Operation for Pause {
    type Reply = ();
    const ROUTE: Route =
        Route { states: RUNNING, ..change::<Self>("/api/v1/vm.pause", "pauseVM", "Stop the guest's processors") };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// Lets the guest's processors go on.
#[derive(Clone, Copy, Debug)]
pub struct Resume;

impl Operation for Resume {
    type Reply = ();
    const ROUTE: Route = Route {
        states: StateSet::of(&[VmState::Paused]),
        ..change::<Self>("/api/v1/vm.resume", "resumeVM", "Let the guest's processors go on")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// Removes the machine, after a shutdown if it runs. Without one there is nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Delete;

impl Operation for Delete {
    type Reply = ();
    const ROUTE: Route = Route {
        text: "One that runs is shut down before. Without a virtual machine there is nothing to do, which is a success.",
        ..change::<Self>("/api/v1/vm.delete", "deleteVM", "Remove the virtual machine")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}
