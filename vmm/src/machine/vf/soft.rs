// SPDX-License-Identifier: Apache-2.0
//! VFs of the software PF, and that PF itself.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use devices::function::tap;
use devices::soft_pf::{NetBackend, SoftPf, VfSpec};

use super::super::SetupError;
use super::pf::Pf;
use super::{Attachment, Context, Failure, Opened, Vf, Wanted};
use crate::config::{NetSource, SoftPlan};

/// Starts the software PF with these VFs, if there are any.
pub(super) fn open(wanted: &[Wanted<'_, SoftPlan>], context: Context<'_>) -> Result<Vec<Opened>, SetupError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let spec = |wanted: &Wanted<'_, SoftPlan>| spec(wanted.id, wanted.plan).map_err(|error| wanted.failed(error));
    let specs = wanted.iter().map(spec).collect::<Result<_, _>>()?;
    let soft = SoftPf::new("soft", specs).map_err(|error| SetupError::SoftPf(error.into()))?;
    let members: Vec<_> = soft.members().collect();
    let pf = Arc::new(Pf::soft(soft, context.cancelled)?);
    let opened = wanted.iter().zip(members).map(|(wanted, (member, function))| {
        let attachment = Attachment::member(&pf, member, function.as_ref(), context.cancelled)?;
        Ok(Opened { position: wanted.position, vf: Vf { function, attachment } })
    });
    opened.collect()
}

/// Opens what the VF of the device `id` needs that was not opened by the configuration's check.
fn spec(id: &str, soft: &SoftPlan) -> Result<VfSpec, Failure> {
    Ok(match soft {
        SoftPlan::Blk(disk) => VfSpec::Blk {
            // Not asked again: the main loop is here when a guest starts over.
            size: Some(disk.size),
            // Shares the lock, which is the open file's; a reboot comes here again.
            file: disk.file.try_clone()?,
            read_only: disk.readonly,
            id: id.to_owned(),
        },
        SoftPlan::Net { backend, mac } => VfSpec::Net {
            backend: match backend {
                NetSource::Loopback => NetBackend::Loopback,
                NetSource::Descriptor { descriptor, vnet_hdr } => {
                    NetBackend::Tap(tap::Tap { file: duplicate(descriptor)?, vnet_hdr: *vnet_hdr })
                }
                NetSource::Tap(name) => NetBackend::Tap(tap::open(name, true)?),
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
