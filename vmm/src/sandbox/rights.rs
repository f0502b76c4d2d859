// SPDX-License-Identifier: Apache-2.0
//! Rights that the process gives up: capabilities, core dumps, being looked into, and getting new rights by a program
//! that it starts.

use std::io;

use devices::contract::threads::ThreadKind;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// What the thread that builds machines keeps of the capabilities that it has: taps (NET_ADMIN), memory that a host
/// function reaches (IPC_LOCK), VFIO without an IOMMU (SYS_RAWIO), and files of others, which are bound by Landlock where
/// that is in force (DAC_OVERRIDE).
pub(super) const BUILDER: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::DAC_OVERRIDE);

/// What a kind of thread keeps.
pub(super) fn kept(kind: ThreadKind) -> CapabilitySet {
    match kind {
        // A file in a folder of somebody else moves aside.
        ThreadKind::Writer => CapabilitySet::DAC_OVERRIDE,
        // /dev/kvm may be closed to this user; and the socket's folder may be somebody else's.
        ThreadKind::Api => CapabilitySet::DAC_OVERRIDE,
        // Memory of a PF's queue is pinned again.
        ThreadKind::PfWatch => CapabilitySet::IPC_LOCK,
        _ => CapabilitySet::empty(),
    }
}

/// Gives up what the process never needs.
///
/// # Errors
/// When the kernel does not do it.
pub(super) fn give_up() -> io::Result<()> {
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    keep(BUILDER)
}

/// Keeps no capability of this thread but these.
///
/// # Errors
/// When the kernel does not do it.
pub(super) fn keep(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & kept,
        permitted: now.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}
