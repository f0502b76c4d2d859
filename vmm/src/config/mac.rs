// SPDX-License-Identifier: Apache-2.0
//! Addresses of network cards that were given none: the same at the next start, and different between machines. Locally administered (IEEE 802: bit 1 of the first byte is set), 52 and 40 bits of a hash.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use api::{MacAddress, NetBackend, SoftDevice, VfOrigin, VmConfig};

use super::ConfigError;

/// First byte: locally administered, for one station, and known to people from other virtual machines.
const FIRST: u8 = 0x52;

/// What tells this host from others (machine-id(5)); nothing where there is none.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let read = |path| fs::read_to_string(path).ok().filter(|text| !text.trim().is_empty());
    read("/etc/machine-id").or_else(|| read("/var/lib/dbus/machine-id")).unwrap_or_default()
});

/// What an address is made of.
pub struct MacIdentity(Vec<String>);

impl MacIdentity {
    /// The machine that `config` describes: by its UUID or serial number where it has one, on whatever host; else by
    /// this host and the first of these that it has: a disk image, `name` (the path of the API's socket).
    fn of_machine(config: &VmConfig, name: Option<&Path>) -> Self {
        if let Some(own) = config.smbios.uuid.as_ref().or(config.smbios.serial.as_ref()) {
            return Self(vec![own.to_ascii_lowercase()]);
        }
        let disk = config.legacy_virtio.iter().find_map(|device| match &device.origin {
            VfOrigin::Soft(SoftDevice::Blk { file, .. }) => Some(file.as_path()),
            _ => None,
        });
        Self::of_path(disk.or(name))
    }

    /// Something of this host.
    pub fn of_path(path: Option<&Path>) -> Self {
        let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let path = path.map_or_else(String::new, |path| path.display().to_string());
        Self(vec![HOST.clone(), path])
    }

    /// The address of its card called `card`.
    pub fn mac(&self, card: &str) -> MacAddress {
        let [.., a, b, c, d, e] = hash(self.0.iter().map(String::as_str).chain([card])).to_be_bytes();
        MacAddress([FIRST, a, b, c, d, e])
    }
}

/// FNV-1a with a finish that spreads what short texts leave in the low bits (splitmix64): it is to be the same for ever,
/// which that of the standard library is not.
fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    // 0 between the parts, which is in none of them.
    let bytes = parts.flat_map(|part| part.bytes().chain([0]));
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// The address of each network card: the one asked for, or one of the machine's. Devices that are not network cards get
/// one as well; nobody reads it. `ids` are those of the devices.
///
/// # Errors
/// When two cards have one address.
pub(super) fn give(config: &VmConfig, ids: &[String], name: Option<&Path>) -> Result<Vec<MacAddress>, ConfigError> {
    let identity = MacIdentity::of_machine(config, name);
    let mut used = BTreeSet::new();
    let mut macs = Vec::new();
    for (device, id) in config.legacy_virtio.iter().zip(ids) {
        let (is_card, mac) = match &device.origin {
            VfOrigin::Soft(SoftDevice::Net { mac: Some(mac), .. }) => (true, *mac),
            VfOrigin::Soft(SoftDevice::Net { backend, .. }) => (true, identity.mac(&card(id, backend))),
            _ => (false, identity.mac(id)),
        };
        if is_card && !used.insert(mac.0) {
            return Err(ConfigError::Usage(format!(
                "two network cards have the address {mac}: give each its own with mac="
            )));
        }
        macs.push(mac);
    }
    Ok(macs)
}

/// A tap is one machine's at a time, so its name tells machines apart that have nothing else.
fn card(id: &str, backend: &NetBackend) -> String {
    match backend {
        NetBackend::Tap(tap) => format!("{id} tap {tap}"),
        _ => id.to_owned(),
    }
}
