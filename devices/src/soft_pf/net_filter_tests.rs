// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const OWN: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const OTHER: [u8; 6] = [0x52, 0x54, 0, 9, 9, 9];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const ALL: u64 = F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN;

fn to(address: [u8; 6]) -> Vec<u8> {
    [&address[..], &OTHER, &[8, 0, 0x45, 0]].concat()
}

fn tagged(id: u16) -> Vec<u8> {
    [&OWN[..], &OTHER, &[0x81, 0], &(0xe000 | id).to_be_bytes(), &[8, 0]].concat()
}

fn table(unicast: &[[u8; 6]], multicast: &[[u8; 6]]) -> Vec<u8> {
    let list = |list: &[[u8; 6]]| [&(list.len() as u32).to_le_bytes()[..], &list.concat()].concat();
    [vec![1, 0], list(unicast), list(multicast)].concat()
}

/// Receives what is its own and broadcast, nothing else.
fn plain() -> ReceiveFilter {
    let mut filter = ReceiveFilter::new();
    assert_eq!(filter.command(&[0, 0, 0], ALL), OK);
    filter
}

#[test]
fn everything_until_the_driver_says_otherwise() {
    for address in [OWN, OTHER, GROUP, BROADCAST] {
        assert!(ReceiveFilter::new().accepts(&to(address), &OWN, ALL));
    }
    assert!(ReceiveFilter::new().accepts(&tagged(7), &OWN, ALL));
    assert!(!ReceiveFilter::new().accepts(&[0; 5], &OWN, ALL), "no frame");
}

#[test]
fn modes() {
    let mut filter = plain();
    let seen = |filter: &ReceiveFilter| [OWN, BROADCAST, OTHER, GROUP].map(|a| filter.accepts(&to(a), &OWN, ALL));
    assert_eq!(seen(&filter), [true, true, false, false]);
    assert_eq!(filter.command(&[0, 1, 1], ALL), OK);
    assert_eq!(seen(&filter), [true, true, false, true]);
    assert_eq!(filter.command(&[0, 1, 0], ALL), OK);
    assert_eq!(filter.command(&[0, 0, 1], ALL), OK);
    assert_eq!(seen(&filter), [true; 4]);
}

#[test]
fn tables_replace_one_another() {
    let mut filter = plain();
    let seen = |filter: &ReceiveFilter| [OTHER, GROUP].map(|a| filter.accepts(&to(a), &OWN, ALL));
    assert_eq!(filter.command(&table(&[OTHER], &[GROUP]), ALL), OK);
    assert_eq!(seen(&filter), [true, true]);
    assert_eq!(filter.command(&table(&[], &[GROUP]), ALL), OK);
    assert_eq!(seen(&filter), [false, true]);
    assert_eq!(filter.command(&table(&[], &[]), ALL), OK);
    assert_eq!(seen(&filter), [false, false]);
    assert_eq!(filter.command(&table(&[OWN; 65], &[]), ALL), OK);
    assert_eq!(seen(&filter), [true, false], "more than are kept: all of that kind");
}

#[test]
fn broken_commands_change_nothing() {
    let mut filter = plain();
    let long = [table(&[], &[OTHER]), vec![0]].concat();
    let short = &long[..long.len() - 2];
    let huge = [1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let wrong: [&[u8]; 13] = [
        &[],
        &[0],
        &[0, 0],
        &[0, 0, 2],
        &[0, 0, 1, 1],
        &[0, 2, 1],
        &[1, 0],
        &[1, 1, 2, 0, 0, 0, 0, 1],
        &long,
        short,
        &huge,
        &[2, 0, 0, 16],
        &[3, 0, 1],
    ];
    for command in wrong {
        assert_eq!(filter.command(command, ALL), ERR, "{command:x?}");
        assert!(!filter.accepts(&to(OTHER), &OWN, ALL) && filter.accepts(&to(OWN), &OWN, ALL));
    }
    for (command, feature) in
        [(vec![0, 0, 1], F_CTRL_RX), (table(&[], &[]), F_CTRL_RX), (vec![2, 0, 1, 0], F_CTRL_VLAN)]
    {
        assert_eq!(filter.command(&command, ALL & !feature), ERR, "not negotiated");
        assert_eq!(filter.command(&command, ALL), OK);
    }
}

#[test]
fn vlans_are_added_one_by_one() {
    let mut filter = plain();
    let seen = |filter: &ReceiveFilter| [0, 5, 4095].map(|id| filter.accepts(&tagged(id), &OWN, ALL));
    assert_eq!(seen(&filter), [false; 3]);
    assert!(filter.accepts(&tagged(5), &OWN, ALL & !F_CTRL_VLAN), "a driver that does not filter gets all");
    assert!(filter.accepts(&to(OWN), &OWN, ALL), "no tag");
    assert_eq!(filter.command(&[2, 0, 5, 0], ALL), OK);
    assert_eq!(filter.command(&[2, 0, 0xff, 0x0f], ALL), OK);
    assert_eq!(seen(&filter), [false, true, true]);
    assert_eq!(filter.command(&[2, 1, 5, 0], ALL), OK);
    assert_eq!(seen(&filter), [false, false, true]);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), frame in proptest::collection::vec(any::<u8>(), 0..30)) {
        let mut filter = plain();
        prop_assert!(filter.command(&bytes, ALL) <= ERR);
        let _ = filter.accepts(&frame, &OWN, ALL);
        prop_assert!(filter.unicast.listed.len() <= MAX_ADDRESSES && filter.multicast.listed.len() <= MAX_ADDRESSES);
    }
}
