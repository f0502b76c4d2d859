// SPDX-License-Identifier: Apache-2.0
//! What a driver's probe leaves in the mirror, and what a slow command does to it.
use std::sync::{Arc, Mutex};

use super::*;
use crate::bus::Width;
use crate::transitional::FaultChange;
use crate::transitional::tests::bench::{Bench, Setup};

const PATIENCE: Duration = Duration::from_millis(5);

#[test]
fn the_mirror_shows_what_the_guest_did_without_a_command() {
    let bench = Bench::net();
    let before = bench.device.mirror(PATIENCE).unwrap();
    assert_eq!((before.device_features, before.driver_features, before.queues), (None, 0, Vec::new()));
    bench.w8(18, 1);
    bench.w8(18, 3);
    let offered = bench.r32(0);
    bench.w32(4, 1 << 5 | 1 << 16);
    bench.w16(14, 1);
    assert_eq!(bench.r16(12), 256);
    bench.w32(8, 0x1234);
    bench.w8(18, 7);
    bench.log.take();
    let mirror = bench.device.mirror(PATIENCE).unwrap();
    assert!(bench.log.take().is_empty(), "looking costs no command");
    assert_eq!(mirror.device_features, Some(offered));
    assert_eq!(mirror.driver_features, 1 << 5 | 1 << 16);
    assert_eq!(mirror.driver_feature_names, ["MAC", "STATUS"]);
    assert_eq!((mirror.queue_select, mirror.device_status, mirror.msix_enabled), (1, 7, false));
    assert_eq!(mirror.device_status_names, ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK"]);
    assert_eq!(mirror.queues, [QueueMirror { index: 1, address: 0x1234, size: Some(256) }]);
}

#[test]
fn a_register_access_under_way_does_not_hold_up_who_looks() {
    let bench = Bench::net();
    let _access = bench.device.lock();
    assert_eq!(bench.device.mirror(PATIENCE), None);
}

#[test]
fn faults_and_recoveries_are_told_once_each_and_remembered() {
    let bench = Setup::net().build();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    bench.device.observe_faults(move |change| {
        log.lock().unwrap().push(match change {
            FaultChange::Faulted(reason) => reason.to_owned(),
            FaultChange::Recovered => "recovered".to_owned(),
        });
    });
    bench.device.back_end.faults().fault("one".into());
    bench.device.back_end.faults().fault("two".into());
    for _ in 0..2 {
        bench.device.back_end.faults().recover(bench.device.back_end.faults().mark());
    }
    bench.device.back_end.faults().fault("three".into());
    assert_eq!(*seen.lock().unwrap(), ["one", "recovered", "three"]);
    assert_eq!(bench.device.fault_history(), (2, Some("three".to_owned())));
    assert_eq!(bench.read(18, Width::B1), 0, "the status that the guest wrote last");
}
