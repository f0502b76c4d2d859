// SPDX-License-Identifier: Apache-2.0
//! Which entry of LEGACY_NOTIFY_INFO kicks go to: each is looked at by itself, and the earliest that
//! can be used is. Addresses in the PF's BARs are for the VMM alone.
use crate::admin::PfClient;
use crate::admin::wire::NotifyEntry;
use crate::bus::{Access, Width};
use crate::contract::NotifyAddress;
use crate::contract::mock::Call;
use crate::pci::PciDevice;
use crate::soft_pf::{NotifyQuirk, Quirks};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{Bench, Setup, counts};
use crate::transitional::tests::faulty_stack::{Setup as StackSetup, Stack};

const OWNER: NotifyAddress = NotifyAddress::Owner { bar: 4, offset: 0x8100 };
const MEMBER: NotifyAddress = NotifyAddress::Member { bar: 2, offset: 0x1000 };
const OUTSIDE: NotifyAddress = NotifyAddress::Owner { bar: 4, offset: 1 << 16 };
const NO_BAR: NotifyAddress = NotifyAddress::Member { bar: 5, offset: 0 };

const BY_OWNER: &str = "pf store 4+8100.2=0";
const BY_MEMBER: &str = "vf store 2+1000.2=0";
const BY_COMMAND: &str = "W C16.2=0";

fn kick(bench: &Bench) -> Vec<String> {
    bench.start_intx();
    bench.w16(16, 0);
    bench.log()
}

#[test]
fn c01_the_earliest_entry_that_can_be_used_counts() {
    // With the PF in this process, and without.
    let cases: [(&[NotifyAddress], &str, &str); 8] = [
        (&[OWNER, MEMBER], BY_OWNER, BY_MEMBER),
        (&[MEMBER, OWNER], BY_MEMBER, BY_MEMBER),
        (&[OUTSIDE, MEMBER], BY_MEMBER, BY_MEMBER),
        (&[OUTSIDE, NO_BAR, OWNER, MEMBER], BY_OWNER, BY_MEMBER),
        (&[NO_BAR, OWNER], BY_OWNER, BY_COMMAND),
        (&[OWNER], BY_OWNER, BY_COMMAND),
        (&[OUTSIDE, NO_BAR], BY_COMMAND, BY_COMMAND),
        (&[], BY_COMMAND, BY_COMMAND),
    ];
    for (entries, with, without) in cases {
        for (owner, expected) in [(true, with), (false, without)] {
            let notify = entries.to_vec();
            let bench = Setup { notify, owner, ..Setup::net() }.build();
            assert_eq!(kick(&bench), [expected], "{entries:?}, PF here: {owner}");
            // The same choice when a PF comes back with these entries.
            let bench = Setup { notify: Vec::new(), owner, ..Setup::net() }.build();
            bench.device.pf_returned(entries);
            assert_eq!(kick(&bench), [expected], "{entries:?}, PF here: {owner}");
        }
    }
}

#[test]
fn a_kick_whose_store_fails_is_made_by_command() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.refuse(Some(Call::BarWrite));
    bench.w16(16, 0);
    assert_eq!(bench.log(), [BY_MEMBER, BY_COMMAND]);
    let report = bench.device.report();
    assert_eq!(
        (
            report.count(DeviceCounter::KicksStored),
            report.count(DeviceCounter::KicksCommanded),
            report.errors.get(crate::contract::FailureKind::Function)
        ),
        (0, 1, 1)
    );
    bench.w16(16, 2);
    assert!(bench.log().is_empty(), "not set up");
}

fn entry(flags: u8, bar: u8, offset: u64) -> NotifyEntry {
    NotifyEntry { flags, bar, offset }
}

/// The whole way from the command's answer to a sector that moves.
#[test]
fn c03_entries_are_validated_one_by_one_and_sectors_move() {
    let good_member = entry(2, 2, 0x3000);
    let good_owner = entry(1, 2, 0x3800);
    let cases: [(&[NotifyEntry], &str); 9] = [
        (&[good_member], "member BAR 2 + 0x3000"),
        (&[good_owner, good_member], "owner BAR 2 + 0x3800"),
        (&[entry(1, 2, 0x4000), good_member], "member BAR 2 + 0x3000"),
        (&[entry(1, 3, 0), entry(1, 2, 0x3801), good_member], "member BAR 2 + 0x3000"),
        (&[entry(2, 0, 0), entry(2, 6, 0), good_owner], "owner BAR 2 + 0x3800"),
        (&[entry(7, 2, 0x3000), entry(2, 2, u64::MAX - 1), good_member], "member BAR 2 + 0x3000"),
        (&[entry(2, 2, 0x4000 - 1), entry(2, 2, 0x4000)], "register"),
        (&[entry(0, 0, 0), good_member], "register"),
        (&[entry(0xff, 0xff, u64::MAX); 4], "register"),
    ];
    for (entries, place) in cases {
        let quirks = Quirks { notify: NotifyQuirk::Entries(entries.to_vec()), ..Quirks::default() };
        let mut stack = Stack::new(&StackSetup { quirks, ..StackSetup::default() });
        assert_eq!(stack.device.report().notify, place, "{entries:?}");
        stack.run_intx(4);
        let kinds = [DeviceCounter::KicksStored, DeviceCounter::KicksCommanded];
        let expected = if place == "register" { [0, 1] } else { [1, 0] };
        assert_eq!(counts(&stack.device, kinds), expected, "{entries:?}");
    }
}

/// The guest's windows are those of its own VF, and no offset in them is the PF's page, whichever entry
/// is used.
#[test]
fn c03_an_owner_page_is_never_in_a_guests_reach() {
    for notify in [vec![OWNER], vec![OWNER, MEMBER], vec![OUTSIDE, OWNER]] {
        let bench = Setup { notify, owner: true, ports: true, ..Setup::net() }.build();
        bench.start_intx();
        let windows = bench.device.windows();
        assert!(!windows.is_empty() && windows.iter().all(|window| matches!(window.bar, 0 | 2 | 4)));
        for window in windows.iter().filter(|window| window.bar != 0) {
            for offset in (0..window.size).step_by(2) {
                let _ = bench.device.bar_write(window.bar, Access { offset, width: Width::B2, vcpu: 0 }, 0x5a5a);
            }
        }
        assert!(bench.log().iter().all(|line| !line.starts_with("pf ")));
    }
}
