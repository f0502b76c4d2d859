// SPDX-License-Identifier: Apache-2.0
//! What can be asked of a monitor: one type for each request, which names its reply. Everything else comes from these
//! definitions: the table of routes, the documents, what a [`crate::Service`] has to serve, and the words of
//! `heirloom ctl` for operations that take nothing and answer nothing.
//!
//! | module | operations |
//! | --- | --- |
//! | `machine` | on the life of the virtual machine, and of the monitor |
//! | `devices` | on its devices |
//! | `views` | that look at it |
//! | `beside` | that the engine has no part in: ping, streams, probe, the document |
//! | `examples`, `descriptors` | what the definitions share |
//!
//! A new operation is a type in one of these files and its name in the list of [`crate::service`]; the compiler then
//! asks for what the engine does (`vmm/src/lifecycle/engine/requests.rs`).

pub(crate) mod beside;
mod descriptors;
mod devices;
mod examples;
mod machine;
mod views;

use serde::Serialize;

use crate::routes::{Call, Example, Reply, Route};
use crate::{Code, Fault, decode};

pub use self::devices::*;
#[cfg(test)]
pub(crate) use self::examples::CONFIGS as CONFIG_EXAMPLES;
pub use self::machine::*;
pub use self::views::*;

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
    /// When it has no form as JSON: a bug in Heirloom.
    fn into_reply(self) -> Result<Reply, Fault>;
}

impl IntoReply for () {
    fn into_reply(self) -> Result<Reply, Fault> {
        Ok(Reply::Empty)
    }
}

pub(crate) fn json(value: &impl Serialize) -> Result<Reply, Fault> {
    serde_json::to_vec(value).map(Reply::Json).map_err(|error| Fault::from_error(Code::Internal, &error))
}

/// Defines operations that take nothing: `NAME -> REPLY = ROUTE;`.
macro_rules! takes_nothing {
    ($($(#[$meta:meta])* $name:ident -> $reply:ty = $route:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl $crate::operations::Operation for $name {
            type Reply = $reply;
            const ROUTE: $crate::routes::Route = $route;

            fn decode(call: $crate::routes::Call) -> Result<Self, $crate::Fault> {
                $crate::decode::query(&call.query, &[]).map(|_| Self)
            }
        }
    )*};
}

use takes_nothing;

/// The value of the one parameter of a route; empty counts as absent.
pub(crate) fn parameter(call: &Call, name: &'static str) -> Result<Option<String>, Fault> {
    let found = decode::query(&call.query, &[name])?;
    Ok(found.into_iter().map(|(_, value)| value).find(|value| !value.is_empty()))
}

/// An example without a title.
const fn plain(json: &'static str) -> Example {
    ("", json)
}
