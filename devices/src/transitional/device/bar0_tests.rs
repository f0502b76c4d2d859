// SPDX-License-Identifier: Apache-2.0
//! Reference vectors B01 to B35 and D06 to D19 as register accesses. In the log, `C` is the common
//! part and `D` the device configuration: what the admin commands carry.
use std::sync::atomic::Ordering;

use super::*;
use crate::contract::NotifyAddress;
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{Bench, NET_FEATURES, Setup, refused};

/// A network card with MSI-X on.
fn msix() -> Bench {
    let bench = Bench::net();
    bench.set_msix(true);
    bench.log();
    bench
}

#[test]
fn b01_b02_features() {
    let bench = Bench::net();
    assert_eq!(bench.r32(0), NET_FEATURES);
    assert_eq!(bench.log(), ["R C0.4=380399a3"]);
    bench.w32(4, 0x1003_9823);
    assert_eq!(bench.log(), ["W C4.4=10039823"]);
}

#[test]
fn h32_features_that_were_not_offered_are_not_forwarded() {
    let mut setup = Setup::net();
    setup.features = NET_FEATURES | 1 << 30;
    let bench = setup.build();
    bench.w32(4, u32::MAX);
    assert_eq!(bench.model.driver_features(), NET_FEATURES, "also when the guest never read the features");
    assert_eq!(bench.r32(0), NET_FEATURES, "bit 30 is hidden");
}

#[test]
fn item_33_features_follow_what_the_back_end_reaches() {
    const NEEDS_MORE: u32 = 1 << 3 | 1 << 22;
    for (config_reach, seen) in [(Some(8), 0), (Some(10), 1 << 22), (None, NEEDS_MORE)] {
        let setup = Setup { features: NET_FEATURES | NEEDS_MORE, config_reach, ..Setup::net() };
        let bench = setup.build();
        assert_eq!(bench.r32(0) & NEEDS_MORE, seen, "{config_reach:?}: the capability says 17 bytes");
    }
}

#[test]
fn narrow_feature_writes_are_merged() {
    let bench = Bench::net();
    bench.w16(4, 0x9823);
    bench.w8(7, 0x10);
    bench.w8(6, 0x03);
    assert_eq!(bench.model.driver_features(), 0x1003_9823);
    assert_eq!(bench.violations(), 0);
}

#[test]
fn b03_b04_b05_b06_queue_registers() {
    let bench = Setup { line: false, ..Setup::net() }.build();
    bench.w16(14, 1);
    assert_eq!(bench.r16(12), 0x100);
    assert_eq!(bench.r32(8), 0);
    assert_eq!(bench.log(), ["W C14.2=1", "R C12.2=100", "R C8.4=0"]);
    bench.w32(8, 0x1_f4a3);
    assert_eq!(bench.log(), ["vf config 4.2=406", "W C8.4=1f4a3"], "bus mastering comes first (H11)");
    assert_eq!(bench.r32(8), 0x1_f4a3);
}

#[test]
fn queue_address_in_halves_and_bytes() {
    let bench = Setup { line: false, ..Setup::net() }.build();
    bench.w8(8, 0xa3);
    bench.w16(9, 0xffff);
    bench.w16(10, 1);
    assert!(bench.log().is_empty(), "half an address says nothing");
    bench.w16(8, 0xf4a3);
    assert_eq!(bench.model.pfn(0), 0x1_f4a3);
    bench.w16(8, 0x1111);
    bench.w16(14, 1);
    bench.w16(10, 2);
    assert_eq!(bench.model.pfn(1), 0, "halves for different queues do not make an address");
}

#[test]
fn b07_b13_reset_is_written_and_polled_until_it_ends() {
    let bench = Bench::net();
    bench.w8(18, 3);
    bench.model.reset_reads.store(3, Ordering::SeqCst);
    bench.log();
    bench.w8(18, 0);
    assert_eq!(
        bench.log(),
        ["vf config 4.2=402", "W C18.1=0", "R C18.1=3", "R C18.1=3", "R C18.1=0"],
        "no DMA from before the reset on"
    );
}

#[test]
fn b08_to_b12_status() {
    let bench = Bench::net();
    bench.w8(18, 1);
    assert_eq!(bench.log(), ["W C18.1=1"]);
    bench.w8(18, 3);
    assert_eq!(bench.log(), ["vf config 4.2=406", "W C18.1=3"]);
    assert_eq!(bench.config_read(4, Width::B2) & 4, 0, "the guest reads the bit as it wrote it");
    let bench = Setup { line: false, ..Setup::net() }.build();
    bench.w8(18, 6);
    assert_eq!(bench.log(), ["vf config 4.2=406", "W C18.1=6"], "iPXE leaves ACKNOWLEDGE out");
    bench.w8(18, 7);
    assert_eq!(bench.log(), ["W C18.1=7"]);
    assert_eq!(bench.r8(18), 7);
    assert_eq!(bench.log(), ["R C18.1=7"]);
}

#[test]
fn status_bits_of_the_modern_interface_stay_here() {
    let bench = Bench::net();
    bench.w8(18, 0x0b);
    assert_eq!(bench.r8(18), 3);
    bench.w8(18, 0x83);
    assert_eq!(bench.r8(18), 0x83, "FAILED is legacy");
    bench.log();
    bench.w8(18, 0x48);
    assert!(bench.log().is_empty(), "what is left is 0 and would be a reset");
    assert_eq!(bench.r8(18), 0x83);
}

#[test]
fn b15_isr_costs_no_command() {
    let bench = Bench::net();
    bench.start_intx();
    assert!(bench.vf.signal(1));
    bench.pump();
    assert!(bench.line.is_high());
    assert_eq!(bench.r8(19), 1);
    assert!(!bench.line.is_high());
    assert_eq!(bench.r8(19), 0);
    assert!(bench.log().is_empty());
}

#[test]
fn b16_notify_without_an_address_is_a_command() {
    let bench = Setup { notify: Vec::new(), line: false, ..Setup::net() }.build();
    bench.set_up_queue(1, 5);
    bench.log();
    bench.w16(16, 1);
    assert_eq!(bench.log(), ["W C16.2=1"]);
    assert_eq!(bench.device.report().count(DeviceCounter::KicksCommanded), 1);
}

#[test]
fn b17_notify_is_a_store() {
    let bench = Bench::net();
    bench.set_up_queue(1, 5);
    bench.log();
    bench.w16(16, 1);
    assert_eq!(bench.log(), ["vf store 2+1000.2=1"]);
}

#[test]
fn notify_in_the_owners_bar_needs_the_owner() {
    let notify = vec![NotifyAddress::Owner { bar: 4, offset: 0x8100 }];
    let bench = Setup { notify: notify.clone(), owner: true, ..Setup::net() }.build();
    bench.set_up_queue(0, 5);
    bench.log();
    bench.w16(16, 0);
    assert_eq!(bench.log(), ["pf store 4+8100.2=0"]);
    let bench = Setup { notify, ..Setup::net() }.build();
    bench.set_up_queue(0, 5);
    bench.log();
    bench.w16(16, 0);
    assert_eq!(bench.log(), ["W C16.2=0"], "the PF is another process's");
}

#[test]
fn a_notify_address_outside_its_bar_is_not_used() {
    for offset in [1 << 20, (1 << 20) - 1, 0x1001, u64::MAX] {
        let bench = Setup { notify: vec![NotifyAddress::Member { bar: 2, offset }], ..Setup::net() }.build();
        assert_eq!(bench.device.report().notify, "register", "{offset:#x}");
    }
    let bench = Setup { notify: vec![NotifyAddress::Member { bar: 2, offset: 0xffffe }], ..Setup::net() }.build();
    assert_eq!(bench.device.report().notify, "member BAR 2 + 0xffffe");
}

#[test]
fn b18_to_b22_vectors_are_forwarded_and_read_back() {
    let bench = msix();
    bench.w16(20, 0);
    assert_eq!(bench.r16(20), 0);
    bench.w16(22, 2);
    assert_eq!(bench.r16(22), 2);
    bench.w16(22, 0xffff);
    assert_eq!(bench.log(), ["W C20.2=0", "R C20.2=0", "W C22.2=2", "R C22.2=2", "W C22.2=ffff"]);
    bench.w16(20, 9);
    assert_eq!(bench.r16(20), 0xffff, "what the device kept, not what was written (H4)");
}

#[test]
fn b23_to_b29_device_configuration_has_one_offset_for_both_layouts() {
    let off = Bench::net();
    let on = msix();
    for (bench, start) in [(&off, 20), (&on, 24)] {
        assert_eq!(bench.r8(start), 0x52);
        assert_eq!(bench.r8(start + 5), 0x56);
        assert_eq!(bench.r32(start), 0x1200_5452);
        assert_eq!(bench.r16(start + 4), 0x5634);
        assert_eq!(bench.r16(start + 6), 1);
        assert_eq!(bench.r8(start + 6), 1);
        assert_eq!(bench.log(), ["R D0.1=52", "R D5.1=56", "R D0.4=12005452", "R D4.2=5634", "R D6.2=1", "R D6.1=1"]);
    }
}

#[test]
fn b30_mac_byte_write() {
    let bench = Bench::net();
    bench.w8(20, 2);
    assert_eq!(bench.log(), ["W D0.1=2"]);
}

#[test]
fn b31_mtu_is_inside_also_with_msix() {
    let bench = msix();
    assert_eq!(bench.r16(34), 0x05dc);
    assert_eq!(bench.log(), ["R D10.2=5dc"]);
}

#[test]
fn b32_b33_b34_disk() {
    let bench = Setup::blk().build();
    for byte in 0..8 {
        bench.r8(20 + byte);
    }
    assert_eq!(bench.log().len(), 8);
    assert_eq!(bench.r16(36), 0x3fff);
    assert_eq!(bench.log(), ["R D16.2=3fff"]);
    assert_eq!(bench.r32(36), 0x3f10_3fff);
    assert_eq!(bench.log(), ["R D16.2=3fff", "R D18.1=10", "R D19.1=3f"]);
}

#[test]
fn b35_a_read_across_mac_and_status() {
    let bench = Bench::net();
    assert_eq!(bench.r32(24), 0x0001_5634);
    assert_eq!(bench.log(), ["R D4.2=5634", "R D6.2=1"]);
}

#[test]
fn a_device_that_refuses_parts_of_arrays_is_read_and_written_by_bytes() {
    let bench = Bench::net();
    bench.model.trouble.fail("R D0.4", refused(3));
    bench.model.trouble.fail("W D0.4", refused(3));
    assert_eq!(bench.r32(20), 0x1200_5452);
    assert_eq!(bench.log(), ["R D0.4!", "R D0.1=52", "R D1.1=54", "R D2.1=0", "R D3.1=12"]);
    bench.w32(20, 0x0403_0201);
    assert_eq!(bench.log()[1..], ["W D0.1=1", "W D1.1=2", "W D2.1=3", "W D3.1=4"]);
}

#[test]
fn d06_d07_wide_reads_do_not_touch_the_neighbour() {
    let bench = Bench::net();
    bench.w16(14, 1);
    bench.log();
    assert_eq!(bench.r32(14), 1);
    assert_eq!(bench.r32(12), 0x100);
    assert_eq!(bench.log(), ["R C14.2=1", "R C12.2=100"]);
}

#[test]
fn d08_d11_reads_of_nothing_are_all_ones() {
    let bench = Bench::net();
    assert_eq!((bench.r32(16), bench.r16(16), bench.r8(16)), (0xffff_ffff, 0xffff, 0xff));
    assert_eq!((bench.r8(13), bench.r16(17), bench.r8(17)), (0xff, 0xffff, 0xff));
    assert!(bench.log().is_empty());
}

#[test]
fn d09_d10_wide_reads_of_status_and_isr() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.pump();
    assert_eq!(bench.r32(18), 7);
    assert!(bench.line.is_high(), "a read of status does not clear the ISR behind it");
    assert_eq!(bench.r16(19), 1);
    assert_eq!(bench.r32(19), 0);
    assert!(!bench.line.is_high());
}

#[test]
fn d12_wide_write_to_status_is_its_low_byte() {
    let bench = Bench::net();
    bench.w8(18, 1);
    bench.log();
    bench.w32(18, 0xaabb_cc00);
    assert_eq!(bench.log(), ["W C18.1=0", "R C18.1=0"]);
}

#[test]
fn d13_d14_writes_to_read_only_registers_are_ignored() {
    let bench = Bench::net();
    bench.w16(12, 64);
    bench.w8(19, 1);
    bench.w32(0, 5);
    assert!(bench.log().is_empty());
}

#[test]
fn d15_item_42_kicks_for_queues_that_are_not_set_up_are_dropped() {
    let bench = Bench::net();
    bench.start_intx();
    for queue in [700, 2, 255, 256, 0xffff] {
        bench.w16(16, queue);
    }
    assert!(bench.log().is_empty());
    assert_eq!(bench.device.report().count(DeviceCounter::KicksDropped), 5);
    bench.w16(14, 1);
    bench.w32(8, 0);
    bench.log();
    bench.w16(16, 1);
    assert!(bench.log().is_empty(), "address 0 took the queue down");
}

#[test]
fn a_queue_that_the_device_does_not_have_is_never_set_up() {
    let bench = Bench::net();
    for queue in [3, 300] {
        bench.w16(14, queue);
        bench.w32(8, 0x100);
        bench.w16(16, queue);
    }
    assert!(bench.log().iter().all(|line| !line.starts_with("W C8") && !line.contains("store")));
}

#[test]
fn reads_past_the_configuration_make_no_command() {
    let bench = Bench::net();
    assert_eq!(bench.r8(20 + 17), 0xff);
    assert_eq!(bench.r32(60), 0xffff_ffff);
    bench.w32(60, 1);
    assert!(bench.log().is_empty());
    assert_eq!(bench.r16(20 + 16), 0xff00, "one byte is there");
    assert_eq!(bench.log(), ["R D16.1=0"]);
}

#[test]
fn d18_a_refused_read_is_all_ones_and_counted() {
    let bench = Bench::net();
    bench.model.trouble.fail("R D0", refused(3));
    assert_eq!(bench.r8(20), 0xff);
    assert_eq!(bench.r8(21), 0x54, "and service goes on");
    let report = bench.device.report();
    assert_eq!((report.errors.get(crate::contract::FailureKind::Refused), report.faulted), (1, None));
}

#[test]
fn d19_a_refused_reset_becomes_a_function_level_reset() {
    let bench = Bench::net();
    bench.start_intx();
    bench.model.trouble.fail("W C18.1", refused(1));
    bench.w8(18, 0);
    assert_eq!(bench.log(), ["vf config 4.2=402", "W C18.1=0!", "vf reset", "vf config 4.2=402", "R C18.1=0"]);
    assert_eq!(bench.r8(18), 0);
    let report = bench.device.report();
    assert_eq!((report.count(DeviceCounter::FunctionResets), report.faulted), (1, None));
    assert!(report.queues.is_empty());
}
