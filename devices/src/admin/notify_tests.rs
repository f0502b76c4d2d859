// SPDX-License-Identifier: Apache-2.0
//! Vectors C01..C06: which entries of a reply become addresses.
use std::num::NonZeroU16;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::*;
use crate::admin::PfDriver;
use crate::contract::Wait;
use crate::soft_pf::{NetBackend, NotifyQuirk, Quirks, SoftPf, VfSpec};
use proptest::prelude::*;

const MEMBER_2_1000: [u8; 16] = [2, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
const OWNER_4_8100: [u8; 16] = [1, 4, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0];

/// The test bench: VF BAR2 has 1 MiB, PF BAR4 has 64 KiB. The VF has a BAR0,
/// too, which a proper one does not have: its number alone must rule it out.
fn addresses(entries: &[[u8; 16]]) -> Vec<NotifyAddress> {
    let owner = NotifyBars::of_sizes(&[None, None, None, None, Some(64 << 10)]);
    let member = NotifyBars::of_sizes(&[Some(1 << 20), None, Some(1 << 20)]);
    usable_addresses(&NotifyInfo::parse(&entries.concat()), &owner, &member)
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

/// A real PF that lies about where its VF's doorbell is; what each structure is, it says itself.
#[test]
fn b7_no_notification_goes_to_a_structure() {
    const MSIX: u8 = 4;
    let soft =
        SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] }]).unwrap();
    let never = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + Duration::from_secs(60), cancelled: &never };
    let driver = PfDriver::start(soft.pf(), wait.deadline).unwrap();
    driver.enable_vfs(1).unwrap();
    driver.negotiate_commands(&wait).unwrap();
    let told = |flags, bar, offset| {
        let entry = NotifyEntry { flags, bar, offset };
        soft.set_quirks(Quirks { notify: NotifyQuirk::Entries(vec![entry]), ..Quirks::default() });
        driver.notify_info(NonZeroU16::MIN, soft.vf(0).unwrap().as_ref(), &wait).unwrap().into_iter().next()
    };
    for flags in [NotifyEntry::OWNER, NotifyEntry::MEMBER] {
        // Common configuration with its status and queue reset, ISR, device configuration; vector table, pending bits.
        let taken = [(2, 0), (2, 20), (2, 0x36), (2, 0x1000), (2, 0x2000), (MSIX, 0), (MSIX, 0xe), (MSIX, 0x800)];
        for (bar, offset) in taken {
            assert_eq!(told(flags, bar, offset), None, "flags {flags}, BAR {bar} + {offset:#x}");
        }
        assert!(told(flags, 2, 0x3900).is_some(), "where nothing is");
    }
    let admin = driver.channel().registers.doorbell_offset;
    assert_eq!(told(NotifyEntry::OWNER, 2, admin), None, "a guest's kicks would be the PF driver's");
    assert!(told(NotifyEntry::OWNER, 2, admin - 2).is_some() && told(NotifyEntry::OWNER, 2, admin + 2).is_some());
    assert!(told(NotifyEntry::MEMBER, 2, admin).is_some());
}

#[test]
fn b7_an_overlap_of_one_byte_is_one() {
    let mut bars = NotifyBars::of_sizes(&[None, None, Some(0x1000)]);
    bars.take(2, 0x101, 3, "in the way");
    bars.take(2, u64::MAX - 1, u64::MAX, "a length that a device chose");
    let found = [0xfe, 0x100, 0x102, 0x104].map(|offset| bars.check(2, offset).is_ok());
    assert_eq!(found, [true, false, false, true]);
    assert!(bars.check(2, 0xffe).is_ok() && bars.check(2, 0xfff).is_err() && bars.check(3, 0).is_err());
}

proptest! {
    #[test]
    fn every_address_lies_inside_its_bar(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let bars = NotifyBars::of_sizes(&[0_u64, 1, 2, 3, 4, 5].map(|bar| Some(bar << 40)));
        for address in usable_addresses(&NotifyInfo::parse(&bytes), &bars, &bars) {
            let (NotifyAddress::Member { bar, offset } | NotifyAddress::Owner { bar, offset }) = address;
            prop_assert!((1..=5).contains(&bar) && offset % 2 == 0 && offset + 2 <= u64::from(bar) << 40);
        }
    }
}
