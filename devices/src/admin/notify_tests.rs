// SPDX-License-Identifier: Apache-2.0
//! Vectors C01..C06: which entries of a reply become addresses.
use super::*;
use proptest::prelude::*;

const MEMBER_2_1000: [u8; 16] = [2, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
const OWNER_4_8100: [u8; 16] = [1, 4, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0];

/// The test bench: VF BAR2 has 1 MiB, PF BAR4 has 64 KiB. The VF has a BAR0,
/// too, which a proper one has not: its number alone must rule it out.
fn sizes(flags: u8, bar: u8) -> Option<u64> {
    match (flags, bar) {
        (2, 0 | 2) => Some(1 << 20),
        (1, 4) => Some(64 << 10),
        _ => None,
    }
}

fn addresses(entries: &[[u8; 16]]) -> Vec<NotifyAddress> {
    usable_addresses(&NotifyInfo::parse(&entries.concat()), sizes)
}

/// Flags, BAR and the low three bytes of the offset.
fn entry(flags: u8, bar: u8, offset: u32) -> [u8; 16] {
    let [o0, o1, o2, _] = offset.to_le_bytes();
    [flags, bar, 0, 0, 0, 0, 0, 0, o0, o1, o2, 0, 0, 0, 0, 0]
}

#[test]
fn c01_two_good_entries_in_order() {
    let expected = [NotifyAddress::Member { bar: 2, offset: 0x1000 }, NotifyAddress::Owner { bar: 4, offset: 0x8100 }];
    assert_eq!(addresses(&[MEMBER_2_1000, OWNER_4_8100, [0; 16], [0; 16]]), expected);
}

#[test]
fn c02_reserved_flags_and_bar_0_are_skipped() {
    let entries = [entry(5, 2, 0x1000), entry(2, 0, 0x1000), entry(2, 2, 0x2002), [0; 16]];
    assert_eq!(addresses(&entries), [NotifyAddress::Member { bar: 2, offset: 0x2002 }]);
}

#[test]
fn c03_odd_and_outside_offsets_are_skipped() {
    let entries = [entry(2, 2, 0x1001), entry(2, 2, 1 << 20), OWNER_4_8100, [0; 16]];
    assert_eq!(addresses(&entries), [NotifyAddress::Owner { bar: 4, offset: 0x8100 }]);
}

#[test]
fn c04_nothing_after_the_end_counts() {
    assert_eq!(addresses(&[[0; 16], MEMBER_2_1000]), []);
}

#[test]
fn c05_missing_entries_are_the_end() {
    assert_eq!(addresses(&[MEMBER_2_1000]), [NotifyAddress::Member { bar: 2, offset: 0x1000 }]);
    assert_eq!(addresses(&[]), []);
}

#[test]
fn c06_last_legal_offset() {
    let last = NotifyAddress::Member { bar: 2, offset: 0xf_fffe };
    assert_eq!(addresses(&[entry(2, 2, 0xf_fffe)]), [last]);
    assert_eq!(addresses(&[entry(2, 3, 0)]), [], "no such BAR");
    assert_eq!(addresses(&[[0xff; 16]; 4]), []);
}

proptest! {
    #[test]
    fn every_address_lies_inside_its_bar(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for address in usable_addresses(&NotifyInfo::parse(&bytes), |_, bar| Some(u64::from(bar) << 40)) {
            let (NotifyAddress::Member { bar, offset } | NotifyAddress::Owner { bar, offset }) = address;
            prop_assert!((1..=5).contains(&bar) && offset % 2 == 0 && offset + 2 <= u64::from(bar) << 40);
        }
    }
}
