// SPDX-License-Identifier: Apache-2.0
//! Which VF belongs to which PF, and starting a PF for all its VFs.

use std::fs::File;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;

use api::VfioMode;
use devices::function::tap;
use devices::function::vfio::sysfs::Sysfs;
use devices::soft_pf::{self, VfSpec};

use super::SetupError;
use super::hardware::{self, Hardware, Route};
use super::pf_group::{PfGroup, PfKey};
use crate::config::{DevicePlan, HostVfPlan, NetSource, SoftPlan, VfPlan};

/// The PF of one VF, and the VF's number there; `None` if the kernel runs the admin commands.
pub(super) struct Member {
    pub(super) pf: Option<(PfKey, NonZeroU16)>,
}

/// Finds the PF of each device.
pub(super) fn members(devices: &[DevicePlan], sysfs: &Sysfs) -> Result<Vec<Member>, SetupError> {
    let mut soft = NonZeroU16::MIN;
    let mut member = |device: &DevicePlan| {
        let pf = match &device.vf {
            VfPlan::Soft(_) => {
                let member = soft;
                soft = soft.saturating_add(1);
                Some((PfKey::Soft, member))
            }
            VfPlan::Host(vf) => match hardware::route(sysfs, vf.bdf, vf.pf, vf.admin)
                .map_err(|source| SetupError::Device { id: device.id.clone(), source })?
            {
                Route::Pf(pf, member) => Some((PfKey::Host(pf), member)),
                Route::Kernel => None,
            },
            VfPlan::Served(vf) => Some((PfKey::Served(vf.pf_socket.clone()), vf.member)),
        };
        Ok(Member { pf })
    };
    devices.iter().map(&mut member).collect()
}

/// Starts the PF `key` for all devices that are its VFs.
pub(super) fn start_pf(
    key: &PfKey,
    devices: &[DevicePlan],
    members: &[Member],
    hardware: &Hardware<'_>,
    cancelled: &AtomicBool,
) -> Result<PfGroup, SetupError> {
    let of_pf = || {
        let pairs = devices.iter().zip(members);
        pairs.filter_map(|(device, member)| Some((device, member.pf.as_ref().filter(|(pf, _)| pf == key)?.1)))
    };
    match key {
        PfKey::Soft => {
            let specs = of_pf().filter_map(|(device, _)| spec(device)).collect::<Result<Vec<_>, _>>()?;
            PfGroup::soft(specs, cancelled)
        }
        PfKey::Host(pf) => {
            let plans = || of_pf().filter_map(|(device, _)| host(device));
            let token = hardware::token(*pf, plans().map(|vf| vf.token))
                .map_err(|error| SetupError::HostPf { pf: pf.to_string(), source: error.into() })?;
            let mode = plans().map(|vf| vf.mode).find(|mode| *mode != VfioMode::Auto).unwrap_or_default();
            PfGroup::host(*pf, mode, token, cancelled)
        }
        PfKey::Served(socket) => {
            let vfs = of_pf().map(|(_, member)| member.get()).max().unwrap_or(0);
            PfGroup::served(socket.clone(), vfs, hardware, cancelled)
        }
    }
}

fn host(device: &DevicePlan) -> Option<&HostVfPlan> {
    match &device.vf {
        VfPlan::Host(vf) => Some(vf),
        VfPlan::Soft(_) | VfPlan::Served(_) => None,
    }
}

/// Opens what a software VF needs that was not opened by the configuration's check; `None` for others.
fn spec(device: &DevicePlan) -> Option<Result<VfSpec, SetupError>> {
    let VfPlan::Soft(soft) = &device.vf else { return None };
    Some(soft_spec(&device.id, soft).map_err(|source| SetupError::Device { id: device.id.clone(), source }))
}

fn soft_spec(id: &str, soft: &SoftPlan) -> Result<VfSpec, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match soft {
        SoftPlan::Blk(disk) => VfSpec::Blk {
            // Shares the lock, which is the open file's; a reboot comes here again.
            file: disk.file.try_clone()?,
            read_only: disk.readonly,
            id: id.to_owned(),
        },
        SoftPlan::Net { backend, mac } => VfSpec::Net {
            backend: match backend {
                NetSource::Loopback => soft_pf::NetBackend::Loopback,
                NetSource::Descriptor { descriptor, vnet_hdr } => {
                    soft_pf::NetBackend::Tap(tap::Tap { file: duplicate(descriptor)?, vnet_hdr: *vnet_hdr })
                }
                NetSource::Tap(name) => soft_pf::NetBackend::Tap(tap::open(name, true)?),
            },
            mac: mac.0,
        },
    })
}

/// A descriptor of its own for a machine. Reads must not wait: what its giver set is overruled.
fn duplicate(descriptor: &OwnedFd) -> io::Result<File> {
    let flags = rustix::fs::fcntl_getfl(descriptor)?;
    rustix::fs::fcntl_setfl(descriptor, flags | rustix::fs::OFlags::NONBLOCK)?;
    descriptor.try_clone().map(File::from)
}
