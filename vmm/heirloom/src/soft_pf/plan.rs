// SPDX-License-Identifier: Apache-2.0
//! From the words of `heirloom soft-pf` to a software PF. Files and taps are opened here; no socket is made.

use std::collections::BTreeSet;

use api::{MacAddress, NetBackend, SoftDevice};
use devices::function::tap;
use devices::soft_pf::{self, ListQuirks, Quirks, SoftPf, VfQuirks, VfSpec};

use super::ServeError;
use crate::cli::{SoftPfArgs, SoftQuirk};
use vmm::config::{BlockDevices, Disk, MacIdentity};

/// Most VFs of a PF.
const MAX_VFS: usize = 255;

/// Makes the PF and VFs that `args` describe.
///
/// # Errors
/// When the words contradict each other, or something cannot be opened.
pub(super) fn build(args: &SoftPfArgs) -> Result<SoftPf, ServeError> {
    check_kinds(args)?;
    let mut macs = Macs { identity: MacIdentity::of_path(Some(args.socket_dir())), used: BTreeSet::new() };
    let mut devices = BlockDevices::default();
    let vfs = args.vfs().iter().zip(0..).map(|(vf, position): (_, u8)| {
        let id = format!("vf{position}");
        let mac = macs.take(vf, &id)?;
        spec(vf, id, mac, &mut devices)
    });
    let vfs = vfs.collect::<Result<Vec<_>, _>>()?;
    let soft = match args.pf() {
        None => SoftPf::new("soft", vfs),
        Some(pf) => SoftPf::with_pf("soft", spec(pf, "pf".to_owned(), macs.take(pf, "pf")?, &mut devices)?, vfs),
    }
    .map_err(|error| ServeError::Device(error.into()))?;
    // Linux chooses the command list before it enables VFs.
    let loses_early_kicks = args.quirks().contains(&SoftQuirk::LosesEarlyKicks);
    soft.set_quirks(Quirks {
        vf: VfQuirks { loses_early_kicks, ..VfQuirks::default() },
        list: ListQuirks { before_vf_enable: true, ..ListQuirks::default() },
        ..Quirks::default()
    });
    Ok(soft)
}

/// A host takes the device id of all VFs from one register of the PF, and the class of all from the first VF.
fn check_kinds(args: &SoftPfArgs) -> Result<(), ServeError> {
    if args.vfs().len() > MAX_VFS {
        return Err(ServeError::Usage(format!("{} VFs are too many; there can be {MAX_VFS}", args.vfs().len())));
    }
    let is_disk = |device: &SoftDevice| matches!(device, SoftDevice::Blk { .. });
    let disks = args.vfs().iter().chain(args.pf()).filter(|device| is_disk(device)).count();
    let all = args.vfs().len() + usize::from(args.pf().is_some());
    if args.mixed() || disks == 0 || disks == all {
        return Ok(());
    }
    let text = "disks and network cards are mixed; a host sees all VFs with the device id of their PF: start one \
                soft-pf for each kind, or say --mixed if the clients do not use SR-IOV";
    Err(ServeError::Usage(text.to_owned()))
}

/// Addresses given out.
struct Macs {
    identity: MacIdentity,
    used: BTreeSet<[u8; 6]>,
}

impl Macs {
    /// The address of `device`: its own, or one made of the server's folder and `id`.
    fn take(&mut self, device: &SoftDevice, id: &str) -> Result<MacAddress, ServeError> {
        let made = self.identity.mac(id);
        let SoftDevice::Net { mac, .. } = device else { return Ok(made) };
        let mac = mac.unwrap_or(made);
        if self.used.insert(mac.0) {
            return Ok(mac);
        }
        Err(ServeError::Usage(format!("two network cards have the address {mac}: give each its own with mac=")))
    }
}

fn spec(device: &SoftDevice, id: String, mac: MacAddress, devices: &mut BlockDevices) -> Result<VfSpec, ServeError> {
    Ok(match device {
        SoftDevice::Blk { file, readonly } => {
            let disk = Disk::open(file, *readonly).map_err(|error| ServeError::Device(error.into()))?;
            devices.add(&disk).map_err(|error| ServeError::Device(error.into()))?;
            VfSpec::Blk { size: Some(disk.size), file: disk.file, read_only: *readonly, id }
        }
        SoftDevice::Net { backend: NetBackend::Loopback, .. } => {
            VfSpec::Net { backend: soft_pf::NetBackend::Loopback, mac: mac.0 }
        }
        SoftDevice::Net { backend: NetBackend::Tap(name), .. } => {
            let tap = tap::open(name, true).map_err(|error| ServeError::Device(error.into()))?;
            VfSpec::Net { backend: soft_pf::NetBackend::Tap(tap), mac: mac.0 }
        }
        SoftDevice::Net { backend: NetBackend::Fd(_), .. } => {
            return Err(ServeError::Usage(
                "descriptors come with API requests, not here: use tap= or loopback".to_owned(),
            ));
        }
    })
}
