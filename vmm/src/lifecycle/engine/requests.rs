// SPDX-License-Identifier: Apache-2.0
//! What the engine does for each operation of the API, and how long its client waits for that. The operations
//! themselves, with the states in which they are possible, are [`api::operations`].

use std::time::Duration;

use api::operations::{
    AddDevice, AddedDevice, Boot, Counters, Create, Delete, Info, Legacy, Metrics, Pause, PowerButton, PrometheusText,
    Reboot, RemoveDevice, Resume, Screen, Shutdown, VmmShutdown,
};
use api::types::{LegacyDevice, VmCounters, VmInfo, VmScreen};

use super::super::control::Request;
use super::super::opening;
use super::super::vm::Failure;
use super::super::{Ended, EventKind, view};
use super::Engine;

/// Looks and keystrokes. Longer than the end of a machine takes whose storage does not answer: 1 s for its disks, 2 s for
/// the rest of the serial output.
const QUICK: Duration = Duration::from_secs(5);
/// Stopping guest code waits 1 s for processors.
const PAUSE: Duration = Duration::from_secs(5);
/// Opening and locking files.
const CHECK: Duration = Duration::from_secs(10);
/// Stopping processors may take 10 s, the rest of the serial output 2 s.
const STOP: Duration = Duration::from_secs(25);
/// Each command to the PF before the guest starts may take 10 s.
const START: Duration = Duration::from_secs(60);

impl Request<Engine> for Create {
    const LIMIT: Duration = CHECK;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.prepare_with(self.config, self.descriptors, Some(opening::LIMIT))?;
        engine.created();
        Ok(())
    }
}

impl Request<Engine> for Boot {
    const LIMIT: Duration = START;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.boot()
    }
}

impl Request<Engine> for Shutdown {
    const LIMIT: Duration = STOP;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.shut_down("shut down by request")
    }
}

impl Request<Engine> for Reboot {
    const LIMIT: Duration = START;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.reboot("rebooted by request")
    }
}

impl Request<Engine> for PowerButton {
    const LIMIT: Duration = QUICK;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.power_button()
    }
}

/// In bounded time whatever devices do; see [`crate::machine::Machine::pause`].
impl Request<Engine> for Pause {
    const LIMIT: Duration = PAUSE;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.pause(self.clock)
    }
}

impl Request<Engine> for Resume {
    const LIMIT: Duration = QUICK;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.resume()
    }
}

impl Request<Engine> for Delete {
    const LIMIT: Duration = STOP;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.delete()
    }
}

impl Request<Engine> for AddDevice {
    const LIMIT: Duration = CHECK;
    fn carry_out(self, engine: &mut Engine) -> Result<AddedDevice, Failure> {
        let opener = engine.opener.clone();
        let id = engine.vm()?.add_device(self.device, self.descriptors, &opener)?;
        engine.control.events().publish(EventKind::DeviceAdded { id: id.clone() });
        Ok(AddedDevice { id, bdf: None })
    }
}

impl Request<Engine> for RemoveDevice {
    const LIMIT: Duration = CHECK;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        let opener = engine.opener.clone();
        engine.vm()?.remove_device(&self.id, &opener)?;
        engine.control.events().publish(EventKind::DeviceRemoved { id: self.id });
        Ok(())
    }
}

impl Request<Engine> for Info {
    const LIMIT: Duration = QUICK;
    fn carry_out(self, engine: &mut Engine) -> Result<VmInfo, Failure> {
        Ok(engine.info()?)
    }
}

impl Request<Engine> for Counters {
    const LIMIT: Duration = QUICK;
    fn carry_out(self, engine: &mut Engine) -> Result<VmCounters, Failure> {
        Ok(view::counters(&engine.figures()))
    }
}

impl Request<Engine> for Legacy {
    const LIMIT: Duration = QUICK;
    fn carry_out(self, engine: &mut Engine) -> Result<Vec<LegacyDevice>, Failure> {
        Ok(engine.legacy(self.id.as_deref())?)
    }
}

impl Request<Engine> for Screen {
    const LIMIT: Duration = QUICK;
    fn carry_out(self, engine: &mut Engine) -> Result<VmScreen, Failure> {
        Ok(engine.screen(self.attributes)?)
    }
}

impl Request<Engine> for Metrics {
    const LIMIT: Duration = QUICK;
    const NEEDS_STATE: bool = false;
    fn carry_out(self, engine: &mut Engine) -> Result<PrometheusText, Failure> {
        Ok(PrometheusText(engine.metrics()))
    }
}

/// The machine is switched off once this was answered.
impl Request<Engine> for VmmShutdown {
    const LIMIT: Duration = STOP;
    const NEEDS_STATE: bool = false;
    fn carry_out(self, engine: &mut Engine) -> Result<(), Failure> {
        engine.ended = Some(Ended::Requested);
        Ok(())
    }
}
