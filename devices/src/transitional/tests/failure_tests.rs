// SPDX-License-Identifier: Apache-2.0
//! Resets, slow and dead devices, and the end: hazards H6 to H18 and their sequence vectors.
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::bus::Width;
use crate::contract::RegisterError;
use crate::contract::mock::{Call, wait_until};
use crate::pci::{Command, PciDevice};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{Bench, Setup, refused};

/// Longer than any test: what takes so long is ended by the test.
const HOUR: Duration = Duration::from_secs(3600);
/// The longest deadline that a function may have.
const LONGEST: Duration = Duration::from_secs(60);

/// Whose deadlines end nothing.
fn patient() -> Bench {
    let mut setup = Setup::net();
    (setup.config.deadlines.access, setup.config.deadlines.reset) = (LONGEST, LONGEST);
    setup.build()
}

#[test]
fn f12_a_report_does_not_wait_for_a_slow_command() {
    let bench = patient();
    bench.start_intx();
    bench.model.trouble.slow("R D", HOUR);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| bench.r8(20));
        bench.model.trouble.wait_for_a_slow_one();
        assert_eq!(bench.device.report().status, 7);
        assert!(!slow.is_finished());
        bench.model.trouble.end();
    });
}

#[test]
fn f10_h15_nothing_is_kicked_or_signalled_after_a_reset() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.w8(18, 0);
    bench.log();
    bench.pump();
    assert_eq!(bench.r8(19), 0, "the signal was drained");
    assert!(!bench.vf.is_bus_master() && !bench.line.is_high());
    bench.w16(16, 0);
    assert!(bench.log().is_empty());
}

#[test]
fn f11_a_slow_reset_holds_up_its_own_vcpu_only() {
    let bench = patient();
    bench.start_intx();
    bench.model.trouble.slow("W C18.1", HOUR);
    std::thread::scope(|scope| {
        let reset = scope.spawn(|| bench.w8(18, 0));
        bench.model.trouble.wait_for_a_slow_one();
        bench.config_read(0, Width::B4);
        bench.w16(16, 0);
        bench.r8(19);
        bench.pump();
        assert!(!reset.is_finished());
        bench.model.trouble.end();
    });
}

#[test]
fn f11_a_stopping_vm_ends_the_wait() {
    let bench = patient();
    bench.start_intx();
    const READS: u64 = u64::MAX - 1;
    bench.model.reset_reads.store(READS, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| bench.w8(18, 0));
        wait_until("the reset is waited for", || {
            (1..READS).contains(&bench.model.pending_reset.load(Ordering::SeqCst))
        });
        bench.cancelled.store(true, Ordering::SeqCst);
    });
    // At its deadline it would have been a function-level reset.
    let report = bench.device.report();
    assert_eq!((report.faulted.as_deref(), report.count(DeviceCounter::FunctionResets)), (None, 0));
}

#[test]
fn f12_a_dead_pf_costs_one_deadline() {
    let mut setup = Setup::net();
    setup.config.deadlines.access = Duration::from_millis(50);
    setup.config.deadlines.reset = Duration::from_millis(80);
    let bench = setup.build();
    bench.start_intx();
    bench.model.trouble.slow("", Duration::from_secs(60));
    assert_eq!(bench.r8(20), 0xff);
    bench.log();
    assert_eq!(bench.r8(18), 7, "the last status the guest wrote");
    assert_eq!((bench.r32(0), bench.r16(14)), (0xffff_ffff, 0xffff));
    bench.w32(4, 1);
    assert!(bench.log().is_empty(), "nothing more is sent");
    let report = bench.device.report();
    assert_eq!(report.errors.get(crate::contract::FailureKind::Timeout), 1, "not once for each access");
    assert!(report.faulted.unwrap().contains("deadline"));
    bench.device.shutdown();
}

#[test]
fn f12_a_guest_reset_brings_a_function_back() {
    let bench = Bench::net();
    bench.start_intx();
    bench.model.trouble.fail("R D", RegisterError::Dead("the PF was reset"));
    bench.r8(20);
    assert!(bench.device.report().faulted.is_some());
    bench.model.trouble.end();
    bench.w8(18, 0);
    assert_eq!(bench.device.report().faulted, None);
    assert_eq!(bench.r8(20), 0x52);
}

#[test]
fn h7_a_reset_that_never_ends_becomes_a_function_level_reset() {
    let mut setup = Setup::net();
    setup.config.deadlines.reset = Duration::from_millis(30);
    let bench = setup.build();
    bench.start_intx();
    bench.model.reset_reads.store(u64::MAX, Ordering::SeqCst);
    bench.w8(18, 0);
    let report = bench.device.report();
    assert_eq!((report.count(DeviceCounter::FunctionResets), report.faulted), (1, None));
    bench.model.reset_reads.store(0, Ordering::SeqCst);
    bench.start_intx();
    assert!(bench.vf.signal(1), "hidden vectors are enabled again");
    bench.pump();
    assert_eq!(bench.r8(19), 1);
}

#[test]
fn h7_after_a_function_level_reset_the_guests_vectors_are_back() {
    let bench = Bench::net();
    bench.set_msix(true);
    bench.set_command(Command::IO | Command::BUS_MASTER);
    bench.model.trouble.fail("W C18.1", refused(1));
    bench.w8(18, 0);
    assert!(bench.vf.is_bus_master() && bench.vf.signal(3), "all four vectors signal the guest's events");
}

#[test]
fn h7_a_function_that_cannot_be_reset_is_out_of_service_without_dma() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.refuse(Some(Call::Reset));
    bench.model.trouble.fail("W C18.1", refused(1));
    bench.w8(18, 0);
    assert!(bench.device.report().faulted.unwrap().contains("cannot be reset"));
    assert!(!bench.vf.is_bus_master());
    assert_eq!(bench.r8(18), 0, "F25: Linux 3.4 stops if this is not 0");
}

/// The device was not reset: it may still write to what the guest has freed.
#[test]
fn b6_after_a_failed_function_reset_bus_mastering_stays_off_until_one_worked() {
    let bench = Bench::net();
    bench.set_command(Command::IO | Command::BUS_MASTER);
    bench.start_intx();
    assert!(bench.vf.is_bus_master());
    bench.vf.refuse(Some(Call::Reset));
    bench.model.trouble.fail("W C18.1", refused(1));
    bench.w8(18, 0);
    assert!(bench.device.report().faulted.unwrap().contains("cannot be reset"));
    assert!(!bench.vf.is_bus_master(), "after the reset that failed");
    for command in [Command::IO, Command::IO | Command::BUS_MASTER] {
        bench.set_command(command);
        assert!(!bench.vf.is_bus_master(), "after a write of COMMAND");
    }
    bench.w8(18, 0);
    assert!(!bench.vf.is_bus_master(), "after another one that failed");
    bench.vf.refuse(None);
    bench.w8(18, 0);
    assert!(bench.vf.is_bus_master() && bench.device.report().faulted.is_none());
}

#[test]
fn b6_a_reset_that_the_end_of_the_machine_cuts_short_leaves_bus_mastering_off() {
    let bench = Bench::net();
    bench.set_command(Command::IO | Command::BUS_MASTER);
    bench.start_intx();
    bench.model.reset_reads.store(u64::MAX, Ordering::SeqCst);
    bench.cancelled.store(true, Ordering::SeqCst);
    bench.w8(18, 0);
    bench.set_command(Command::IO);
    bench.set_command(Command::IO | Command::BUS_MASTER);
    assert!(!bench.vf.is_bus_master());
}

#[test]
fn f18_a_kick_does_not_wait_for_another_vcpus_command() {
    let bench = patient();
    bench.start_intx();
    bench.model.trouble.slow("R D", HOUR);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| bench.r8(20));
        bench.model.trouble.wait_for_a_slow_one();
        bench.w16(16, 1);
        assert!(!slow.is_finished());
        bench.model.trouble.end();
        assert_eq!(bench.log(), ["vf store 2+1000.2=1"]);
    });
}

#[test]
fn f25_status_after_reset_is_0_also_on_a_dead_device() {
    let mut setup = Setup::net();
    setup.config.deadlines.access = Duration::from_millis(20);
    setup.config.deadlines.reset = Duration::from_millis(20);
    let bench = setup.build();
    bench.start_intx();
    bench.model.trouble.fail("", RegisterError::Timeout);
    bench.w8(18, 0);
    assert_eq!(bench.r8(18), 0);
    assert!(bench.device.report().faulted.is_some());
    bench.w8(18, 1);
    assert_eq!(bench.r8(18), 1);
}

/// What Linux 3.4 does when its driver leaves: reset, teardown, and a status that has to be 0.
#[test]
fn h6_a_status_that_comes_back_after_a_reset_is_0_for_the_guest_and_ends_service() {
    for teardown in [false, true] {
        let bench = Bench::net();
        bench.set_command(Command::IO | Command::BUS_MASTER);
        bench.start_intx();
        bench.model.status_after_reset.store(0x0f, Ordering::SeqCst);
        bench.w8(18, 0);
        assert!(bench.device.report().faulted.is_none() && bench.vf.is_bus_master(), "nobody has looked yet");
        if teardown {
            bench.w16(14, 0);
            bench.w32(8, 0);
        }
        assert_eq!(bench.r8(18), 0, "the device says 0x0f");
        let report = bench.device.report();
        assert!(report.faulted.unwrap().contains("status is 0xf after a reset"));
        assert_eq!(
            (report.errors.get(crate::contract::FailureKind::Function), bench.vf.is_bus_master()),
            (1, false),
            "no DMA"
        );
        bench.log();
        assert_eq!((bench.r8(18), bench.log().len()), (0, 0));
        bench.w8(18, 1);
        assert_eq!(bench.r8(18), 1, "as a dead device");
        bench.model.status_after_reset.store(0, Ordering::SeqCst);
        bench.start_intx();
        let report = bench.device.report();
        assert_eq!((report.faulted.as_deref(), report.count(DeviceCounter::FunctionResets)), (None, 1));
        assert_eq!(bench.r8(18), 7);
    }
}

/// With the shadow the device is not asked; the guest sees the same.
#[test]
fn h6_a_status_that_comes_back_is_0_with_the_shadow_as_well() {
    let mut setup = Setup::net();
    setup.config.shadow = true;
    let bench = setup.build();
    bench.start_intx();
    bench.model.status_after_reset.store(0x0f, Ordering::SeqCst);
    bench.w8(18, 0);
    bench.w32(8, 0);
    assert_eq!(bench.r8(18), 0);
    bench.w8(18, 1);
    assert_eq!(bench.r8(18), 1);
}

/// The status that a modern driver wrote is not a lie: a legacy driver that comes after it sees it.
#[test]
fn h6_a_status_that_a_modern_driver_wrote_is_passed_on() {
    let bench = Bench::net();
    bench.start_intx();
    bench.model.status_after_reset.store(0x0f, Ordering::SeqCst);
    bench.w8(18, 0);
    let _ = bench.device.bar_write(2, crate::bus::Access { offset: 0x14, width: Width::B1, vcpu: 0 }, 0xf);
    assert_eq!(bench.r8(18), 0x0f);
    assert_eq!(bench.device.report().faulted, None);
}

#[test]
fn f26_a_thousand_loads_leave_nothing_behind() {
    let bench = Setup { ports: true, ..Setup::net() }.build();
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    bench.start_intx();
    let before = files();
    for _ in 0..1000 {
        bench.start_intx();
    }
    // Other tests of this process open files at the same time.
    assert!(files() < before + 500);
    assert_eq!(bench.ports.places().len(), 2);
}

#[test]
fn shutdown_leaves_nothing_running() {
    let bench = Setup { ports: true, ..Setup::net() }.build();
    bench.start_intx();
    bench.vf.signal(1);
    bench.pump();
    bench.cancelled.store(true, Ordering::SeqCst);
    bench.device.shutdown();
    assert!(!bench.line.is_high() && !bench.vf.is_bus_master());
    assert!(bench.ports.places().is_empty());
    let log = bench.log();
    let place = |what: &str| log.iter().position(|line| line.starts_with(what)).unwrap();
    assert!(place("detach") < place("vf msix off") && place("vf msix off") < place("vf reset"));
}
