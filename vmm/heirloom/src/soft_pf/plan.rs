// SPDX-License-Identifier: Apache-2.0
//! From the words of `heirloom soft-pf` to a software PF. Files and taps are opened here; no socket is made.

use std::collections::BTreeSet;

use api::{MacAddress, NetBackend, SoftDevice};
use devices::function::tap;
use devices::soft_pf::{self, Quirks, SoftPf, VfSpec};

use super::ServeError;
use crate::cli::{SoftPfArgs, SoftQuirk};
use vmm::config::{BlockDevices, Disk};

/// First bytes of addresses that were not given; the last is the position.
const MAC_PREFIX: [u8; 5] = [0x52, 0x54, 0x00, 0x4c, 0x58];
/// Last byte of the PF's.
const PF_MAC: u8 = 0xff;
/// VFs whose position fits in the last byte of an address, beside the PF's.
const MAX_VFS: usize = 255;

/// Makes the PF and VFs that `args` describe.
///
/// # Errors
/// When the words contradict each other, or something cannot be opened.
pub(super) fn build(args: &SoftPfArgs) -> Result<SoftPf, ServeError> {
    check_kinds(args)?;
    let (mut macs, mut devices) = (Macs::default(), BlockDevices::default());
    let vfs = args.vfs().iter().zip(0..).map(|(vf, position): (_, u8)| {
        let id = format!("vf{position}");
        spec(vf, id, macs.take(vf, position)?, &mut devices)
    });
    let vfs = vfs.collect::<Result<Vec<_>, _>>()?;
    let soft = match args.pf() {
        None => SoftPf::new("soft", vfs),
        Some(pf) => SoftPf::with_pf("soft", spec(pf, "pf".to_owned(), macs.take(pf, PF_MAC)?, &mut devices)?, vfs),
    }
    .map_err(|error| ServeError::Device(error.into()))?;
    // Linux chooses the command list before it enables VFs.
    let loses_early_kicks = args.quirks().contains(&SoftQuirk::LosesEarlyKicks);
    soft.set_quirks(Quirks { list_before_vf_enable: true, loses_early_kicks, ..Quirks::default() });
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
#[derive(Default)]
struct Macs(BTreeSet<[u8; 6]>);

impl Macs {
    /// The address of `device`: its own, or one by position.
    fn take(&mut self, device: &SoftDevice, position: u8) -> Result<MacAddress, ServeError> {
        let [a, b, c, d, e] = MAC_PREFIX;
        let by_position = MacAddress([a, b, c, d, e, position]);
        let SoftDevice::Net { mac, .. } = device else { return Ok(by_position) };
        let mac = mac.unwrap_or(by_position);
        if self.0.insert(mac.0) {
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
            VfSpec::Blk { file: disk.file, read_only: *readonly, id }
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
