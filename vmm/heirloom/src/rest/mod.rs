// SPDX-License-Identifier: Apache-2.0
//! The engine as the API's [`Service`]: calls go to [`Control`], errors become faults, views become the
//! API's types. Nothing is decided here.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::server::{Limits, Server, StartError};
use api::service::{Line, Lines, ProbeWhat};
use api::types::{LegacyDevice, PciDeviceInfo, ProbeReport, VmCounters, VmInfo};
use api::{Code, Fault, NewDevice, Service, VmConfig};
use devices::function::vfio::Bdf;
use devices::function::vfio::sysfs::Sysfs;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::probe::{self, ProbeRequest, Target};
use vmm::lifecycle::{Control, Next, Subscription, VmState, rfc3339};
use vmm::trace::{NextLine, TraceSubscription};

/// Starts the API on a socket at `path`.
///
/// # Errors
/// When the socket cannot be had.
pub fn start(path: &Path, control: Control) -> Result<Server, StartError> {
    // The engine ends by itself after vmm.shutdown, and the server is dropped then.
    Server::start(path, Arc::new(Monitor(control)), Limits::default(), || {})
}

struct Monitor(Control);

/// The PCI function that an address, or a path below `/sys`, names.
fn target(function: &str, parameter: &str) -> Result<Target, Fault> {
    let missing = |message: String| Fault::new(Code::DeviceNotFound, message).at(parameter);
    let last = function.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let bdf: Bdf = last.parse().map_err(|error| missing(format!("'{function}' names no PCI function: {error}")))?;
    let found = Sysfs::new().function(bdf).and_then(|function| function.physfn());
    let pf = found.map_err(|error| missing(error.to_string()))?;
    Ok(if pf.is_some() { Target::Vf(bdf) } else { Target::Pf(bdf) })
}

/// A view in the API's words. In debug builds, and so in tests, a field of the view that the API's type has not
/// is a panic, which a client sees as a 500.
fn convert<T: Serialize + DeserializeOwned>(view: impl Serialize) -> Result<T, Fault> {
    let failed = |error: serde_json::Error| Fault::from_error(Code::Internal, &error);
    let value = serde_json::to_value(view).map_err(failed)?;
    #[cfg(debug_assertions)]
    let before = value.clone();
    let converted: T = serde_json::from_value(value).map_err(failed)?;
    #[cfg(debug_assertions)]
    assert!(
        is_part_of(&before, &serde_json::to_value(&converted).unwrap_or_default()),
        "the API's types lack something of {before}"
    );
    Ok(converted)
}

#[cfg(debug_assertions)]
fn is_part_of(part: &serde_json::Value, whole: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| is_part_of(value, whole.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part_of(part, whole))
        }
        _ => part == whole,
    }
}

impl Service for Monitor {
    fn state(&self) -> api::VmState {
        match self.0.state() {
            VmState::NotCreated => api::VmState::NotCreated,
            VmState::Created => api::VmState::Created,
            VmState::Running => api::VmState::Running,
            VmState::Paused => api::VmState::Paused,
            VmState::Shutdown => api::VmState::Shutdown,
        }
    }

    fn vm_create(&self, config: VmConfig, descriptors: Vec<OwnedFd>) -> Result<(), Fault> {
        Ok(self.0.create_with(config, descriptors)?)
    }

    fn vm_boot(&self) -> Result<(), Fault> {
        Ok(self.0.boot()?)
    }

    fn vm_shutdown(&self) -> Result<(), Fault> {
        Ok(self.0.shutdown()?)
    }

    fn vm_reboot(&self) -> Result<(), Fault> {
        Ok(self.0.reboot()?)
    }

    fn vm_power_button(&self) -> Result<(), Fault> {
        Ok(self.0.power_button()?)
    }

    fn vm_pause(&self) -> Result<(), Fault> {
        Ok(self.0.pause()?)
    }

    fn vm_resume(&self) -> Result<(), Fault> {
        Ok(self.0.resume()?)
    }

    fn vm_delete(&self) -> Result<(), Fault> {
        Ok(self.0.delete()?)
    }

    fn vm_add_device(&self, device: NewDevice, descriptors: Vec<OwnedFd>) -> Result<Option<PciDeviceInfo>, Fault> {
        self.0.add_device_with(device, descriptors)?;
        Ok(None)
    }

    fn vm_remove_device(&self, id: &str) -> Result<(), Fault> {
        Ok(self.0.remove_device(id)?)
    }

    fn vm_info(&self) -> Result<VmInfo, Fault> {
        convert(self.0.info()?)
    }

    fn vm_counters(&self) -> Result<VmCounters, Fault> {
        Ok(VmCounters(self.0.counters()?))
    }

    fn vm_legacy(&self, id: Option<&str>) -> Result<Vec<LegacyDevice>, Fault> {
        convert(self.0.legacy(id)?)
    }

    fn host_probe(&self, what: &ProbeWhat) -> Result<ProbeReport, Fault> {
        let target = match what {
            ProbeWhat::Host => Target::Host,
            ProbeWhat::Path(path) => target(path, "path")?,
            ProbeWhat::Vf(address) => match target(address, "vf")? {
                Target::Pf(bdf) => {
                    return Err(
                        Fault::new(Code::InvalidField, format!("{bdf} is no virtual function: try pf=")).at("vf")
                    );
                }
                vf => vf,
            },
            ProbeWhat::Pf(address) => match target(address, "pf")? {
                Target::Vf(bdf) => {
                    return Err(
                        Fault::new(Code::InvalidField, format!("{bdf} is a virtual function: try vf=")).at("pf")
                    );
                }
                pf => pf,
            },
        };
        Ok(probe::run(&ProbeRequest::new(target)))
    }

    fn metrics(&self) -> Result<String, Fault> {
        Ok(self.0.metrics()?)
    }

    fn events(&self) -> Result<Box<dyn Lines>, Fault> {
        Ok(Box::new(Events { events: self.0.events().subscribe(), last: 0 }))
    }

    fn trace(&self, id: Option<&str>) -> Result<Box<dyn Lines>, Fault> {
        // A reader of a function that is not there would wait for ever.
        self.0.legacy(id)?;
        let lines = self.0.traces().subscribe(id).map_err(|error| Fault::from_error(Code::SetupFailed, &error))?;
        Ok(Box::new(Accesses { lines, control: self.0.clone() }))
    }

    fn vmm_shutdown(&self) -> Result<(), Fault> {
        Ok(self.0.vmm_shutdown()?)
    }
}

/// Legacy accesses as lines.
struct Accesses {
    lines: TraceSubscription,
    control: Control,
}

impl Lines for Accesses {
    fn next(&mut self, limit: Duration) -> Line {
        match self.lines.next(limit) {
            NextLine::Line(line) => Line::Text(line.as_ref().to_owned()),
            // Nothing comes before another boot, if there is one: what there was has been read.
            NextLine::Nothing if !self.control.state().has_machine() => Line::End,
            NextLine::Nothing => Line::Nothing,
            NextLine::End => Line::End,
        }
    }
}

/// Events as lines.
struct Events {
    events: Subscription,
    last: u64,
}

impl Lines for Events {
    fn next(&mut self, limit: Duration) -> Line {
        match self.events.next(limit) {
            Next::Event(event) => {
                self.last = event.seq;
                // Names and texts alone: this cannot fail.
                serde_json::to_string(&*event).map_or(Line::Nothing, Line::Text)
            }
            Next::Lost(count) => {
                self.last += count;
                Line::Text(lost(self.last, count))
            }
            Next::Nothing => Line::Nothing,
            Next::Closed => Line::End,
        }
    }
}

/// The line for those that a slow reader missed.
fn lost(seq: u64, count: u64) -> String {
    let timestamp = rfc3339(SystemTime::now());
    format!(
        r#"{{"seq":{seq},"timestamp":"{timestamp}","source":"api","event":"lost","properties":{{"count":{count}}}}}"#
    )
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
