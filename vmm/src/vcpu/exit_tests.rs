// SPDX-License-Identifier: Apache-2.0
//! Exits made up by hand against recording devices: no KVM, no thread.
use std::sync::atomic::Ordering;

use devices::bus::Width::{B1, B2, B4, B8};
use kvm_bindings::KVM_SYSTEM_EVENT_CRASH;

use super::*;
use crate::vcpu::test_board::Seen::{self, Read, Write};
use crate::vcpu::test_board::{MMIO, Recorder, TestBoard};

fn run(test: &TestBoard, exit: Exit<'_>) -> Outcome {
    let stats = VcpuStats::default();
    run_counted(test, exit, &stats)
}

fn run_counted(test: &TestBoard, exit: Exit<'_>, stats: &VcpuStats) -> Outcome {
    run_between(test, exit, stats, &|| true)
}

fn run_between(test: &TestBoard, exit: Exit<'_>, stats: &VcpuStats, between: &dyn Fn() -> bool) -> Outcome {
    let board = &test.board;
    let (ports, memory, remap) = (&*board.ports, &*board.memory, &*board.remap);
    let context = ExitContext { buses: Buses { ports, memory }, remap, between, stats, vcpu: 3 };
    handle_exit(exit, &context)
}

/// A machine that is to end does not wait for the rest of a page of `rep outsb`; one that is paused goes on afterwards.
#[test]
fn e18_string_instructions_look_for_a_pause_between_elements() {
    for (elements, expected) in [(2, Outcome::Interrupted), (9, Outcome::Continue)] {
        let (test, asked) = (TestBoard::new(), std::cell::Cell::new(0));
        let between = || {
            asked.set(asked.get() + 1);
            asked.get() < elements
        };
        let mut data = [7; 8];
        let exit = Exit::PortIo { port: 0xc10, size: 1, is_write: true, data: &mut data };
        assert_eq!(run_between(&test, exit, &VcpuStats::default(), &between), expected);
        assert_eq!(test.ports.seen().len(), elements.min(8));
        assert_eq!(asked.get(), elements.min(7), "not before the first");
    }
}

fn port_write(size: u8, data: &[u8]) -> Vec<Seen> {
    let test = TestBoard::new();
    let mut data = data.to_vec();
    let outcome = run(&test, Exit::PortIo { port: 0xc10, size, is_write: true, data: &mut data });
    assert_eq!(outcome, Outcome::Continue);
    test.ports.seen()
}

fn port_read(port: u16, size: u8, length: usize) -> (Vec<Seen>, Vec<u8>) {
    let test = TestBoard::new();
    let mut data = vec![0xaa; length];
    let outcome = run(&test, Exit::PortIo { port, size, is_write: false, data: &mut data });
    assert_eq!(outcome, Outcome::Continue);
    (test.ports.seen(), data)
}

#[test]
fn port_write_of_each_width_is_one_access() {
    assert_eq!(port_write(1, &[0x11]), [Write(0x10, B1, 0x11)]);
    assert_eq!(port_write(2, &[0x11, 0x22]), [Write(0x10, B2, 0x2211)]);
    assert_eq!(port_write(4, &[0x11, 0x22, 0x33, 0x44]), [Write(0x10, B4, 0x4433_2211)]);
}

#[test]
fn elements_of_a_string_go_to_the_same_port_in_order() {
    let bytes = [1, 2, 3, 4];
    assert_eq!(port_write(1, &bytes), [1, 2, 3, 4].map(|value| Write(0x10, B1, value)));
    assert_eq!(port_write(2, &bytes), [Write(0x10, B2, 0x201), Write(0x10, B2, 0x403)]);
    let (seen, data) = port_read(0xc14, 1, 4);
    assert_eq!(seen, [Read(0x14, B1); 4]);
    assert_eq!(data, [0x11; 4]);
    let (seen, data) = port_read(0xc14, 2, 4);
    assert_eq!(seen, [Read(0x14, B2); 2]);
    assert_eq!(data, [0x11, 0x22, 0x11, 0x22]);
}

#[test]
fn port_read_of_each_width_fills_just_that_width() {
    assert_eq!(port_read(0xc00, 1, 1), (vec![Read(0, B1)], vec![0x11]));
    assert_eq!(port_read(0xc00, 2, 2), (vec![Read(0, B2)], vec![0x11, 0x22]));
    assert_eq!(port_read(0xc00, 4, 4), (vec![Read(0, B4)], vec![0x11, 0x22, 0x33, 0x44]));
}

#[test]
fn nobody_at_the_port_reads_as_all_ones() {
    assert_eq!(port_read(0x1234, 2, 6), (vec![], vec![0xff; 6]));
}

#[test]
fn incomplete_element_is_not_an_access() {
    assert_eq!(port_write(2, &[1, 2, 3]), [Write(0x10, B2, 0x201)]);
    let (seen, data) = port_read(0xc00, 4, 6);
    assert_eq!(seen, [Read(0, B4)]);
    assert_eq!(data[4..], [0xff, 0xff], "nothing old is left for the guest");
    assert_eq!(port_write(1, &[]), []);
}

#[test]
fn impossible_port_width_is_reported_not_run() {
    for size in [0, 3, 5, 8, 255] {
        let test = TestBoard::new();
        let outcome = run(&test, Exit::PortIo { port: 0xc00, size, is_write: false, data: &mut [0; 16] });
        assert_eq!(outcome, Outcome::Crash(CrashCause::PortWidth { port: 0xc00, size }));
        assert_eq!(test.ports.seen(), []);
    }
}

fn mmio_write(data: &[u8]) -> Vec<Seen> {
    let test = TestBoard::new();
    let mut data = data.to_vec();
    let outcome = run(&test, Exit::Mmio { address: MMIO + 8, is_write: true, data: &mut data });
    assert_eq!(outcome, Outcome::Continue);
    test.memory.seen()
}

#[test]
fn memory_access_of_a_width_is_one_access() {
    assert_eq!(mmio_write(&[1]), [Write(8, B1, 1)]);
    assert_eq!(mmio_write(&[1, 2]), [Write(8, B2, 0x201)]);
    assert_eq!(mmio_write(&[1, 2, 3, 4]), [Write(8, B4, 0x403_0201)]);
    assert_eq!(mmio_write(&[1, 2, 3, 4, 5, 6, 7, 8]), [Write(8, B8, 0x807_0605_0403_0201)]);
}

#[test]
fn memory_access_of_another_length_goes_byte_by_byte() {
    assert_eq!(mmio_write(&[7, 8, 9]), [Write(8, B1, 7), Write(9, B1, 8), Write(10, B1, 9)]);
    assert_eq!(mmio_write(&[]), []);
    let test = TestBoard::new();
    let mut data = [0; 5];
    let outcome = run(&test, Exit::Mmio { address: MMIO + 0xfd, is_write: false, data: &mut data });
    assert_eq!(outcome, Outcome::Continue);
    assert_eq!(test.memory.seen(), [Read(0xfd, B1), Read(0xfe, B1), Read(0xff, B1)]);
    assert_eq!(data, [0x11, 0x11, 0x11, 0xff, 0xff], "behind the device is nobody");
}

#[test]
fn bytewise_access_at_the_end_of_the_address_space_wraps() {
    let test = TestBoard::new();
    let mut data = [0; 3];
    let outcome = run(&test, Exit::Mmio { address: u64::MAX, is_write: false, data: &mut data });
    assert_eq!((outcome, data), (Outcome::Continue, [0xff; 3]));
}

#[test]
fn remap_runs_between_the_elements_that_ask_for_it() {
    let test =
        TestBoard::with_ports(Recorder::new(|_| 0, |_, value| if value == 2 { Effect::Remap } else { Effect::None }));
    let outcome = run(&test, Exit::PortIo { port: 0xc00, size: 1, is_write: true, data: &mut [1, 2, 3, 2] });
    assert_eq!(outcome, Outcome::Continue);
    assert_eq!(test.remaps.load(Ordering::SeqCst), 2);
    assert_eq!(test.ports.seen().len(), 4);
}

#[test]
fn element_that_ends_the_machine_is_the_last() {
    for (effect, outcome) in [(Effect::Reset, Outcome::Reset), (Effect::PowerOff, Outcome::PowerOff)] {
        let react = move |_, value| if value == 2 { effect } else { Effect::None };
        let test = TestBoard::with_ports(Recorder::new(|_| 0, react));
        let result = run(&test, Exit::PortIo { port: 0xc00, size: 1, is_write: true, data: &mut [1, 2, 3] });
        assert_eq!(result, outcome);
        assert_eq!(test.ports.seen(), [Write(0, B1, 1), Write(0, B1, 2)]);
    }
}

#[test]
fn device_is_told_which_vcpu_it_was() {
    let test = TestBoard::with_ports(Recorder::new(|access| access.vcpu.into(), |_, _| Effect::None));
    let mut data = [0];
    let _ = run(&test, Exit::PortIo { port: 0xc00, size: 1, is_write: false, data: &mut data });
    assert_eq!(data, [3]);
}

#[test]
fn exits_without_access_have_their_outcome() {
    let test = TestBoard::new();
    assert_eq!(run(&test, Exit::Hlt), Outcome::Continue);
    assert_eq!(run(&test, Exit::Interrupted), Outcome::Interrupted);
    assert_eq!(run(&test, Exit::Shutdown), Outcome::Reset, "a triple fault resets a PC");
    assert_eq!(run(&test, Exit::SystemEvent(KVM_SYSTEM_EVENT_RESET)), Outcome::Reset);
    assert_eq!(run(&test, Exit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN)), Outcome::PowerOff);
    let crash = |exit| match run(&test, exit) {
        Outcome::Crash(cause) => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(crash(Exit::SystemEvent(KVM_SYSTEM_EVENT_CRASH)), CrashCause::SystemEvent(3));
    assert_eq!(crash(Exit::Unsupported(4)), CrashCause::Unsupported(4));
    assert_eq!(crash(Exit::FailEntry { reason: 7, cpu: 1 }), CrashCause::FailEntry { reason: 7, cpu: 1 });
    let internal = crash(Exit::InternalError { suberror: 1, data: vec![5] });
    assert_eq!(internal, CrashCause::InternalError { suberror: 1, data: vec![5] });
    let fault = crash(Exit::MemoryFault { address: 0x1000, size: 0x2000 });
    assert_eq!(fault, CrashCause::MemoryFault { address: 0x1000, size: 0x2000 });
}

#[test]
fn every_exit_is_counted_by_its_kind() {
    let (test, stats) = (TestBoard::new(), VcpuStats::default());
    let mut data = [0; 2];
    for (is_write, times) in [(false, 1), (true, 2)] {
        for _ in 0..times {
            let _ = run_counted(&test, Exit::PortIo { port: 0xc00, size: 1, is_write, data: &mut data }, &stats);
        }
        for _ in 0..times + 2 {
            let _ = run_counted(&test, Exit::Mmio { address: MMIO, is_write, data: &mut data }, &stats);
        }
    }
    (0..5).for_each(|_| drop(run_counted(&test, Exit::Hlt, &stats)));
    (0..6).for_each(|_| drop(run_counted(&test, Exit::Interrupted, &stats)));
    (0..7).for_each(|_| drop(run_counted(&test, Exit::Shutdown, &stats)));
    let expected = crate::vcpu::ExitCounts::new([1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(stats.counts(), expected);
}
