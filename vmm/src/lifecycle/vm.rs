// SPDX-License-Identifier: Apache-2.0
//! The one virtual machine: its configuration while it is off, its machine while it is on. The engine says
//! when; this knows how.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use api::{Code, Fault, LegacyVirtioConfig, NetBackend, NewDevice, SoftDevice, VfOrigin, VmConfig};
use devices::chipset::Cmos;

use devices::chipset::vga::Screen;

use super::error::no_device;
use super::opening::{self, Opener};
use super::operator::SerialFile;
use super::options::EngineOptions;
use crate::config::{ConfigError, Descriptors, Plan};
use crate::machine::{Kept, Machine, Observer, SetupError};

/// How long files may take to open.
const LIMIT: Option<Duration> = Some(opening::LIMIT);

/// A virtual machine.
pub(super) struct VirtualMachine {
    /// With the ids and addresses that were given out.
    pub(super) config: VmConfig,
    /// What `config` refers to by number.
    descriptors: Descriptors,
    /// Its open files. A machine that was shut down has none: nothing of the host is held for it.
    plan: Option<Plan>,
    pub(super) machine: Option<Machine>,
    /// Its battery-backed clock, from the first machine on.
    clock: Option<Arc<Cmos>>,
    serial_file: SerialFile,
    /// Why the guest stopped last.
    pub(super) ended_by: Option<String>,
    /// What was on its text screen then.
    pub(super) last_screen: Option<Screen>,
}

/// Why an operation failed, while it is still known where.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Config(ConfigError),
    /// The machine cannot be put together.
    Setup(SetupError),
    /// Everything else.
    Other(Fault),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<Fault> for Failure {
    fn from(error: Fault) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Config(error) => Self::from(&error),
            Failure::Setup(error) => Self::from(&error),
            Failure::Other(error) => error,
        }
    }
}

impl VirtualMachine {
    /// Checks a configuration and opens its files, for which it waits `limit`.
    pub(super) fn new(
        config: VmConfig,
        given: Vec<OwnedFd>,
        options: &EngineOptions,
        opener: &Opener,
        limit: Option<Duration>,
    ) -> Result<Self, ConfigError> {
        let descriptors: Descriptors = (0..).zip(given.into_iter().map(Arc::new)).collect();
        let (config, plan) = opener.check(config, &descriptors, limit)?;
        Ok(Self {
            config,
            descriptors,
            plan: Some(plan),
            machine: None,
            clock: None,
            serial_file: SerialFile::new(options.output_limit),
            ended_by: None,
            last_screen: None,
        })
    }

    /// Puts the machine together. It does not run yet. On an error there is none, and no file was created.
    pub(super) fn build(&mut self, observer: Arc<dyn Observer>, opener: &Opener) -> Result<(), Failure> {
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => opener.check(self.config.clone(), &self.descriptors, LIMIT)?.1,
        };
        let plan = self.plan.insert(plan);
        let clock = match self.clock.take() {
            Some(clock) => clock,
            None => {
                let failed = |source| SetupError::System { what: "start the real-time clock", source };
                Arc::new(Cmos::new(plan.board.rtc_offset).map_err(failed)?)
            }
        };
        let output = self.serial_file.output(&plan.board.serial);
        let clock = self.clock.insert(clock);
        let machine = Machine::build(plan, Kept { output, clock: Arc::clone(clock) }, observer)?;
        self.serial_file.create(&plan.board.serial)?;
        self.machine = Some(machine);
        Ok(())
    }

    /// Closes its files.
    pub(super) fn release(&mut self) {
        self.plan = None;
    }

    /// Adds a device and returns its id. Its number of a descriptor is one of `given`, and becomes a free one.
    pub(super) fn add_device(
        &mut self,
        device: NewDevice,
        given: Vec<OwnedFd>,
        opener: &Opener,
    ) -> Result<String, Failure> {
        let mut descriptors = self.descriptors.clone();
        let mut config = self.config.clone();
        match device {
            NewDevice::LegacyVirtio(mut device) => {
                give_descriptor(&mut device, given, &mut descriptors);
                config.legacy_virtio.push(device);
                self.change(config, descriptors, opener)?;
                Ok(self.config.legacy_virtio.last().and_then(|device| device.id.clone()).unwrap_or_default())
            }
            NewDevice::PassedThrough(device) => {
                config.devices.push(device);
                self.change(config, descriptors, opener)?;
                Ok(self.config.devices.last().and_then(|device| device.id.clone()).unwrap_or_default())
            }
        }
    }

    /// Removes the device `id`, and closes its descriptor.
    pub(super) fn remove_device(&mut self, id: &str, opener: &Opener) -> Result<(), Failure> {
        let mut config = self.config.clone();
        config.legacy_virtio.retain(|device| device.id.as_deref() != Some(id));
        config.devices.retain(|device| device.id.as_deref() != Some(id));
        if config == self.config {
            return Err(no_device(id).into());
        }
        let is_used = |number: u32| {
            let uses = |device: &LegacyVirtioConfig| matches!(&device.origin, VfOrigin::Soft(SoftDevice::Net { backend: NetBackend::Fd(n), .. }) if *n == number);
            config.legacy_virtio.iter().any(uses)
        };
        let mut descriptors = self.descriptors.clone();
        descriptors.retain(|number, _| is_used(*number));
        self.change(config, descriptors, opener)
    }

    /// Checks the new configuration before the old one is given up.
    fn change(&mut self, config: VmConfig, descriptors: Descriptors, opener: &Opener) -> Result<(), Failure> {
        // The old plan's locks would keep the new one from the same disks.
        let had_plan = self.plan.take().is_some();
        let (config, plan) = match opener.check(config, &descriptors, LIMIT) {
            Ok(checked) => checked,
            Err(error) => {
                if had_plan {
                    // If another process was quicker, booting says so.
                    let before = opener.check(self.config.clone(), &self.descriptors, LIMIT);
                    self.plan = before.ok().map(|(_, plan)| plan);
                }
                return Err(error.into());
            }
        };
        (self.config, self.descriptors) = (config, descriptors);
        self.plan = had_plan.then_some(plan);
        Ok(())
    }

    /// The machine.
    pub(super) fn machine(&self) -> Result<&Machine, Fault> {
        self.machine
            .as_ref()
            .ok_or_else(|| Fault::new(Code::Internal, "there is no machine in this state: this is a bug in heirloom"))
    }
}

/// The descriptor that a device refers to becomes one of the machine's, under a number that is free.
fn give_descriptor(device: &mut LegacyVirtioConfig, given: Vec<OwnedFd>, descriptors: &mut Descriptors) {
    if let VfOrigin::Soft(SoftDevice::Net { backend: NetBackend::Fd(index), .. }) = &mut device.origin
        && let Some(descriptor) = usize::try_from(*index).ok().and_then(|at| given.into_iter().nth(at))
    {
        *index = (0..).find(|number| !descriptors.contains_key(number)).unwrap_or(u32::MAX);
        descriptors.insert(*index, Arc::new(descriptor));
    }
}
