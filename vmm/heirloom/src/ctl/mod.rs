// SPDX-License-Identifier: Apache-2.0
//! `heirloom ctl`: a verb becomes a request, the reply a table.
#![forbid(unsafe_code)]

mod table;

use std::io::{self, Write};
use std::path::Path;

use api::Operation;
use api::client::{Client, ClientError};
use api::operations::{
    AddDevice, Counters, Create, Info, Legacy, Metrics, Pause, PauseClock, RemoveDevice, Screen, VmmShutdown,
};
use api::routes::{PREFIX, Route};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::cli::{CtlArgs, RouteVerb, Verb, new_device};
use vmm::config::{self, ConfigError};

/// Why nothing came of it.
#[derive(Debug, Error)]
pub(crate) enum CtlError {
    /// The configuration to send cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No reply, or a refusal.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No event loop, or standard output takes no more.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl CtlError {
    /// The exit code that tells so. `--help` promises these.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Connect { .. }) => 3,
            Self::Client(ClientError::Fault(fault)) if fault.status() < 500 => 4,
            Self::Client(ClientError::Foreign { status: 400..500, .. }) => 4,
            Self::Config(_) => 2,
            Self::Client(_) | Self::System(_) => 1,
        }
    }
}

/// A request, and how its reply is shown.
struct Request {
    method: &'static str,
    target: String,
    body: Option<String>,
    show: fn(&Value) -> String,
}

/// A request for the operation `O`.
fn of<O: Operation>(show: fn(&Value) -> String) -> Request {
    plain(&O::ROUTE, show)
}

fn plain(route: &Route, show: fn(&Value) -> String) -> Request {
    Request { method: route.method.name(), target: route.path.to_owned(), body: None, show }
}

impl Request {
    fn with(self, body: &impl Serialize) -> io::Result<Self> {
        let body = serde_json::to_string(body).map_err(io::Error::other)?;
        Ok(Self { body: Some(body), ..self })
    }

    fn about(self, parameter: &str, value: Option<&str>) -> Self {
        Self { target: with_parameter(&self.target, parameter, value), ..self }
    }
}

/// What a verb comes to.
enum Ask {
    Reply(Request),
    Text(&'static str),
    Stream(String),
}

/// Carries a verb out, and prints what came.
///
/// # Errors
/// See [`CtlError`]; nothing has been printed then, but for streams.
pub(crate) fn run(args: &CtlArgs, out: &mut impl Write) -> Result<(), CtlError> {
    let client = Client::new(&args.api_socket)?;
    let request = match ask(&args.verb)? {
        Ask::Stream(target) => return stream(&client, &target, out),
        Ask::Text(target) => return Ok(out.write_all(&client.request("GET", target, None)?)?),
        Ask::Reply(request) => request,
    };
    let reply = client.request(request.method, &request.target, request.body)?;
    if reply.is_empty() {
        return Ok(());
    }
    if args.json {
        out.write_all(&reply)?;
        return Ok(writeln!(out)?);
    }
    let value = serde_json::from_slice(&reply).map_err(io::Error::other)?;
    Ok(out.write_all((request.show)(&value).as_bytes())?)
}

fn ask(verb: &Verb) -> Result<Ask, CtlError> {
    Ok(Ask::Reply(match verb {
        Verb::Ping => get("vmm.ping", table::ping),
        Verb::Create { config } => of::<Create>(table::nothing).with(&read_config(config)?)?,
        Verb::Route(verb) => of_the_table(verb),
        Verb::Pause { clock } => of::<Pause>(table::nothing).about("clock", Some(PauseClock::from(*clock).name())),
        Verb::Info => of::<Info>(table::info),
        Verb::Counters => of::<Counters>(table::counters),
        Verb::Screen { attributes } => of::<Screen>(table::screen).about("attributes", attributes.then_some("true")),
        Verb::Legacy { id } => of::<Legacy>(table::legacy).about("id", id.as_deref()),
        Verb::AddDevice { device } => {
            let device = new_device(device).map_err(|error| ConfigError::Usage(format!("add-device: {error}")))?;
            of::<AddDevice>(table::device).with(&device)?
        }
        Verb::RemoveDevice { id } => of::<RemoveDevice>(table::nothing).with(&RemoveDevice { id: id.clone() })?,
        Verb::Probe { path, vf, pf } => {
            let given = [("path", path), ("vf", vf), ("pf", pf)].into_iter().find(|(_, value)| value.is_some());
            let (name, value) = given.map_or(("path", None), |(name, value)| (name, value.as_deref()));
            get("host.probe", table::probe).about(name, value)
        }
        Verb::ShutdownVmm => of::<VmmShutdown>(table::nothing),
        Verb::Metrics => return Ok(Ask::Text(Metrics::ROUTE.path)),
        Verb::Events => return Ok(Ask::Stream(format!("{PREFIX}/vmm.events"))),
        Verb::Trace { id } => {
            return Ok(Ask::Stream(with_parameter(&format!("{PREFIX}/vm.trace"), "id", id.as_deref())));
        }
    }))
}

/// What has no words of its own here.
fn of_the_table(RouteVerb { route, parameters, body }: &RouteVerb) -> Request {
    let mut request = Request { body: body.clone(), ..plain(route, table::any) };
    for (at, (name, value)) in parameters.iter().enumerate() {
        let separator = if at == 0 { '?' } else { '&' };
        request.target.push_str(&format!("{separator}{name}={}", escaped(value)));
    }
    request
}

/// A request that is no operation of the engine.
fn get(name: &str, show: fn(&Value) -> String) -> Request {
    Request { method: "GET", target: format!("{PREFIX}/{name}"), body: None, show }
}

fn read_config(path: &Path) -> Result<api::VmConfig, ConfigError> {
    if path.as_os_str() == "-" { config::read_stream(io::stdin()) } else { config::read_file(path) }
}

fn with_parameter(name: &str, parameter: &str, value: Option<&str>) -> String {
    let Some(value) = value else { return name.to_owned() };
    format!("{name}?{parameter}={}", escaped(value))
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Lines as they come. That nobody reads them any more is an end like another.
fn stream(client: &Client, target: &str, out: &mut impl Write) -> Result<(), CtlError> {
    Ok(client.stream(target, |bytes| out.write_all(bytes).and_then(|()| out.flush()).is_ok())?)
}

#[cfg(test)]
#[path = "ctl_tests.rs"]
mod tests;
