// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::mock::{Call, MockLine, MockMsi};
use crate::passthrough::testing::*;
use crate::passthrough::{InterruptUse, PassthroughCounts};

fn write(bench: &Bench, offset: u16, width: Width, value: u32) -> Effect {
    bench.device.config_write(offset, width, value)
}

fn at(offset: u64, width: Width) -> Access {
    Access { offset, width, vcpu: 0 }
}

#[test]
fn the_function_decodes_always_and_masters_the_bus_when_the_guest_says_so() {
    let bench = Bench::new();
    assert_eq!(bench.function.take_log(), ["reset", "config 4.2=3", "intx on"]);
    bench.device.place_bar(2, 0xc000_0000);
    assert_eq!(write(&bench, 4, Width::B2, 2), Effect::Remap);
    assert_eq!(bench.function.take_log(), [""; 0], "memory decoding is emulated");
    assert_eq!(write(&bench, 4, Width::B2, 6), Effect::None);
    assert_eq!(bench.function.take_log(), ["config 4.2=7"]);
    assert_eq!(write(&bench, 4, Width::B2, 4), Effect::Remap);
    assert!(bench.device.windows().is_empty());
    assert_eq!(bench.function.take_log(), [""; 0]);
}

#[test]
fn interrupts_follow_the_guest_msix_before_msi_before_the_pin() {
    let bench = Bench::new();
    bench.function.take_log();
    assert_eq!(bench.line.wired(), 1);
    let _ = write(&bench, MSI + 4, Width::B4, 0xfee0_0000);
    let _ = write(&bench, MSI + 12, Width::B2, 0x40);
    let _ = write(&bench, MSI + 2, Width::B2, 0x21);
    assert_eq!(bench.function.take_log(), ["intx off", "msi 4"]);
    assert_eq!(bench.line.wired(), 0, "the line is free");
    assert_eq!(bench.msi.routes().into_keys().collect::<Vec<_>>(), [4, 5, 6, 7]);
    let _ = write(&bench, MSI + 2, Width::B2, 0x31);
    assert_eq!(bench.function.take_log(), ["msi 0", "msi 8"]);
    let _ = write(&bench, MSIX + 2, Width::B2, 0x8000);
    assert_eq!(bench.function.take_log(), ["msi 0", "msix 4"]);
    assert_eq!(bench.device.report().interrupts, InterruptUse::Msix);
    let _ = write(&bench, MSIX + 2, Width::B2, 0);
    assert_eq!(bench.function.take_log(), ["msix off", "msi 8"]);
    let _ = write(&bench, MSI + 2, Width::B2, 0);
    assert_eq!(bench.function.take_log(), ["msi 0", "intx on"]);
    let _ = write(&bench, 4, Width::B2, 0x400);
    assert_eq!(bench.function.take_log(), ["intx off"], "COMMAND keeps the pin released");
    assert_eq!(bench.device.report().interrupts, InterruptUse::None);
}

#[test]
fn a_line_that_cannot_tell_the_end_of_an_interrupt_is_no_pin() {
    let parts = PassthroughParts {
        function: test_function(),
        msi: Arc::new(MockMsi::default()),
        irq_line: Some(Arc::new(MockLine::without_resample())),
        irq_number: 10,
    };
    let device = PassthroughDevice::new("dev", parts).unwrap();
    assert_eq!(device.config_read(0x3d, Width::B1), 0);
    assert_eq!(device.report().interrupts, InterruptUse::None);
}

#[test]
fn reads_and_writes_go_where_the_bytes_belong() {
    let bench = Bench::new();
    bench.function.take_log();
    // One byte of the header of the list is ours, two are the function's, the length among them.
    assert_eq!(bench.device.config_read(VENDOR, Width::B4), 0x0110_0000 | u32::from(VPD) << 8 | 9);
    let _ = write(&bench, VENDOR, Width::B4, 0xaabb_ccdd);
    assert_eq!(bench.function.take_log(), ["config d2.1=bb", "config d3.1=aa"]);
    let _ = write(&bench, VENDOR + 4, Width::B4, 0x1234_5678);
    assert_eq!(bench.function.take_log(), ["config d4.4=12345678"]);
    let _ = write(&bench, ALLOCATION, Width::B4, 0);
    let _ = write(&bench, 0x30, Width::B4, 0xffff_ffff);
    assert_eq!(bench.function.take_log(), [""; 0]);
    assert_eq!(bench.device.config_read(0x30, Width::B4), 0);
    assert_eq!(bench.device.config_read(0x100, Width::B4), 0, "no SR-IOV");
}

#[test]
fn the_vector_table_is_trapped_and_the_rest_reaches_the_function() {
    let bench = Bench::new();
    bench.function.take_log();
    let _ = bench.device.bar_write(2, at(0x3000, Width::B4), 0xfee0_1000);
    assert_eq!(bench.device.bar_read(2, at(0x3000, Width::B4)), 0xfee0_1000);
    assert_eq!(bench.function.take_log(), [""; 0]);
    assert_eq!(bench.device.bar_read(2, at(0x3100, Width::B2)), 0x7788);
    let _ = bench.device.bar_write(0, at(0x12, Width::B1), 7);
    assert_eq!(bench.function.take_log(), ["read 2+3100.2", "store 0+12.1=7"]);
    assert_eq!(bench.device.mappable(2).len(), 1);
}

#[test]
fn both_ways_of_a_function_level_reset_leave_it_as_after_power_on() {
    for (register, width, value) in [(EXPRESS + 8, Width::B2, 0xa810), (RESET + 4, Width::B1, 1)] {
        let bench = Bench::new();
        bench.device.place_bar(2, 0xc000_0000);
        let _ = write(&bench, 4, Width::B2, 6);
        let _ = write(&bench, MSIX + 2, Width::B2, 0x8000);
        bench.function.take_log();
        assert_eq!(write(&bench, register, width, value), Effect::Remap, "nothing is decoded any more");
        assert_eq!(bench.function.take_log(), ["msix off", "reset", "config 4.2=3", "intx on"]);
        assert_eq!(bench.device.config_read(4, Width::B2), 0);
        assert_eq!(bench.device.config_read(0x18, Width::B4) & !0xf, 0);
        assert_eq!(bench.device.config_read(MSIX + 2, Width::B2), 3);
        assert_eq!(bench.device.report().counts.get(PassthroughCounter::Resets), 1);
    }
}

/// The function was not reset: it may still write to what the guest has freed.
#[test]
fn b6_after_a_failed_reset_bus_mastering_stays_off_until_one_worked() {
    let bench = Bench::new();
    let commands = || {
        let log = bench.function.take_log();
        log.into_iter().filter(|entry| entry.starts_with("config 4.2=")).collect::<Vec<_>>()
    };
    let _ = write(&bench, 4, Width::B2, 6);
    assert_eq!(commands().last().unwrap(), "config 4.2=7");
    bench.function.refuse(Some(Call::Reset));
    let _ = write(&bench, RESET + 4, Width::B1, 1);
    assert_eq!(commands(), ["config 4.2=3"], "after the reset that failed");
    let _ = write(&bench, 4, Width::B2, 6);
    assert_eq!(commands(), [""; 0], "after a write of COMMAND");
    bench.function.refuse(None);
    let _ = write(&bench, RESET + 4, Width::B1, 1);
    let _ = write(&bench, 4, Width::B2, 6);
    assert_eq!(commands(), ["config 4.2=3", "config 4.2=7"]);
}

#[test]
fn a_function_that_fails_gives_all_ones_and_is_counted() {
    let bench = Bench::new();
    bench.function.refuse(Some(Call::All));
    assert_eq!(bench.device.bar_read(2, at(0, Width::B8)), u64::MAX);
    assert_eq!(bench.device.config_read(VPD + 4, Width::B4), u32::MAX);
    let _ = bench.device.bar_write(2, at(0, Width::B4), 0);
    assert!(bench.device.mappable(2).len() == 1);
    let report = bench.device.report();
    assert_eq!((report.counts, report.faulted), (PassthroughCounts::new([1, 1, 0, 3]), None));
}

#[test]
fn a_function_that_is_taken_away_is_quiet_and_reads_as_nothing() {
    let bench = Bench::new();
    bench.device.place_bar(2, 0xc000_0000);
    let _ = write(&bench, 4, Width::B2, 6);
    bench.function.take_log();
    bench.device.taken_away("unplugged");
    assert_eq!(bench.function.take_log(), ["config 4.2=3", "intx off"]);
    assert_eq!(bench.line.wired(), 0);
    assert!(bench.device.windows().is_empty() && bench.device.mappable(2).is_empty());
    assert_eq!(bench.device.config_read(0, Width::B4), u32::MAX);
    assert_eq!(bench.device.bar_read(2, at(0, Width::B4)), 0xffff_ffff);
    assert_eq!(write(&bench, 4, Width::B2, 7), Effect::None);
    let _ = bench.device.bar_write(2, at(0, Width::B4), 1);
    assert_eq!(bench.function.take_log(), [""; 0], "nothing of the guest reaches it");
    assert_eq!(bench.device.report().faulted.as_deref(), Some("unplugged"));
}
