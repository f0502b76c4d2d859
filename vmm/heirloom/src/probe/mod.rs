// SPDX-License-Identifier: Apache-2.0
//! `heirloom probe` and `host.probe`: what has to hold before a guest can have a VF, each with what to do about it.
//!
//! It reads, and measures KVM with a guest of its own. A PF is opened, and thereby reset, only with
//! [`ProbeRequest::deep`]; a software PF in this process has no other user and is always opened.
//!
//! | module | what it looks at |
//! | --- | --- |
//! | `checks` | nothing: collects results |
//! | `kvm` | `/dev/kvm` and how fast it is |
//! | `host` | IOMMU, VFIO, memory |
//! | `functions`, `vf`, `nodes`, `config_space` | PFs and VFs, in sysfs |
//! | `deep` | a PF's administration commands |
//! | `soft` | software PFs, in this process or behind sockets |
#![forbid(unsafe_code)]

mod checks;
mod common;
mod config_space;
mod deep;
mod early;
mod functions;
mod host;
mod kvm;
mod nodes;
mod soft;
mod vf;

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;

use std::path::PathBuf;

use api::types::ProbeReport;
use devices::function::vfio::{Bdf, HostPaths, VfToken};

use self::checks::Checks;

/// Size of guest that is reckoned with: the default of `heirloom run`.
pub(crate) const DEFAULT_MEMORY: u64 = 512 << 20;

/// What to look at beside KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The host, as far as it matters to any device.
    Host,
    /// A VF of this host and its PF.
    Vf(Bdf),
    /// A PF of this host and all its VFs.
    Pf(Bdf),
    /// All virtio PFs of this host and their VFs.
    All,
    /// The software PF of `heirloom run`.
    SoftBuiltin,
    /// A software PF behind the sockets in this folder (`heirloom soft-pf`).
    SoftSockets(PathBuf),
}

impl Target {
    /// Whether functions of the host are meant, which need IOMMU and VFIO.
    fn is_hardware(&self) -> bool {
        matches!(self, Self::Vf(_) | Self::Pf(_) | Self::All)
    }
}

/// What to probe, and how far to go.
#[derive(Clone, Debug)]
pub(crate) struct ProbeRequest {
    /// What to look at.
    pub target: Target,
    /// Open PFs, which resets them, and ask their administration queue.
    pub deep: bool,
    /// Bytes of guest memory that VFs would have to reach.
    pub memory: u64,
    /// What PFs are opened with.
    pub token: Option<VfToken>,
    /// Where the kernel's files are.
    pub paths: HostPaths,
}

impl ProbeRequest {
    /// `target` on this host, only by looking.
    pub(crate) fn new(target: Target) -> Self {
        Self { target, deep: false, memory: DEFAULT_MEMORY, token: None, paths: HostPaths::default() }
    }
}

/// Looks at all of it. That something cannot be found out is a result as well, so this does not fail.
pub(crate) fn run(request: &ProbeRequest) -> ProbeReport {
    let mut checks = Checks::default();
    kvm::check(&mut checks);
    host::check(&mut checks, request);
    match &request.target {
        Target::Host => {}
        Target::Vf(vf) => functions::vf_and_pf(&mut checks, request, *vf),
        Target::Pf(pf) => functions::pf_and_vfs(&mut checks, request, *pf),
        Target::All => functions::all(&mut checks, request),
        Target::SoftBuiltin => soft::builtin(&mut checks),
        Target::SoftSockets(folder) => soft::sockets(&mut checks, folder, request.deep),
    }
    checks.report()
}
