// SPDX-License-Identifier: Apache-2.0
use super::*;

/// Device type, modern id, transitional id, base and sub class: reference table 3.5 in full.
const TABLE: [(DeviceType, u16, u16, u8, u8); 7] = [
    (DeviceType::Net, 0x1041, 0x1000, 0x02, 0x00),
    (DeviceType::Block, 0x1042, 0x1001, 0x01, 0x00),
    (DeviceType::Balloon, 0x1045, 0x1002, 0x00, 0xff),
    (DeviceType::Console, 0x1043, 0x1003, 0x07, 0x80),
    (DeviceType::Scsi, 0x1048, 0x1004, 0x01, 0x00),
    (DeviceType::Entropy, 0x1044, 0x1005, 0x00, 0xff),
    (DeviceType::NineP, 0x1049, 0x1009, 0x00, 0x02),
];

#[test]
fn every_type_has_the_ids_of_the_standard() {
    for (device, modern, transitional, base, sub) in TABLE {
        assert_eq!(DeviceType::from_modern_id(modern), Some(device));
        let identity = device.identity();
        assert_eq!((identity.vendor_id, identity.subsystem.vendor_id), (0x1af4, 0x1af4));
        assert_eq!(identity.device_id, transitional);
        assert_eq!(identity.revision_id, 0, "legacy drivers refuse any other revision");
        assert_eq!(identity.class_code, [0, sub, base]);
        assert_eq!(identity.subsystem.id, modern - 0x1040, "legacy drivers take the type from here");
        let identity = device.modern_identity();
        assert_eq!((identity.device_id, identity.subsystem.vendor_id), (modern, 0x1af4));
        assert!(identity.revision_id >= 1 && identity.subsystem.id >= 0x40, "no legacy driver takes it");
    }
    assert_eq!(TABLE.len(), DeviceType::ALL.len());
}

#[test]
fn ids_without_a_transitional_twin_are_refused() {
    for id in [0x1000, 0x1040, 0x1046, 0x1047, 0x104a, 0x1053, 0xffff] {
        assert_eq!(DeviceType::from_modern_id(id), None, "{id:#x}");
    }
}

#[test]
fn bar0_is_a_power_of_two_that_pci_allows() {
    for device in DeviceType::ALL {
        let size = device.bar0_size();
        assert!(size.is_power_of_two() && (64..=256).contains(&size));
    }
    assert_eq!((DeviceType::Net.bar0_size(), DeviceType::Block.bar0_size()), (64, 128));
}

#[test]
fn a_type_has_one_name() {
    for device in DeviceType::ALL {
        assert_eq!(serde_json::to_value(device).unwrap(), device.name());
    }
}
