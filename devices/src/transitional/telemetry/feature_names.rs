// SPDX-License-Identifier: Apache-2.0
//! Names of the 32 feature bits that legacy drivers know. Pure.
//!
//! Source: virtio 1.3, "Feature bits" of each device type, legacy bits included, and "Reserved Feature
//! Bits".

use crate::transitional::layout::identity::DeviceType;

type Names = &'static [(u8, &'static str)];

const ANY: Names =
    &[(24, "NOTIFY_ON_EMPTY"), (27, "ANY_LAYOUT"), (28, "RING_INDIRECT_DESC"), (29, "RING_EVENT_IDX"), (30, "UNUSED")];

const NET: Names = &[
    (0, "CSUM"),
    (1, "GUEST_CSUM"),
    (2, "CTRL_GUEST_OFFLOADS"),
    (3, "MTU"),
    (5, "MAC"),
    (6, "GSO"),
    (7, "GUEST_TSO4"),
    (8, "GUEST_TSO6"),
    (9, "GUEST_ECN"),
    (10, "GUEST_UFO"),
    (11, "HOST_TSO4"),
    (12, "HOST_TSO6"),
    (13, "HOST_ECN"),
    (14, "HOST_UFO"),
    (15, "MRG_RXBUF"),
    (16, "STATUS"),
    (17, "CTRL_VQ"),
    (18, "CTRL_RX"),
    (19, "CTRL_VLAN"),
    (20, "CTRL_RX_EXTRA"),
    (21, "GUEST_ANNOUNCE"),
    (22, "MQ"),
    (23, "CTRL_MAC_ADDR"),
];

const BLOCK: Names = &[
    (0, "BARRIER"),
    (1, "SIZE_MAX"),
    (2, "SEG_MAX"),
    (4, "GEOMETRY"),
    (5, "RO"),
    (6, "BLK_SIZE"),
    (7, "SCSI"),
    (9, "FLUSH"),
    (10, "TOPOLOGY"),
    (11, "CONFIG_WCE"),
    (12, "MQ"),
    (13, "DISCARD"),
    (14, "WRITE_ZEROES"),
    (15, "LIFETIME"),
    (16, "SECURE_ERASE"),
    (17, "ZONED"),
];

const CONSOLE: Names = &[(0, "SIZE"), (1, "MULTIPORT"), (2, "EMERG_WRITE")];
const BALLOON: Names = &[
    (0, "MUST_TELL_HOST"),
    (1, "STATS_VQ"),
    (2, "DEFLATE_ON_OOM"),
    (3, "FREE_PAGE_HINT"),
    (4, "PAGE_POISON"),
    (5, "PAGE_REPORTING"),
];
const SCSI: Names = &[(0, "INOUT"), (1, "HOTPLUG"), (2, "CHANGE"), (3, "T10_PI")];
const NINE_P: Names = &[(0, "MOUNT_TAG")];

/// Names of the bits that are set in `features` of a `device`; `BIT_n` for those that have none.
pub fn feature_names(device: DeviceType, features: u32) -> Vec<String> {
    let own = match device {
        DeviceType::Net => NET,
        DeviceType::Block => BLOCK,
        DeviceType::Console => CONSOLE,
        DeviceType::Balloon => BALLOON,
        DeviceType::Scsi => SCSI,
        DeviceType::NineP => NINE_P,
        DeviceType::Entropy => &[],
    };
    let name = |bit: u8| {
        let known = own.iter().chain(ANY).find(|(at, _)| *at == bit);
        known.map_or_else(|| format!("BIT_{bit}"), |(_, name)| (*name).to_owned())
    };
    (0..32u8).filter(|bit| features & 1 << bit != 0).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_the_name_of_their_device_or_their_number() {
        assert_eq!(feature_names(DeviceType::Net, 1 << 5 | 1 << 16 | 1 << 28), ["MAC", "STATUS", "RING_INDIRECT_DESC"]);
        assert_eq!(feature_names(DeviceType::Block, 1 << 5 | 1 << 16), ["RO", "SECURE_ERASE"]);
        assert_eq!(feature_names(DeviceType::Entropy, 1 | 1 << 31), ["BIT_0", "BIT_31"]);
        assert!(feature_names(DeviceType::Net, 0).is_empty());
    }

    #[test]
    fn no_bit_has_two_names() {
        for device in DeviceType::ALL {
            for bit in 0..32 {
                assert_eq!(feature_names(device, 1 << bit).len(), 1);
            }
        }
        for own in [NET, BLOCK, CONSOLE, BALLOON, SCSI, NINE_P] {
            let mut bits: Vec<_> = own.iter().chain(ANY).map(|(bit, _)| *bit).collect();
            bits.sort_unstable();
            bits.dedup();
            assert_eq!(bits.len(), own.len() + ANY.len());
        }
    }
}
