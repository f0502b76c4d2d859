// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn bit_30_is_hidden_from_everybody() {
    for device in DeviceType::ALL {
        assert_ne!(hidden(device, 255) & 1 << 30, 0, "{device:?}");
    }
}

#[test]
fn full_size_bars_hide_nothing_else_but_zones() {
    assert_eq!(hidden(DeviceType::Net, 40), 1 << 30);
    assert_eq!(hidden(DeviceType::Block, 104), 1 << 30 | 1 << 17);
    assert_eq!(hidden(DeviceType::Console, 40), 1 << 30);
}

#[test]
fn item_33_mtu_and_queue_pairs_need_their_fields() {
    assert_eq!(hidden(DeviceType::Net, 8), 1 << 30 | 1 << 3 | 1 << 22, "a 32-byte BAR0");
    assert_eq!(hidden(DeviceType::Net, 10), 1 << 30 | 1 << 3);
    assert_eq!(hidden(DeviceType::Net, 11), 1 << 30 | 1 << 3, "half a field is none");
    assert_eq!(hidden(DeviceType::Block, 36) & (1 << 12 | 1 << 13), 1 << 13);
}
