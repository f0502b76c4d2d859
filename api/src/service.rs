// SPDX-License-Identifier: Apache-2.0
//! What the server needs of a virtual machine monitor. The server knows nothing else of it, and it
//! nothing of HTTP.

use std::time::Duration;

use crate::operations::Operations;
use crate::types::ProbeReport;
use crate::{Fault, VmState};

/// A virtual machine monitor with at most one virtual machine: it serves all [`crate::operations`], and what is here.
///
/// The server calls [`Service::state`] on its own thread and everything else on worker threads, where it
/// may take its time: what changes something one call after the other, what only looks beside that.
/// States are checked against the route table before a call. A state may change between that and the
/// call, so an implementation checks for itself as well and answers with the same codes.
pub trait Service: Operations + Send + Sync + 'static {
    /// The state of the machine. Never blocks.
    fn state(&self) -> VmState;

    /// Whether the host, or a PCI function of it, can be used.
    fn host_probe(&self, what: &ProbeWhat) -> Result<ProbeReport, Fault>;
    /// What happens from now on.
    fn events(&self) -> Result<Box<dyn Lines>, Fault>;
    /// The guest's accesses to legacy registers from now on: of all functions, or of the one of this id.
    fn trace(&self, id: Option<&str>) -> Result<Box<dyn Lines>, Fault>;
}

/// What is to be probed beside the host itself. Addresses are as the client wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProbeWhat {
    /// Nothing.
    #[default]
    Host,
    /// The function of this address or path, a VF or not.
    Path(String),
    /// The VF of this address.
    Vf(String),
    /// The PF of this address.
    Pf(String),
}

/// Lines that come one after the other, for a reply without an end.
pub trait Lines: Send {
    /// Waits for the next line, `limit` at most. A reader that is too slow for the source misses lines
    /// and is told so by a line; it never makes the source wait.
    fn next(&mut self, limit: Duration) -> Line;
}

/// What [`Lines::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// One JSON object, without the newline.
    Text(String),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    End,
}
