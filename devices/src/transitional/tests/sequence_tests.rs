// SPDX-License-Identifier: Apache-2.0
//! Reference sequence vectors F01 to F25, as far as they concern one function.
use std::sync::atomic::Ordering;

use crate::pci::Command;
use crate::transitional::DeviceCounter;
use crate::transitional::tests::bench::{Bench, NET_FEATURES, Setup, counts};
use crate::transitional::*;

/// Lines that are not configuration writes of the VF.
fn registers(bench: &Bench) -> Vec<String> {
    bench.log().into_iter().filter(|line| !line.starts_with("vf config")).collect()
}

/// Accesses 1 to 13 of reference trace 4.2, up to the MAC address.
fn probe_to_mac(bench: &Bench) {
    bench.w8(18, 0);
    for status in [1, 3] {
        bench.r8(18);
        bench.w8(18, status);
    }
    assert_eq!(bench.r32(0), NET_FEATURES);
    bench.w32(4, 0x1003_9823);
    let mac: Vec<u32> = (20..26).map(|offset| bench.r8(offset)).collect();
    assert_eq!(mac, [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
}

/// Accesses 14 to 36, with MSI-X on.
fn probe_with_msix(bench: &Bench) {
    bench.w16(20, 0);
    assert_eq!(bench.r16(20), 0);
    for (queue, pfn) in [(0, 0x1000), (1, 0x2000)] {
        bench.set_up_queue(queue, pfn);
        bench.w16(22, queue + 1);
        assert_eq!(bench.r16(22), queue + 1);
    }
    bench.set_up_queue(2, 0x3000);
    bench.w16(16, 0);
    assert_eq!((bench.r8(30), bench.r8(31)), (1, 0));
    assert_eq!(bench.r8(18), 3);
    bench.w8(18, 7);
}

#[test]
fn f01_f02_linux_probe_is_exactly_its_commands_and_the_early_kick_starts_the_device() {
    let bench = Bench::net();
    bench.set_command(Command::IO | Command::BUS_MASTER);
    probe_to_mac(&bench);
    bench.set_msix(true);
    probe_with_msix(&bench);
    let queue = |q: u32, pfn: u32| {
        vec![format!("W C14.2={q:x}"), "R C12.2=100".into(), "R C8.4=0".into(), format!("W C8.4={pfn:x}")]
    };
    let mut expected: Vec<String> =
        ["W C18.1=0", "R C18.1=0", "R C18.1=0", "W C18.1=1", "R C18.1=1", "W C18.1=3"].map(String::from).to_vec();
    expected.extend(["R C0.4=380399a3", "W C4.4=10039823"].map(String::from));
    expected.extend(
        [(0, 0x52), (1, 0x54), (2, 0), (3, 0x12), (4, 0x34), (5, 0x56)].map(|(o, v)| format!("R D{o}.1={v:x}")),
    );
    expected.extend(["vf msix 4", "W C20.2=0", "R C20.2=0"].map(String::from));
    for (q, pfn) in [(0, 0x1000), (1, 0x2000)] {
        expected.extend(queue(q, pfn));
        expected.extend([format!("W C22.2={:x}", q + 1), format!("R C22.2={:x}", q + 1)]);
    }
    expected.extend(queue(2, 0x3000));
    expected.extend(["W C18.1=7", "vf store 2+1000.2=0"].map(String::from));
    expected.extend(["R D6.1=1", "R D7.1=0", "R C18.1=7", "W C18.1=7"].map(String::from));
    assert_eq!(registers(&bench), expected);
    let commands = expected.iter().filter(|line| line.starts_with("W ") || line.starts_with("R ")).count();
    assert_eq!(commands, 37, "35 of the trace, one look whether the reset ended, and the start at the early kick");
    let kinds = [
        DeviceCounter::KicksStored,
        DeviceCounter::KicksEarly,
        DeviceCounter::EarlyStarts,
        DeviceCounter::KicksReplayed,
    ];
    assert_eq!(counts(&bench.device, kinds), [1, 1, 1, 0]);
    assert_eq!(bench.violations(), 0);
}

#[test]
fn f03_disabling_msix_moves_the_layout_back_and_gives_hidden_vectors() {
    let bench = Bench::net();
    probe_to_mac(&bench);
    bench.set_msix(true);
    probe_with_msix(&bench);
    bench.w16(14, 1);
    bench.log();
    bench.set_msix(false);
    let log = registers(&bench);
    assert_eq!(log[0], "vf msix 4", "three queues and the configuration");
    for (queue, vector) in [(0, 1), (1, 2), (2, 3)] {
        assert!(log.contains(&format!("W C14.2={queue}")));
        assert_eq!(bench.model.queue_vector(queue), vector);
    }
    assert_eq!(bench.r16(14), 1, "the guest's selection is as it was");
    assert_eq!(bench.r8(20), 0x52);
    assert!(bench.line.is_high(), "one interrupt in case one was lost (H3)");
    assert_eq!((bench.r8(19), bench.r8(19)), (1, 0));
}

#[test]
fn f04_hidden_vector_before_the_queue_address() {
    let bench = Bench::net();
    bench.w8(18, 3);
    bench.w16(14, 0);
    bench.r16(12);
    bench.log();
    bench.w32(8, 0x1_f4a3);
    assert_eq!(bench.log(), ["vf msix 4", "W C22.2=1", "R C22.2=1", "W C8.4=1f4a3"]);
    bench.w8(18, 7);
    assert_eq!(bench.log(), ["W C20.2=0", "R C20.2=0", "W C18.1=7"]);
}

#[test]
fn f04_vectors_are_given_again_after_each_reset() {
    let bench = Bench::net();
    bench.start_intx();
    bench.w8(18, 0);
    assert_eq!(bench.model.queue_vector(0), 0xffff);
    bench.start_intx();
    assert_eq!((bench.model.queue_vector(0), bench.model.queue_vector(1)), (1, 2));
}

#[test]
fn queues_share_vectors_when_there_are_few() {
    for (vectors, expected) in [(4, [1, 2, 3]), (3, [1, 2, 1]), (2, [1, 1, 1]), (1, [0, 0, 0])] {
        let bench = Setup { vectors, ..Setup::net() }.build();
        for queue in 0..3 {
            bench.set_up_queue(queue, 0x100);
        }
        let given = [0, 1, 2].map(|queue| bench.model.queue_vector(queue));
        assert_eq!(given, expected, "{vectors} vectors");
        bench.w8(18, 7);
        assert!(bench.vf.signal(expected[2].into()));
        bench.pump();
        assert_eq!(bench.r8(19) & 1, 1, "an interrupt of queue 2 with {vectors} vectors");
    }
}

#[test]
fn a_refused_vector_is_replaced_by_a_shared_one() {
    let bench = Bench::net();
    bench.model.accepts.store(2, Ordering::SeqCst);
    bench.set_up_queue(2, 0x100);
    assert_eq!(bench.model.queue_vector(2), 1);
    bench.model.accepts.store(0, Ordering::SeqCst);
    bench.set_up_queue(1, 0x100);
    assert_eq!(bench.model.pfn(1), 0x100, "without a vector it can be polled");
    assert_eq!(bench.device.report().errors.get(crate::contract::FailureKind::Function), 1);
}

#[test]
fn f05_f06_f07_interrupt_status() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.vf.signal(2);
    bench.pump();
    assert!(bench.line.is_high());
    assert_eq!((bench.r8(19), bench.r8(19)), (1, 0), "F07: two queues, one read");
    assert!(!bench.line.is_high());
    bench.vf.signal(0);
    bench.pump();
    assert_eq!(bench.r8(19), 3, "F06: a configuration change sets both bits");
    let kinds = [DeviceCounter::QueueInterrupts, DeviceCounter::ConfigInterrupts, DeviceCounter::SpuriousInterrupts];
    assert_eq!(counts(&bench.device, kinds), [2, 1, 0]);
}

#[test]
fn f08_an_event_after_the_read_raises_the_line_again() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.pump();
    assert_eq!(bench.r8(19), 1);
    bench.vf.signal(1);
    bench.pump();
    assert!(bench.line.is_high());
    assert_eq!(bench.line.rises(), 2);
}

#[test]
fn f09_enabling_msix_drops_the_line_and_shows_no_vectors() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.pump();
    assert!(bench.line.is_high());
    bench.vf.signal(2);
    bench.set_msix(true);
    assert!(!bench.line.is_high());
    bench.pump();
    assert!(!bench.line.is_high(), "a signal from before the switch raises nothing");
    assert_eq!(bench.r8(19), 0);
    assert_eq!(bench.r16(20), 0xffff);
    for queue in 0..3 {
        bench.w16(14, queue);
        assert_eq!(bench.r16(22), 0xffff);
    }
}

#[test]
fn f09_vectors_given_to_queues_taken_down_since_are_not_seen_either() {
    let bench = Bench::net();
    bench.start_intx();
    bench.w16(14, 1);
    bench.w32(8, 0);
    bench.set_msix(true);
    assert_eq!((bench.r16(20), bench.r16(22)), (0xffff, 0xffff));
}

#[test]
fn f09_a_signal_from_before_msix_does_not_come_up_after_it() {
    let bench = Bench::net();
    bench.start_intx();
    bench.vf.signal(1);
    bench.set_msix(true);
    for queue in [0, 1] {
        bench.w16(14, queue);
        bench.w32(8, 0);
    }
    bench.set_msix(false);
    bench.pump();
    assert_eq!(bench.r8(19), 0);
}

#[test]
fn queue_address_0_may_have_reset_all_vectors() {
    let bench = Bench::net();
    bench.start_intx();
    bench.w16(14, 0);
    bench.w32(8, 0);
    bench.w32(8, 0x100);
    bench.log();
    bench.w8(18, 7);
    assert_eq!(bench.log(), ["W C20.2=0", "R C20.2=0", "W C18.1=7"]);
}

#[test]
fn f14_ipxe() {
    let bench = Bench::net();
    bench.r32(0);
    for byte in 20..26 {
        bench.r8(byte);
    }
    bench.w8(18, 0);
    bench.r8(19);
    assert!(!bench.vf.is_bus_master());
    bench.set_up_queue(0, 0x100);
    assert!(bench.vf.is_bus_master(), "before any status");
    bench.set_up_queue(1, 0x200);
    bench.w16(16, 0);
    assert_eq!(registers(&bench).last().unwrap(), "vf store 2+1000.2=0", "the early kick is passed on");
    bench.r32(0);
    bench.w32(4, 0x20);
    bench.w8(18, 6);
    assert_eq!(registers(&bench).last().unwrap(), "vf store 2+1000.2=0", "and repeated");
    for _ in 0..1000 {
        assert_eq!(bench.r8(19), 0);
    }
    assert!(bench.log().is_empty(), "polling costs no command");
}

#[test]
fn f15_f17_firmware_then_linux() {
    let bench = Bench::net();
    bench.start_intx();
    bench.w8(18, 0);
    for queue in 0..3 {
        bench.w16(14, queue);
        assert_eq!(bench.r32(8), 0);
    }
    probe_to_mac(&bench);
    assert!(bench.device.report().queues.is_empty());
}

#[test]
fn f16_a_modern_driver_costs_no_command() {
    let bench = Bench::net();
    bench.set_command(Command::MEMORY | Command::BUS_MASTER);
    bench.set_msix(true);
    bench.set_msix(false);
    assert_eq!(bench.device.report().count(DeviceCounter::Commands), 0);
}

#[test]
fn f19_nothing_comes_between_a_selection_and_its_access() {
    let bench = Bench::net();
    std::thread::scope(|scope| {
        for queue in 0..3 {
            let bench = &bench;
            scope.spawn(move || {
                for _ in 0..50 {
                    bench.w16(14, queue);
                    bench.r16(12);
                }
            });
        }
    });
    let log = bench.log();
    assert_eq!(log.len(), 300, "one command for each access, none made up");
}

#[test]
fn f20_features_after_queues() {
    let bench = Bench::net();
    bench.set_up_queue(0, 0x100);
    bench.w32(4, 0x20);
    assert_eq!(bench.model.driver_features(), 0x20);
    assert_eq!(bench.model.pfn(0), 0x100);
}

#[test]
fn f21_teardown_after_reset() {
    let bench = Bench::net();
    bench.start_intx();
    bench.w8(18, 0);
    for queue in 0..3 {
        bench.w16(14, queue);
        bench.r8(19);
        bench.w32(8, 0);
    }
    let report = bench.device.report();
    assert_eq!((report.errors, report.faulted), (crate::contract::RegisterFailures::default(), None));
}

#[test]
fn irq_msix_uses_no_vector_behind_the_guests_back() {
    let mut setup = Setup::net();
    setup.config.offer.irq_mode = IrqMode::Msix;
    let bench = setup.build();
    bench.start_intx();
    assert!(!bench.vf.signal(1));
    assert_eq!(bench.model.queue_vector(0), 0xffff);
    assert!(bench.device.pump().is_none());
    assert_eq!(bench.device.report().interrupts, InterruptReport::None);
    bench.set_msix(true);
    assert_eq!(bench.device.report().interrupts, InterruptReport::Msix);
}
