// SPDX-License-Identifier: Apache-2.0
//! VFs of the host, with their PFs, or with the kernel's driver that has the PF.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU16;
use std::sync::Arc;

use api::{AdminMode, VfioMode};
use devices::function::vfio::sysfs::Sysfs;
use devices::function::vfio::{Bdf, VfToken, VfioBar0Registers};

use super::super::SetupError;
use super::super::hardware::HardwareError;
use super::kernel_registers::KernelRegisters;
use super::pf::Pf;
use super::{Attachment, Context, Failure, Member, Opened, Vf, Wanted};
use crate::config::HostVfPlan;

/// The driver that offers a VF's legacy registers itself.
const KERNEL_DRIVER: &str = "virtio_vfio_pci";

type HostVf<'a> = Wanted<'a, HostVfPlan>;
type HostMember<'a> = Member<'a, HostVfPlan>;

/// Who runs the admin commands for a VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// This process, through the PF, where the VF has that number.
    Pf(Bdf, NonZeroU16),
    /// The kernel.
    Kernel,
}

/// Finds the PFs, starts them and opens the VFs.
pub(super) fn open(wanted: &[HostVf<'_>], sysfs: &Sysfs, context: Context<'_>) -> Result<Vec<Opened>, SetupError> {
    let mut pfs = BTreeMap::<Bdf, Vec<HostMember<'_>>>::new();
    let mut of_kernel = Vec::new();
    for wanted in wanted {
        match route(sysfs, wanted.plan).map_err(|error| wanted.failed(error))? {
            Route::Pf(pf, number) => pfs.entry(pf).or_default().push(Member { wanted, number }),
            Route::Kernel => of_kernel.push(wanted),
        }
    }
    let mut opened = Vec::new();
    for (bdf, members) in pfs {
        let failed = |error: HardwareError| SetupError::HostPf { pf: bdf.to_string(), source: error.into() };
        let plans = || members.iter().map(|member| member.wanted.plan);
        let token = token(bdf, plans().map(|plan| plan.token)).map_err(failed)?;
        let mode = plans().map(|plan| plan.mode).find(|mode| *mode != VfioMode::Auto).unwrap_or_default();
        let pf = Arc::new(Pf::host(bdf, mode, token, context.cancelled)?);
        for member in members {
            opened
                .push(member.open(&pf, context, |plan| Ok(context.hardware.open(plan.bdf, plan.mode, Some(token))?))?);
        }
    }
    for wanted in of_kernel {
        let vf = kernel_vf(wanted.plan, context).map_err(|error| wanted.failed(error))?;
        opened.push(Opened { position: wanted.position, vf });
    }
    Ok(opened)
}

fn kernel_vf(plan: &HostVfPlan, context: Context<'_>) -> Result<Vf, Failure> {
    let function = context.hardware.open(plan.bdf, plan.mode, None)?;
    let registers = VfioBar0Registers::new(&function, Vec::new())?;
    Ok(Vf { function, attachment: Attachment::Kernel(KernelRegisters::new(registers)) })
}

fn route(sysfs: &Sysfs, plan: &HostVfPlan) -> Result<Route, Failure> {
    let bdf = plan.bdf;
    let vf = sysfs.function(bdf)?;
    let by_kernel = || Ok::<_, Failure>(vf.driver()?.as_deref() == Some(KERNEL_DRIVER));
    if plan.admin == AdminMode::Kernel || plan.admin == AdminMode::Auto && by_kernel()? {
        return Ok(Route::Kernel);
    }
    let (pf, member) = vf.member_id()?.ok_or(HardwareError::NotAVf { bdf })?;
    match plan.pf.filter(|said| *said != pf) {
        Some(said) => Err(HardwareError::OtherPf { vf: bdf, said, is: pf }.into()),
        None => Ok(Route::Pf(pf, member)),
    }
}

/// The token for a PF: the one that is given with its VFs, or a new one.
fn token(pf: Bdf, given: impl Iterator<Item = Option<VfToken>>) -> Result<VfToken, HardwareError> {
    let mut given: Vec<_> = given.flatten().collect();
    given.dedup();
    match given.as_slice() {
        [token] => Ok(*token),
        [] => {
            let mut bytes = [0; 16];
            File::open("/dev/urandom")
                .and_then(|mut file| file.read_exact(&mut bytes))
                .map_err(HardwareError::Token)?;
            Ok(VfToken::from_bytes(bytes))
        }
        _ => Err(HardwareError::TwoTokens { pf: pf.to_string() }),
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
