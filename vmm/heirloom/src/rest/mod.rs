// SPDX-License-Identifier: Apache-2.0
//! The engine as the API's [`Service`]: operations go to [`Control`]; probes, events and traces are served here.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::operations::Legacy;
use api::server::{Limits, Server, StartError};
use api::service::{Line, Lines, ProbeWhat};
use api::types::ProbeReport;
use api::{Code, Fault, Serve, Service, VmState};
use devices::contract::threads::{self, ThreadKind};
use devices::function::vfio::Bdf;
use devices::function::vfio::sysfs::Sysfs;

use crate::probe::{self, ProbeRequest, Target};
use vmm::lifecycle::{Control, Engine, Next, Request, Subscription};
use vmm::timestamp::rfc3339;
use vmm::trace::{NextLine, TraceSubscription};

/// Starts the API on a socket at `path`.
///
/// # Errors
/// When the socket cannot be had.
pub(crate) fn start(path: &Path, control: Control) -> Result<Server, StartError> {
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

impl<R: Request<Engine>> Serve<R> for Monitor {
    fn serve(&self, request: R) -> Result<R::Reply, Fault> {
        self.0.ask(request)
    }
}

impl Service for Monitor {
    fn confine_thread(&self) -> io::Result<()> {
        threads::enter(ThreadKind::Api)
    }

    fn state(&self) -> VmState {
        self.0.state()
    }

    fn host_probe(&self, what: &ProbeWhat) -> Result<ProbeReport, Fault> {
        let target = match what {
            ProbeWhat::Host => Target::Host,
            ProbeWhat::Path(path) => target(path, "path")?,
            ProbeWhat::Vf(address) => match target(address, "vf")? {
                Target::Pf(bdf) => {
                    return Err(
                        Fault::new(Code::InvalidField, format!("{bdf} is not a virtual function: try pf=")).at("vf")
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

    fn events(&self) -> Result<Box<dyn Lines>, Fault> {
        Ok(Box::new(Events { events: self.0.events().subscribe(), last: 0 }))
    }

    fn trace(&self, id: Option<&str>) -> Result<Box<dyn Lines>, Fault> {
        // A reader of a function that is not there would wait for ever.
        self.0.ask(Legacy { id: id.map(str::to_owned) })?;
        let lines = self.0.traces().subscribe(id).map_err(|error| Fault::from_error(Code::SetupFailed, &error))?;
        Ok(Box::new(Accesses { lines, control: self.0.clone() }))
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
                // Only names and texts: this cannot fail.
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
