// SPDX-License-Identifier: Apache-2.0
//! What can be asked of a monitor: one type for each request, which names its reply. Everything else comes from these
//! definitions: the table of routes, the documents, what a [`Service`] has to serve, and the words of `heirloom ctl`
//! for operations that take nothing and answer nothing.
//!
//! | module | operations |
//! | --- | --- |
//! | `machine` | on the life of the virtual machine, and of the monitor |
//! | `devices` | on its devices |
//! | `views` | that look at it |
//! | `beside` | that the engine has no part in: ping, streams, probe, the document |
//! | `examples`, `descriptors` | what the definitions share |
//!
//! A new operation is a type in one of these files and its name in the list below; the compiler then asks for what the
//! engine does (`vmm/src/lifecycle/engine/requests.rs`).

mod beside;
mod descriptors;
mod devices;
pub(crate) mod examples;
mod machine;
mod views;

use serde::Serialize;

pub use self::devices::{AddDevice, AddedDevice, RemoveDevice};
pub use self::machine::{Boot, Create, Delete, Pause, PowerButton, Reboot, Resume, Shutdown, VmmShutdown};
pub use self::views::{Counters, Info, Legacy, Metrics, PrometheusText};
use crate::routes::{Body, Call, Content, Example, Input, Lane, Method, Parameter, Reply, Route, Success};
use crate::service::Service;
use crate::state::StateSet;
use crate::{Code, Fault, decode};

/// Media type of [`Metrics`].
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// A request.
pub trait Operation: Sized + Send + 'static {
    /// What is answered.
    type Reply: IntoReply + Send + 'static;

    /// How it comes over the socket, and what documents say of it.
    const ROUTE: Route;

    /// The request of a call.
    ///
    /// # Errors
    /// What is wrong with body, parameters or descriptors.
    fn decode(call: Call) -> Result<Self, Fault>;
}

/// Who carries out an operation.
pub trait Serve<O: Operation> {
    /// Carries it out. May take its time.
    ///
    /// # Errors
    /// What went wrong.
    fn serve(&self, operation: O) -> Result<O::Reply, Fault>;
}

/// A reply that goes over the socket.
pub trait IntoReply {
    /// The reply as bytes.
    ///
    /// # Errors
    /// When it has no form as JSON: a mistake in Heirloom.
    fn into_reply(self) -> Result<Reply, Fault>;
}

impl IntoReply for () {
    fn into_reply(self) -> Result<Reply, Fault> {
        Ok(Reply::Empty)
    }
}

/// The list of operations: `ROUTES` in this order, and what a service has to serve.
macro_rules! operations {
    ($($first:path),*; $($operation:ident),*; $($beside:path),*; $($last:ident),* $(;)?) => {
        /// Serves all operations of the list.
        pub trait Operations: $(Serve<$operation> +)* $(Serve<$last> +)* {}
        impl<T: $(Serve<$operation> +)* $(Serve<$last> +)*> Operations for T {}

        /// All routes.
        pub static ROUTES: &[Route] = &[$($first,)* $($operation::ROUTE,)* $($beside,)* $($last::ROUTE,)*];
    };
}

operations! {
    beside::PING;
    VmmShutdown, Create, Boot, Shutdown, Reboot, PowerButton, Pause, Resume, Delete, Info, Counters, Legacy, AddDevice,
    RemoveDevice;
    beside::TRACE, beside::EVENTS, beside::PROBE, beside::DOCUMENT;
    Metrics;
}

/// From a call to a reply.
fn carry_out<O: Operation>(service: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault>
where
    dyn Service: Serve<O>,
{
    service.serve(O::decode(call)?)?.into_reply()
}

fn json(value: &impl Serialize) -> Result<Reply, Fault> {
    serde_json::to_vec(value).map(Reply::Json).map_err(|error| Fault::from_error(Code::Internal, &error))
}

/// Decodes an operation that takes nothing.
fn nothing<O>(call: &Call, operation: O) -> Result<O, Fault> {
    decode::query(&call.query, &[]).map(|_| operation)
}

/// The value of the one parameter of a route; empty counts as absent.
fn parameter(call: &Call, name: &'static str) -> Result<Option<String>, Fault> {
    let found = decode::query(&call.query, &[name])?;
    Ok(found.into_iter().map(|(_, value)| value).find(|value| !value.is_empty()))
}

const NOTHING: Input = Input { body: None, parameters: &[], descriptors: false };
const DONE: &[Success] = &[Success { status: 204, text: "Done.", content: Content::Empty }];

/// The route of an operation that changes something, takes nothing and answers nothing. What differs is set by the
/// definition.
const fn change<O: Operation>(path: &'static str, operation: &'static str, summary: &'static str) -> Route
where
    dyn Service: Serve<O>,
{
    Route {
        method: Method::Put,
        path,
        operation,
        summary,
        text: "",
        states: StateSet::ANY,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: carry_out::<O>,
    }
}

/// The route of an operation that looks. What it answers is set by the definition.
const fn look<O: Operation>(path: &'static str, operation: &'static str, summary: &'static str) -> Route
where
    dyn Service: Serve<O>,
{
    Route { method: Method::Get, lane: Lane::Look, ..change::<O>(path, operation, summary) }
}

const fn body(body: Body) -> Input {
    Input { body: Some(body), ..NOTHING }
}

const fn parameters(list: &'static [Parameter]) -> Input {
    Input { parameters: list, ..NOTHING }
}

const fn ok(text: &'static str, content: Content) -> Success {
    Success { status: 200, text, content }
}

/// An example without a title.
const fn plain(json: &'static str) -> Example {
    ("", json)
}
