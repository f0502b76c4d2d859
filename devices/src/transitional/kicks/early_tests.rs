// SPDX-License-Identifier: Apache-2.0
use super::{EarlyKicks, StartAt};
use crate::bus::Width;
use crate::pci::Command;
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{Bench, Setup, counts, refused};
use crate::transitional::{DeviceType, TransitionalConfig};

fn disk() -> Bench {
    Setup { ports: true, ..Setup::blk() }.build()
}

fn net(early: EarlyKicks) -> Bench {
    let mut setup = Setup { ports: true, ..Setup::net() };
    setup.config.kicks.early = early;
    setup.build()
}

/// Status 3 and queue 0, as a driver has them when it kicks for the first time.
fn probe(bench: &Bench) {
    bench.w8(18, 3);
    bench.set_up_queue(0, 0x100);
    bench.log();
}

fn status_writes(log: &[String]) -> Vec<&str> {
    log.iter().filter(|line| line.starts_with("W C18.1")).map(String::as_str).collect()
}

#[test]
fn what_each_mode_means_for_each_device() {
    assert_eq!(TransitionalConfig::new("x").kicks.early, EarlyKicks::Auto);
    for (early, net, other) in [
        (EarlyKicks::Auto, StartAt::Features, StartAt::Once),
        (EarlyKicks::Pass, StartAt::Never, StartAt::Never),
        (EarlyKicks::Start, StartAt::Once, StartAt::Once),
    ] {
        assert_eq!(StartAt::new(early, DeviceType::Net), net);
        for device in [DeviceType::Block, DeviceType::Console, DeviceType::Scsi, DeviceType::Balloon] {
            assert_eq!(StartAt::new(early, device), other, "{device:?}");
        }
    }
}

#[test]
fn the_first_kick_starts_the_device_and_then_rings() {
    let bench = disk();
    probe(&bench);
    bench.w16(16, 0);
    let log = bench.log();
    let at = |what: &str| log.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {log:?}"));
    assert!(at("W C20.2=") < at("W C18.1=7"), "the vector for configuration changes is there before");
    assert!(at("W C18.1=7") < at("attach") && at("attach") < at("vf store 2+1000.2=0"), "{log:?}");
    assert_eq!(bench.ports.places(), [(0xc010, 0)], "from now on without an exit");
    assert_eq!(bench.r8(18), 3, "the guest's own status");
    bench.w16(16, 0);
    assert!(status_writes(&bench.log()).is_empty(), "once");
}

#[test]
fn the_guests_own_driver_ok_is_written_and_nothing_is_repeated() {
    let bench = disk();
    probe(&bench);
    bench.w16(16, 0);
    bench.log();
    bench.w32(4, 0);
    bench.w8(18, 7);
    assert_eq!(status_writes(&bench.log()), ["W C18.1=7"]);
    assert_eq!(bench.r8(18), 7);
    assert_eq!(bench.device.report().count(DeviceCounter::KicksReplayed), 0);
    bench.w8(18, 3);
    assert_eq!(status_writes(&bench.log()), ["W C18.1=3"], "what the driver takes back is taken back");
    assert!(bench.ports.places().is_empty());
}

#[test]
fn other_status_bits_keep_the_device_running() {
    let bench = disk();
    probe(&bench);
    bench.w16(16, 0);
    bench.log();
    bench.w8(18, 0x83);
    assert_eq!(status_writes(&bench.log()), ["W C18.1=87"]);
    assert_eq!(bench.r8(18), 0x83);
}

#[test]
fn a_reset_ends_it() {
    let bench = disk();
    probe(&bench);
    bench.w16(16, 0);
    bench.w8(18, 0);
    assert!(bench.ports.places().is_empty());
    assert_eq!(bench.r8(18), 0);
    bench.w8(18, 1);
    bench.log();
    probe(&bench);
    assert_eq!(bench.r8(18), 3);
    bench.w16(16, 0);
    assert_eq!(status_writes(&bench.log()), ["W C18.1=7"], "and the next driver has its own");
    let kinds = [DeviceCounter::KicksEarly, DeviceCounter::EarlyStarts];
    assert_eq!(counts(&bench.device, kinds), [2, 2]);
}

#[test]
fn before_any_status_the_guest_still_reads_0() {
    let bench = disk();
    bench.w8(18, 0);
    bench.set_up_queue(0, 0x100);
    bench.log();
    bench.w16(16, 0);
    assert_eq!(status_writes(&bench.log()), ["W C18.1=4"]);
    assert_eq!(bench.r8(18), 0);
    assert_eq!(bench.device.report().faulted, None, "that is no reset that did not hold");
}

#[test]
fn a_card_is_started_only_after_its_features() {
    let bench = net(EarlyKicks::Auto);
    probe(&bench);
    bench.set_up_queue(1, 0x200);
    bench.log();
    bench.w16(16, 0);
    assert_eq!(bench.log(), ["vf store 2+1000.2=0"], "passed on and remembered");
    bench.w32(4, 0x20);
    bench.log();
    bench.w16(16, 1);
    let log = bench.log();
    let stores: Vec<_> = log.iter().filter(|line| line.contains("store")).collect();
    assert_eq!(stores, ["vf store 2+1000.2=0", "vf store 2+1000.2=1"], "the remembered one first");
    assert_eq!(status_writes(&log), ["W C18.1=7"]);
    let kinds = [DeviceCounter::KicksEarly, DeviceCounter::KicksReplayed, DeviceCounter::EarlyStarts];
    assert_eq!(counts(&bench.device, kinds), [2, 1, 1]);
    // The features of one driver are not those of the next.
    bench.w8(18, 0);
    probe(&bench);
    bench.w16(16, 0);
    assert!(status_writes(&bench.log()).is_empty());
}

#[test]
fn early_start_starts_a_card_at_once_and_early_pass_never() {
    for (early, expected) in [(EarlyKicks::Start, vec!["W C18.1=7"]), (EarlyKicks::Pass, vec![])] {
        let bench = net(early);
        probe(&bench);
        bench.w16(16, 0);
        assert_eq!(status_writes(&bench.log()), expected);
        bench.w32(4, 0x20);
        bench.w16(16, 0);
        assert!(status_writes(&bench.log()).is_empty());
    }
}

#[test]
fn a_kick_of_a_queue_that_is_not_set_up_starts_nothing() {
    let bench = disk();
    probe(&bench);
    for queue in [1, 7, 0xffff] {
        bench.w16(16, queue);
    }
    assert!(bench.log().is_empty());
    assert_eq!(bench.device.report().count(DeviceCounter::KicksDropped), 3);
}

#[test]
fn a_start_that_fails_still_rings_and_is_tried_again() {
    let bench = disk();
    probe(&bench);
    bench.model.trouble.fail("W C18.1", refused(1));
    bench.w16(16, 0);
    let log = bench.log();
    assert_eq!(log.iter().filter(|line| line.contains("store")).count(), 1, "{log:?}");
    assert!(bench.ports.places().is_empty());
    assert_eq!((bench.r8(18), bench.device.report().count(DeviceCounter::EarlyStarts)), (3, 0));
    bench.model.trouble.end();
    bench.w16(16, 0);
    assert_eq!(status_writes(&bench.log()), ["W C18.1=7"]);
    assert_eq!(bench.device.report().count(DeviceCounter::KicksReplayed), 1, "the one that may have been lost");
}

#[test]
fn a_device_that_may_have_lost_its_driver_ok_is_started_again() {
    let lose: [fn(&Bench); 2] = [
        |bench| {
            bench.w16(14, 1);
            bench.w32(8, 0);
            bench.w16(14, 0);
        },
        |bench| {
            bench.set_command(Command::IO | Command::MEMORY | Command::BUS_MASTER);
            bench.set_command(Command::IO | Command::MEMORY);
            bench.set_command(Command::IO | Command::MEMORY | Command::BUS_MASTER);
        },
    ];
    for lose in lose {
        let bench = disk();
        probe(&bench);
        bench.w16(16, 0);
        lose(&bench);
        assert_eq!(bench.r8(18), 3);
        bench.log();
        bench.w16(16, 0);
        assert_eq!(status_writes(&bench.log()), ["W C18.1=7"]);
    }
}

#[test]
fn without_a_doorbell_the_kick_is_a_command_after_the_status() {
    let bench = Setup { notify: vec![], ..Setup::blk() }.build();
    probe(&bench);
    bench.write(16, Width::B2, 0);
    let log = bench.log();
    let at = |what: &str| log.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {log:?}"));
    assert!(at("W C18.1=7") < at("W C16.2=0"));
}
