// SPDX-License-Identifier: Apache-2.0
//! Functions that are not made here: opened by VFIO or over vfio-user, and given the guest's memory.
//! It decides nothing about what becomes of them.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use api::VfioMode;
use devices::function::detachable::Detachable;
use devices::function::vfio::{Bdf, DmaSpace, Mode, OpenOptions, VfToken, VfioFunction};
use devices::function::vfio_user::{DEADLINE, VfioUserFunction};
use devices::function::{FunctionError, PciFunction};
use thiserror::Error;

use crate::kvm::{GuestRam, VfioFiles, Vm};

/// Why a function of the host cannot be used as the configuration says.
#[derive(Debug, Error)]
pub enum HardwareError {
    /// A whole function, or a PF.
    #[error(
        "{bdf} is not a virtual function (sysfs names no physfn): make VFs with 'echo N > /sys/bus/pci/devices/PF/sriov_numvfs' and name one of them, or give the whole function to the guest with --device vfio={bdf}"
    )]
    NotAVf {
        /// The function.
        bdf: Bdf,
    },
    /// Another PF than was said.
    #[error("{vf} is a virtual function of {is}, not of {said}: leave pf= out")]
    OtherPf {
        /// The VF.
        vf: Bdf,
        /// What was said.
        said: Bdf,
        /// What sysfs says.
        is: Bdf,
    },
    /// Two tokens for one PF.
    #[error("the VFs of {pf} are given different tokens: a PF has one token=, the same for all its VFs")]
    TwoTokens {
        /// The PF.
        pf: String,
    },
    /// The PF has fewer VFs than it had.
    #[error("{pf} has {active} VFs enabled, but VF {member} is wanted: write the number of VFs to its sriov_numvfs")]
    VfDisabled {
        /// The PF.
        pf: String,
        /// Its number of VFs.
        active: u16,
        /// The VF's number.
        member: u16,
    },
    /// The PF has an admin queue and does not run legacy commands.
    #[error(
        "{pf} has an admin virtqueue, and does not offer the legacy register access commands (virtio 1.3, opcodes 2 to 5) for its VFs: enable them in the device's firmware, or give the VF to a guest with a modern driver by --device vfio="
    )]
    NoLegacyCommands {
        /// The PF.
        pf: String,
    },
    /// No random bytes.
    #[error("cannot make a VF token; give one with token=UUID")]
    Token(#[source] io::Error),
}

/// Opens functions for one machine.
pub(super) struct Hardware<'a> {
    vm: &'a Vm,
    ram: &'a GuestRam,
    /// The guest's memory as devices see it; made for whoever needs it before all others.
    space: OnceLock<Arc<DmaSpace>>,
}

type Failure = Box<dyn Error + Send + Sync>;

impl<'a> Hardware<'a> {
    pub(super) fn new(vm: &'a Vm, ram: &'a GuestRam) -> Self {
        Self { vm, ram, space: OnceLock::new() }
    }

    /// Opens a function of the host that is to reach the guest's memory.
    pub(super) fn open(&self, bdf: Bdf, mode: VfioMode, token: Option<VfToken>) -> Result<Arc<VfioFunction>, Failure> {
        let space = self.space.get_or_init(|| space(self.vm));
        Ok(Arc::new(VfioFunction::open(space, &options(bdf, mode, token))?))
    }

    /// Connects to a function that another process serves.
    pub(super) fn connect(&self, socket: &Path) -> Result<Arc<dyn PciFunction>, FunctionError> {
        Ok(Arc::new(VfioUserFunction::connect(socket, DEADLINE)?))
    }

    /// Lets a function reach all of the guest's memory: addresses are the guest's own.
    pub(super) fn give_memory(&self, function: &dyn PciFunction) -> Result<(), FunctionError> {
        self.ram.regions().iter().try_for_each(|region| function.dma_map(region))
    }
}

/// Opens a PF, in a DMA space of its own: it reaches no memory of the guest.
pub(super) fn open_pf(bdf: Bdf, mode: VfioMode, token: VfToken) -> Result<Arc<dyn PciFunction>, Failure> {
    let space = DmaSpace::with_progress(None, |_| {});
    Ok(Arc::new(VfioFunction::open(&space, &options(bdf, mode, Some(token)))?))
}

/// A handle by which the function can be let go of.
pub(super) fn handle(function: Arc<dyn PciFunction>) -> Result<Arc<Detachable>, Failure> {
    Detachable::new(function).map_err(|error| format!("no eventfd: {error}").into())
}

fn space(vm: &Vm) -> Arc<DmaSpace> {
    let kvm = match VfioFiles::new(vm) {
        Ok(files) => Some(Arc::new(files) as _),
        Err(error) => {
            tracing::warn!(%error, "cannot tell KVM of passed-through devices");
            None
        }
    };
    DmaSpace::with_progress(kvm, |progress| {
        let (done, total) = (progress.done >> 20, progress.total >> 20);
        tracing::info!(target: "heirloom::progress", "guest memory: {done} of {total} MiB are mapped for DMA");
    })
}

fn options(bdf: Bdf, mode: VfioMode, token: Option<VfToken>) -> OpenOptions {
    let mode = match mode {
        VfioMode::Auto => Mode::Auto,
        VfioMode::Group => Mode::Group,
        VfioMode::Cdev => Mode::Cdev,
    };
    OpenOptions { mode, token, ..OpenOptions::new(bdf) }
}
