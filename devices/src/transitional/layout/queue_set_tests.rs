// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn members_come_out_in_order_and_once() {
    let set = QueueSet::default();
    for queue in [255, 0, 64, 63, 3, 3] {
        set.insert(queue);
    }
    set.remove(3);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
    assert_eq!(set.take().collect::<Vec<_>>(), [0, 63, 64, 255]);
    assert_eq!(set.take().count(), 0);
}

#[test]
fn indices_out_of_range_are_never_in() {
    let set = QueueSet::default();
    for queue in [256, 700, u16::MAX] {
        set.insert(queue);
        assert!(!set.contains(queue));
        set.remove(queue);
    }
    assert_eq!(set.iter().count(), 0);
}
