// SPDX-License-Identifier: Apache-2.0
//! The shadow when accesses fail: what was known is not told any more.
use crate::contract::RegisterError;
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{Bench, Setup, counts, refused};

fn bench() -> Bench {
    let mut setup = Setup::net();
    setup.config.shadow = true;
    setup.build()
}

#[test]
fn f25_out_of_service_only_the_status_is_answered() {
    let bench = bench();
    bench.start_intx();
    assert_eq!(bench.r32(0), crate::transitional::tests::bench::NET_FEATURES);
    bench.model.trouble.fail("R D", RegisterError::Dead("the PF was reset"));
    assert_eq!(bench.r8(20), 0xff);
    assert_eq!((bench.r32(0), bench.r32(8), bench.r16(14)), (u32::MAX, u32::MAX, 0xffff));
    assert_eq!(bench.r8(18), 7);
    bench.model.trouble.end();
    bench.w8(18, 0);
    bench.log();
    assert_eq!(bench.r32(0), crate::transitional::tests::bench::NET_FEATURES);
    assert_eq!(bench.log(), ["R C0.4=380399a3"], "asked anew: it may be another PF now");
}

#[test]
fn a_write_that_failed_leaves_the_register_unknown() {
    let bench = bench();
    bench.start_intx();
    bench.model.trouble.fail("W C14.2", refused(1));
    bench.w16(14, 0);
    bench.model.trouble.end();
    bench.log();
    assert_eq!((bench.r16(14), bench.r32(8), bench.r8(18)), (1, 0x200, 7));
    assert_eq!(bench.log(), ["R C14.2=1", "R C8.4=200", "R C18.1=7"]);
}

#[test]
fn a_function_level_reset_leaves_nothing_known() {
    let bench = bench();
    bench.start_intx();
    bench.r32(0);
    bench.model.trouble.fail("W C18.1", refused(1));
    bench.w8(18, 0);
    bench.model.trouble.end();
    bench.log();
    assert_eq!((bench.r8(18), bench.r32(0)), (0, crate::transitional::tests::bench::NET_FEATURES));
    assert_eq!(bench.log(), ["R C18.1=0", "R C0.4=380399a3"]);
}

#[test]
fn a_device_that_refuses_wide_reads_of_arrays_is_read_by_bytes_from_then_on() {
    let bench = bench();
    bench.model.trouble.fail("R D0.4", refused(3));
    assert_eq!((bench.r8(20), bench.r8(21)), (0x52, 0x54));
    assert_eq!(bench.log(), ["R D0.4!", "R D0.1=52", "R D1.1=54"]);
    assert_eq!((bench.r8(24), bench.r8(20)), (0x34, 0x52));
    assert_eq!(bench.log(), ["R D4.1=34"], "and the address is still kept");
}

#[test]
fn link_status_is_asked_for_each_time_and_the_report_counts() {
    let bench = bench();
    for _ in 0..3 {
        assert_eq!((bench.r8(26), bench.r8(27)), (1, 0));
    }
    assert_eq!(bench.log(), ["R D6.2=1"; 3]);
    let kinds = [DeviceCounter::Reads, DeviceCounter::ShadowReads, DeviceCounter::Commands];
    assert_eq!(counts(&bench.device, kinds), [6, 3, 3]);
}
