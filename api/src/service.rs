// SPDX-License-Identifier: Apache-2.0
//! What the server needs of a virtual machine monitor, and the table of all routes with what answers each. The server
//! knows nothing else of the monitor, and the monitor nothing of HTTP. Dispatch, 404, 405 and 409, the OpenAPI document
//! and docs/api.md all come from the table.

use crate::operations::{beside, *};
use crate::routes::{Call, PREFIX, Reply, Route};
use crate::types::{ProbeReport, VmmPing};
use crate::{Code, Fault, VmState, decode};

pub use crate::lines::{Line, Lines};
pub use crate::probe::ProbeWhat;

/// A virtual machine monitor with at most one virtual machine: it serves all [operations](crate::operations), and what is here.
///
/// The server calls [`Service::state`] on its own thread and everything else on worker threads, where it
/// may take its time: what changes something one call after the other, what only looks beside that.
/// States are checked against the route table before a call. A state may change between that and the
/// call, so an implementation checks for itself as well and answers with the same codes.
pub trait Service: Operations + Send + Sync + 'static {
    /// The state of the machine. Never blocks.
    fn state(&self) -> VmState;

    /// Called on the thread that serves all clients before it reads anything of theirs: the place to give rights up. What
    /// it starts inherits that.
    ///
    /// # Errors
    /// When it must not go on.
    fn confine_thread(&self) -> std::io::Result<()> {
        Ok(())
    }

    /// Whether the host, or a PCI function of it, can be used.
    fn host_probe(&self, what: &ProbeWhat) -> Result<ProbeReport, Fault>;
    /// What happens from now on.
    fn events(&self) -> Result<Box<dyn Lines>, Fault>;
    /// The guest's accesses to legacy registers from now on: of all functions, or of the one of this id.
    fn trace(&self, id: Option<&str>) -> Result<Box<dyn Lines>, Fault>;
}

/// How a route is carried out.
pub type Handler = fn(&(dyn Service + 'static), Call) -> Result<Reply, Fault>;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// How it comes over the socket.
    pub route: Route,
    /// How it is carried out.
    pub handler: Handler,
}

/// The list of all routes, in the order of documents: operations, and routes that are answered by a function here.
macro_rules! table {
    ($({$($beside:ident => $handler:ident),*} $($operation:ident)*)*) => {
        /// Serves all operations of the list.
        pub trait Operations: $($(Serve<$operation> +)*)* {}
        impl<T: $($(Serve<$operation> +)*)*> Operations for T {}

        /// All routes.
        pub static TABLE: &[Entry] = &[$(
            $(Entry { route: beside::$beside, handler: $handler },)*
            $(Entry { route: $operation::ROUTE, handler: carry_out::<$operation> },)*
        )*];
    };
}

table! {
    {PING => ping} VmmShutdown Create Boot Shutdown Reboot PowerButton Pause Resume Delete
    Info Counters Legacy Screen AddDevice RemoveDevice
    {TRACE => trace, EVENTS => events, PROBE => probe, DOCUMENT => document} Metrics
}

/// All routes, in the order of documents.
pub fn routes() -> impl Iterator<Item = &'static Route> + Clone {
    TABLE.iter().map(|entry| &entry.route)
}

/// The entry of a request.
///
/// # Errors
/// 404; or 405 together with what `Allow` says.
pub fn find(method: &str, path: &str) -> Result<&'static Entry, (Fault, Option<String>)> {
    let here: Vec<_> = TABLE.iter().filter(|entry| entry.route.path == path).collect();
    if here.is_empty() {
        let shown: String = path.chars().take(100).collect();
        let fault =
            Fault::new(Code::NotFound, format!("{shown} does not exist; {PREFIX}/openapi.json lists all paths"));
        return Err((fault, None));
    }
    if let Some(entry) = here.iter().find(|entry| entry.route.method.name() == method) {
        return Ok(entry);
    }
    let allow = here.iter().map(|entry| entry.route.method.name()).collect::<Vec<_>>().join(", ");
    let fault = Fault::new(Code::MethodNotAllowed, format!("{path} takes {allow}, not {method}"));
    Err((fault, Some(allow)))
}

/// From a call to a reply.
fn carry_out<O: Operation>(service: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault>
where
    dyn Service: Serve<O>,
{
    service.serve(O::decode(call)?)?.into_reply()
}

fn ping(_: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    decode::query(&call.query, &[])?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let pid = std::process::id().into();
    json(&VmmPing { build_version: format!("v{version}"), version, pid, features: vec!["kvm".to_owned()] })
}

fn trace(service: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    service.trace(parameter(&call, "id")?.as_deref()).map(Reply::Lines)
}

fn events(service: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    decode::query(&call.query, &[]).and_then(|_| service.events()).map(Reply::Lines)
}

fn document(_: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    decode::query(&call.query, &[]).map(|_| Reply::Document)
}

fn probe(service: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    let mut found =
        decode::query(&call.query, &["path", "vf", "pf"])?.into_iter().filter(|(_, value)| !value.is_empty());
    let what = match found.next() {
        None => ProbeWhat::Host,
        Some(("vf", address)) => ProbeWhat::Vf(address),
        Some(("pf", address)) => ProbeWhat::Pf(address),
        Some((_, path)) => ProbeWhat::Path(path),
    };
    if let Some((name, _)) = found.next() {
        return Err(Fault::new(Code::InvalidField, "give only one of path, vf and pf").at(name));
    }
    json(&service.host_probe(&what)?)
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
