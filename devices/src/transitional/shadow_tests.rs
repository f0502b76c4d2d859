// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn driver_features_merge_in_parts() {
    let mut shadow = Shadow::new(true, DeviceType::Net);
    assert_eq!(shadow.merge_driver_features(0, 4, 0x1003_9823), 0x1003_9823);
    assert_eq!(shadow.merge_driver_features(1, 1, 0xff), 0x1003_ff23);
    assert_eq!(shadow.merge_driver_features(2, 2, 0xabcd), 0xabcd_ff23);
    assert_eq!(shadow.merge_driver_features(3, 2, 0x1122), 0x22cd_ff23, "the byte past the end is dropped");
}

#[test]
fn queue_address_needs_both_halves_in_any_order() {
    let mut shadow = Shadow::new(true, DeviceType::Net);
    assert_eq!(shadow.merge_pfn_half(1, 1), None);
    assert_eq!(shadow.merge_pfn_half(0, 0xf4a3), Some(0x1_f4a3));
    assert_eq!(shadow.merge_pfn_half(0, 5), None, "a new address starts from nothing");
    assert_eq!(shadow.merge_pfn_half(2, 5), None);
}

#[test]
fn reset_keeps_what_is_constant_and_drops_the_rest() {
    let mut shadow = Shadow::new(true, DeviceType::Net);
    shadow.offered = Some(7);
    shadow.queue_select = 2;
    shadow.status = 7;
    shadow.driver_features = 3;
    shadow.merge_pfn_half(0, 9);
    *shadow.selected().unwrap() = Queue { pfn: 5, size: Some(256), has_hidden_vector: true };
    shadow.reset();
    assert_eq!((shadow.status, shadow.queue_select, shadow.driver_features), (0, 0, 0));
    assert_eq!(shadow.offered, Some(7));
    assert_eq!(*shadow.queues().nth(2).unwrap().1, Queue { pfn: 0, size: Some(256), has_hidden_vector: false });
    assert_eq!(shadow.merge_pfn_half(1, 9), None);
}

#[test]
fn a_queue_that_cannot_be_is_nobodys() {
    let mut shadow = Shadow::new(true, DeviceType::Net);
    shadow.queue_select = 700;
    assert!(shadow.selected().is_none());
    shadow.queue_select = MAX_QUEUES - 1;
    assert!(shadow.selected().is_some());
}
