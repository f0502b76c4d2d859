// SPDX-License-Identifier: Apache-2.0
use std::time::Instant;

use super::*;
use crate::kvm::test_guest::vm;

/// Ticks of the host's counter that a pause of these tests lasts at least.
const PAUSE: u64 = 1 << 28;

fn guest_tsc(vcpu: &KvmVcpu) -> u64 {
    let mut msrs = Msrs::from_entries(&[kvm_msr_entry { index: MSR_TSC, ..Default::default() }]).unwrap();
    assert_eq!(vcpu.fd().get_msrs(&mut msrs).unwrap(), 1);
    msrs.as_slice()[0].data
}

fn pass_time() {
    let start = host_tsc();
    while host_tsc() - start < PAUSE {
        std::thread::yield_now();
    }
}

/// What the guest sees of a pause is the time around it, as the host measures that.
#[test]
fn e17_time_stamp_counter_and_kvm_clock_stand_still() {
    let Some(vm) = vm() else { return };
    let vcpu = vm.create_vcpu(0).unwrap();
    let host_before = host_tsc();
    let guest_before = guest_tsc(&vcpu);
    let stopped = vm.stop_clock().unwrap();
    pass_time();
    let started = Instant::now();
    let ticks = vm.start_clock(&stopped).unwrap();
    let clock = vm.fd().get_clock().unwrap().clock;
    let around = started.elapsed().as_nanos() as u64; // Clock: the host's, with which the guest's is compared.
    assert!(ticks >= PAUSE);
    // KVM's clock is in nanoseconds by the host's, whose rounding may differ by a little.
    let passed = clock.saturating_sub(stopped.clock.clock);
    assert!(clock >= stopped.clock.clock && passed <= around + 1_000_000, "{passed} ns of {around}");
    if let Err(error) = vcpu.set_back_tsc(ticks) {
        eprintln!("SKIPPED in part: this KVM's time stamp counter cannot be set: {error}");
        return;
    }
    let guest = guest_tsc(&vcpu).wrapping_sub(guest_before);
    let host = host_tsc().wrapping_sub(host_before);
    assert!(guest <= host - ticks, "{guest} ticks for the guest, {host} for the host with {ticks} of pause");
}

/// By the register alone, as before Linux 5.16: both go back by the ticks, and are as close together as before. The pause
/// is longer than the second within which KVM takes two writes for one.
#[test]
fn e17_two_processors_go_back_by_the_register_alone_and_stay_together() {
    let Some(vm) = vm() else { return };
    let vcpus = [vm.create_vcpu(0).unwrap(), vm.create_vcpu(1).unwrap()];
    // Some seconds.
    let back: u64 = 1 << 34;
    // Counters seen from the host's: what KVM adds to it.
    let ahead = || vcpus.each_ref().map(|vcpu| guest_tsc(vcpu).wrapping_sub(host_tsc()) as i64);
    let before = ahead();
    for vcpu in &vcpus {
        if let Err(error) = vcpu.set_back_tsc_register(back) {
            return println!("SKIPPED: e17_two_processors_go_back_by_the_register_alone: not on this KVM: {error}");
        }
    }
    let after = ahead();
    let moved: Vec<i64> = before.iter().zip(after).map(|(before, after)| before - after).collect();
    if moved.iter().all(|ticks| *ticks < back as i64 / 4) {
        return println!(
            "SKIPPED: e17_two_processors_go_back_by_the_register_alone: this KVM does not set the counter"
        );
    }
    assert!(moved.iter().all(|ticks| (ticks - back as i64).abs() < back as i64 / 4), "{moved:?} of {back}");
    assert!((after[0] - after[1]).abs() < back as i64 / 40, "{after:?}: apart");
}

#[test]
fn e17_the_interval_timer_has_no_ticks_to_make_up_for() {
    let Some(vm) = vm() else { return };
    let mut pit = vm.fd().get_pit2().unwrap();
    (pit.channels[0].mode, pit.channels[0].count) = (2, 11_932);
    vm.fd().set_pit2(&pit).unwrap();
    let stopped = vm.stop_clock().unwrap();
    assert_eq!(vm.fd().get_pit2().unwrap().channels[0].mode, NO_MODE);
    vm.start_clock(&stopped).unwrap();
    let again = vm.fd().get_pit2().unwrap().channels[0];
    assert_eq!((again.mode, again.count), (2, 11_932));
}
