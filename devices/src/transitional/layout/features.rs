// SPDX-License-Identifier: Apache-2.0
//! Which device features a legacy guest may not see. Pure.

use super::identity::DeviceType;

/// Bit 30: never offered. Old QEMU offered it to find drivers that accept everything.
const UNUSED: u32 = 1 << 30;
/// Disk bit 17, ZONED: a driver that does not know zones must not get a zoned disk.
const BLOCK_ZONED: u32 = 1 << 17;

/// A feature bit, and where the configuration field ends that it brings.
type Need = (u8, u8);

const NET: &[Need] = &[(3, 12), (5, 6), (16, 8), (22, 10)];
const BLOCK: &[Need] =
    &[(1, 12), (2, 16), (4, 20), (6, 24), (10, 32), (11, 33), (12, 36), (13, 48), (14, 57), (16, 72)];
const CONSOLE: &[Need] = &[(0, 4), (1, 8), (2, 12)];
const BALLOON: &[Need] = &[(3, 12), (4, 16)];

/// The features that must be hidden from the guest of a `device` with `config_len` reachable bytes
/// of device configuration: those with a field past its end, and the ones no legacy guest may have.
pub(crate) const fn hidden(device: DeviceType, config_len: u8) -> u32 {
    let (needs, never) = match device {
        DeviceType::Net => (NET, UNUSED),
        DeviceType::Block => (BLOCK, UNUSED | BLOCK_ZONED),
        DeviceType::Console => (CONSOLE, UNUSED),
        DeviceType::Balloon => (BALLOON, UNUSED),
        DeviceType::Entropy | DeviceType::Scsi | DeviceType::NineP => (&[] as &[Need], UNUSED),
    };
    let mut mask = never;
    let mut index = 0;
    while index < needs.len() {
        let (bit, end) = needs[index];
        if end > config_len {
            mask |= 1 << bit;
        }
        index += 1;
    }
    mask
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
