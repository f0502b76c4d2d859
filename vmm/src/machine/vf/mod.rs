// SPDX-License-Identifier: Apache-2.0
//! The VFs behind the legacy virtio functions: opened, and attached to what reaches their legacy registers. One file
//! for each origin of a VF. What the guest sees of them is not known here.
//!
//! The order is the one of hardware: a PF's driver starts, VFs are enabled, the command list is negotiated, and only
//! then are the PF's VFs opened.

mod attachment;
mod host;
mod kernel_registers;
mod pf;
mod served;
mod soft;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use devices::function::PciFunction;
use devices::function::vfio::sysfs::Sysfs;

use super::SetupError;
use super::hardware::Hardware;
use crate::config::{DevicePlan, VfPlan};
pub(super) use attachment::Attachment;
pub(super) use pf::Pf;
pub use pf::PfSection;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A VF that is open, and that does not reach the guest's memory yet.
pub(super) struct Vf {
    pub(super) function: Arc<dyn PciFunction>,
    pub(super) attachment: Attachment,
}

/// A device of the configuration that wants a VF of one origin, which `plan` is about.
struct Wanted<'a, P> {
    /// Among all devices.
    position: usize,
    id: &'a str,
    plan: &'a P,
}

/// A device that wants the VF with this number of a PF.
struct Member<'a, P> {
    wanted: &'a Wanted<'a, P>,
    number: NonZeroU16,
}

/// A VF with its device's position among all devices.
struct Opened {
    position: usize,
    vf: Vf,
}

/// What VFs are opened with.
#[derive(Clone, Copy)]
struct Context<'a> {
    hardware: &'a Hardware<'a>,
    cancelled: &'a AtomicBool,
}

/// Opens the VFs of all devices, in the devices' order.
///
/// # Errors
/// The first VF or PF that cannot be had; all others are released again.
pub(super) fn open(
    devices: &[DevicePlan],
    hardware: &Hardware<'_>,
    cancelled: &AtomicBool,
) -> Result<Vec<Vf>, SetupError> {
    let (mut soft, mut host, mut served) = (Vec::new(), Vec::new(), Vec::new());
    for (position, device) in devices.iter().enumerate() {
        let id = device.id.as_str();
        match &device.vf {
            VfPlan::Soft(plan) => soft.push(Wanted { position, id, plan }),
            VfPlan::Host(plan) => host.push(Wanted { position, id, plan }),
            VfPlan::Served(plan) => served.push(Wanted { position, id, plan }),
        }
    }
    let context = Context { hardware, cancelled };
    let mut opened = host::open(&host, &Sysfs::new(), context)?;
    opened.extend(served::open(&served, context)?);
    opened.extend(soft::open(&soft, context)?);
    opened.sort_by_key(|opened| opened.position);
    Ok(opened.into_iter().map(|opened| opened.vf).collect())
}

/// The PFs of these VFs, each once, in the VFs' order.
pub(super) fn pfs(vfs: &[Vf]) -> Vec<Arc<Pf>> {
    let mut pfs: Vec<Arc<Pf>> = Vec::new();
    for pf in vfs.iter().filter_map(|vf| vf.attachment.pf()) {
        if !pfs.iter().any(|known| Arc::ptr_eq(known, pf)) {
            pfs.push(Arc::clone(pf));
        }
    }
    pfs
}

impl<P> Wanted<'_, P> {
    fn failed(&self, source: Failure) -> SetupError {
        SetupError::Device { id: self.id.to_owned(), source }
    }
}

impl<P> Member<'_, P> {
    /// Makes a VF of the function that `open` opens, if the PF has the VF now.
    fn open<F>(&self, pf: &Arc<Pf>, context: Context<'_>, open: F) -> Result<Opened, SetupError>
    where
        F: FnOnce(&P) -> Result<Arc<dyn PciFunction>, Failure>,
    {
        pf.check_member(self.number).map_err(|error| self.wanted.failed(error.into()))?;
        let function = open(self.wanted.plan).map_err(|error| self.wanted.failed(error))?;
        let attachment = Attachment::member(pf, self.number, function.as_ref(), context.cancelled)?;
        Ok(Opened { position: self.wanted.position, vf: Vf { function, attachment } })
    }
}
