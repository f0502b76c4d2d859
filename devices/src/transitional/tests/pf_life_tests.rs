// SPDX-License-Identifier: Apache-2.0
//! The function when its PF is lost and comes back, with all of the stack below it (H27, H28, F13),
//! and doorbells in the PF's BAR.
use std::time::Duration;

use crate::admin::PfHealth;
use crate::admin::faulty::{Fault, Rule};
use crate::bus::{Access, Width};
use crate::contract::NotifyAddress;
use crate::contract::mock::{eventually, give_it_time};
use crate::pci::PciDevice;
use crate::soft_pf::{NotifyQuirk, Quirks};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::Setup as BenchSetup;
use crate::transitional::tests::faulty_stack::{DATA, LONGEST, RING, Setup, Stack};

fn member() -> Quirks {
    Quirks::default()
}
fn owner() -> Quirks {
    Quirks { notify: NotifyQuirk::Owner, ..member() }
}
fn none() -> Quirks {
    Quirks { notify: NotifyQuirk::Unsupported, ..member() }
}

/// A PF that comes back may have its doorbells elsewhere: new firmware does that.
#[test]
fn f13_a_guest_gets_its_disk_back_by_a_reset_wherever_the_doorbells_are_then() {
    let ways = [(member as fn() -> _, "member BAR 2"), (owner, "owner BAR 2"), (none, "register")];
    for (before, at_first) in ways {
        for (after, at_last) in ways {
            let mut stack = Stack::new(&Setup { quirks: before(), ports: true, ..Setup::default() });
            stack.run_intx(1);
            assert!(stack.device.report().notify.starts_with(at_first));
            stack.soft.set_quirks(after());
            stack.soft.pf().reset().unwrap();
            assert_eq!(stack.watchdog.tick(), PfHealth::Lost);
            stack.watch_until_well();
            let report = stack.device.report();
            assert!(report.faulted.unwrap().starts_with("the PF was lost"), "until the guest resets it");
            assert!(report.notify.starts_with(at_last), "{}", report.notify);
            stack.run_intx(2);
            let report = stack.device.report();
            assert_eq!((report.faulted.as_deref(), report.count(DeviceCounter::FunctionResets)), (None, 1));
        }
    }
}

#[test]
fn h27_a_guest_without_its_pf_is_stuck_and_safe() {
    let mut stack = Stack::new(&Setup { ports: true, ..Setup::default() });
    stack.run_intx(1);
    assert_eq!(stack.ports.places(), [(0xc010, 0)], "kicks without exits");
    stack.soft.pf().reset().unwrap();
    assert_eq!(stack.watchdog.tick(), PfHealth::Lost);
    assert!(stack.ports.places().is_empty(), "no kick reaches the VF any more");
    let dropped = stack.device.report().count(DeviceCounter::KicksDropped);
    stack.write(16, Width::B2, 0);
    assert_eq!(stack.device.report().count(DeviceCounter::KicksDropped), dropped + 1);
    assert_eq!((stack.read(18, Width::B1), stack.read(0, Width::B4)), (7, u32::MAX));
    assert_eq!((stack.read(20, Width::B1), stack.read(19, Width::B1)), (0xff, 0));
    stack.watch_until_well();
    let commands = stack.device.report().count(DeviceCounter::Commands);
    assert_eq!((stack.read(18, Width::B1), stack.read(0, Width::B4)), (7, u32::MAX), "out of service until a reset");
    assert_eq!(stack.device.report().count(DeviceCounter::Commands), commands);
}

#[test]
fn f13_a_guest_with_msix_has_its_vectors_again() {
    let mut stack = Stack::new(&Setup::default());
    stack.set_msix(true);
    for round in 0..2 {
        stack.start();
        stack.write(14, Width::B2, 0);
        stack.write(22, Width::B2, 1);
        assert_eq!(stack.read(22, Width::B2), 1);
        let interrupt = stack.msi.interrupt(1);
        interrupt.take_signals();
        stack.offer_read(5 + round);
        stack.write(16, Width::B2, 0);
        eventually("an interrupt", || interrupt.take_signals());
        assert!(stack.has_read(5 + round));
        stack.soft.pf().reset().unwrap();
        stack.watch_until_well();
    }
}

/// A vCPU waits for a lost PF and holds the function's lock: the watchdog does not wait for it, and
/// ends its wait.
#[test]
fn h27_the_watchdog_ends_a_vcpus_wait() {
    let mut stack = Stack::new(&Setup { deadline: LONGEST, ..Setup::default() });
    stack.pf.add(Rule::nth(0, Fault::Lose));
    stack.pf.seen();
    let device = stack.device.clone();
    let vcpu = std::thread::spawn(move || device.bar_read(0, Access { offset: 20, width: Width::B1, vcpu: 0 }));
    while stack.pf.seen().is_empty() {
        std::thread::yield_now();
    }
    stack.soft.pf().reset().unwrap();
    assert_eq!(stack.watchdog.tick(), PfHealth::Lost);
    assert_eq!(vcpu.join().unwrap(), 0xff);
    let errors = stack.device.report().errors;
    assert_eq!(errors.get(crate::contract::FailureKind::Timeout), 0, "not by its deadline");
    stack.watch_until_well();
    stack.run_intx(3);
}

/// VF Enable goes off and on between two accesses, and nobody sees it but the first command to fail.
#[test]
fn h28_a_vf_that_was_away_is_set_up_anew() {
    let mut stack = Stack::new(&Setup::default());
    stack.run_intx(1);
    stack.soft.enable_vfs(0).unwrap();
    assert_eq!(stack.read(20, Width::B1), 0xff);
    stack.soft.enable_vfs(1).unwrap();
    assert!(stack.device.report().faulted.unwrap().contains("refused"));
    stack.run_intx(2);
    assert_eq!(stack.watchdog.tick(), PfHealth::Running);
}

/// Modern drivers use the VF's BARs, and those do not depend on the PF's commands.
#[test]
fn the_vfs_own_bars_work_while_the_legacy_registers_are_out_of_service() {
    let stack = Stack::new(&Setup::default());
    stack.pf.add(Rule::nth(0, Fault::Status(22, 5)));
    assert_eq!(stack.read(20, Width::B1), 0xff);
    assert!(stack.device.report().faulted.is_some());
    let access = Access { offset: 18, width: Width::B2, vcpu: 0 };
    assert_eq!(stack.device.bar_read(2, access), 1, "num_queues of the modern interface");
}

/// Doorbells of all VFs share a page of the PF: a guest that had it could kick its neighbours.
#[test]
fn c09_an_owner_doorbell_takes_queues_that_are_set_up_and_nothing_else_of_the_pf_is_in_reach() {
    let notify = vec![NotifyAddress::Owner { bar: 4, offset: 0x8102 }];
    let bench = BenchSetup { notify, owner: true, ..BenchSetup::net() }.build();
    bench.start_intx();
    let sizes = [(0, 64), (2, 1 << 20), (4, 1 << 16)];
    for (bar, size) in sizes {
        for offset in (0..size).step_by(if bar == 0 { 1 } else { 0x7e }) {
            for width in [Width::B1, Width::B2, Width::B4] {
                let access = Access { offset, width, vcpu: 0 };
                bench.device.bar_read(bar, access);
                if bar != 0 {
                    let _ = bench.device.bar_write(bar, access, 0xffff_ffff);
                }
            }
        }
    }
    assert!(bench.log().iter().all(|line| !line.starts_with("pf ")), "no BAR leads to the PF");
    for queue in 0..=0xffff {
        bench.w16(16, queue);
    }
    assert_eq!(bench.log(), ["pf store 4+8102.2=0", "pf store 4+8102.2=1"]);
}

/// The command that takes a queue away may fail while the PF is lost: the VF must not write there
/// once the guest has been told that the reset is done.
#[test]
fn a_reset_without_a_pf_still_ends_dma() {
    let mut stack = Stack::new(&Setup::default());
    stack.run_intx(1);
    stack.pf.add(Rule::every(Fault::Status(22, 1)));
    stack.write(18, Width::B1, 0);
    stack.offer_read(2);
    stack.vf.region_write(2, 0x3000, Width::B2, 0).unwrap();
    give_it_time(Duration::from_millis(60));
    let byte: u8 = vm_memory::Bytes::read_obj(&stack.memory, vm_memory::GuestAddress(DATA)).unwrap();
    assert_eq!((byte, stack.used()), (0xee, 1), "ring at {RING:#x}");
}
