// SPDX-License-Identifier: Apache-2.0
//! What the server needs of a virtual machine monitor. The server knows nothing else of it, and it
//! nothing of HTTP.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::types::{LegacyDevice, PciDeviceInfo, ProbeReport, VmCounters, VmInfo};
use crate::{Fault, NewDevice, VmConfig, VmState};

/// A virtual machine monitor with at most one virtual machine.
///
/// The server calls [`Service::state`] on its own thread and everything else on worker threads, where it
/// may take its time: what changes something one call after the other, what only looks beside that.
/// States are checked against the route table before a call. A state may change between that and the
/// call, so an implementation checks for itself as well and answers with the same codes.
pub trait Service: Send + Sync + 'static {
    /// The state of the machine. Never blocks.
    fn state(&self) -> VmState;

    /// Makes a machine of a configuration; `descriptors` came with the request, and the configuration
    /// refers to them by index.
    fn vm_create(&self, config: VmConfig, descriptors: Vec<OwnedFd>) -> Result<(), Fault>;
    /// Starts the guest.
    fn vm_boot(&self) -> Result<(), Fault>;
    /// Ends the guest as a power cut does. The configuration stays.
    fn vm_shutdown(&self) -> Result<(), Fault>;
    /// Ends the guest and starts it again.
    fn vm_reboot(&self) -> Result<(), Fault>;
    /// Presses the guest's power button.
    fn vm_power_button(&self) -> Result<(), Fault>;
    /// Stops the guest's processors.
    fn vm_pause(&self) -> Result<(), Fault>;
    /// Lets the guest's processors go on.
    fn vm_resume(&self) -> Result<(), Fault>;
    /// Removes the machine, after a shutdown if it runs. Without one there is nothing to do.
    fn vm_delete(&self) -> Result<(), Fault>;
    /// Adds a device; `None` says that the guest finds it at its next boot.
    fn vm_add_device(&self, device: NewDevice, descriptors: Vec<OwnedFd>) -> Result<Option<PciDeviceInfo>, Fault>;
    /// Takes a device away.
    fn vm_remove_device(&self, id: &str) -> Result<(), Fault>;

    /// What the machine is.
    fn vm_info(&self) -> Result<VmInfo, Fault>;
    /// What it did, in numbers.
    fn vm_counters(&self) -> Result<VmCounters, Fault>;
    /// Its legacy functions: all, or the one of this id.
    fn vm_legacy(&self, id: Option<&str>) -> Result<Vec<LegacyDevice>, Fault>;
    /// Whether the host, or a PCI function of it, can be used.
    fn host_probe(&self, what: &ProbeWhat) -> Result<ProbeReport, Fault>;
    /// Everything that is measured, in Prometheus' text format 0.0.4.
    fn metrics(&self) -> Result<String, Fault>;
    /// What happens from now on.
    fn events(&self) -> Result<Box<dyn Lines>, Fault>;
    /// The guest's accesses to legacy registers from now on: of all functions, or of the one of this id.
    fn trace(&self, id: Option<&str>) -> Result<Box<dyn Lines>, Fault>;

    /// Removes the machine and ends the monitor. The reply still goes out.
    fn vmm_shutdown(&self) -> Result<(), Fault>;
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
