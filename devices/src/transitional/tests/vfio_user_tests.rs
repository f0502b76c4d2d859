// SPDX-License-Identifier: Apache-2.0
//! The whole stack with PF and VF in "another process": each behind its vfio-user socket, the guest's
//! memory and the admin queue's mapped by their files.
use std::time::{Duration, Instant};

use crate::admin::QueueCounter;
use crate::bus::Width;
use crate::contract::mock::{PATIENCE, wait_until};
use crate::pci::PciDevice;
use crate::transitional::DeviceCounter;
use crate::transitional::tests::faulty_stack::{RING, Setup, Stack};

fn stack() -> Stack {
    Stack::new(&Setup { sockets: true, ..Setup::default() })
}

fn wait_for(stack: &mut Stack, what: &str, mut done: impl FnMut(&Stack) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(stack) {
        assert!(Instant::now() < end, "{what}; {:?}", stack.device.report());
        stack.pump(Duration::from_millis(5));
    }
}

#[test]
fn a_legacy_guest_reads_its_disk_with_intx() {
    let mut stack = stack();
    for sector in [1, 2, 63] {
        stack.run_intx(sector);
    }
    let report = stack.device.report();
    assert_eq!(report.faulted, None);
    assert!(report.count(DeviceCounter::Commands) > 20, "registers went over the PF's admin queue: {report:?}");
}

#[test]
fn a_legacy_guest_reads_its_disk_with_msix() {
    let mut stack = stack();
    stack.set_msix(true);
    stack.start();
    stack.write(14, Width::B2, 0);
    stack.write(22, Width::B2, 1);
    assert_eq!(stack.read(22, Width::B2), 1);
    stack.offer_read(7);
    stack.write(16, Width::B2, 0);
    wait_for(&mut stack, "the sector", |stack| stack.has_read(7));
}

/// The VF's own process cannot write pages that are no longer the guest's.
#[test]
fn a_reset_of_the_vf_over_the_socket_ends_its_dma() {
    let mut stack = stack();
    stack.run_intx(3);
    stack.vf.reset().unwrap();
    stack.offer_read(4);
    stack.vf.region_write(2, 0x3000, Width::B2, 0).unwrap();
    stack.pump(Duration::from_millis(50));
    assert!(!stack.has_read(4));
    assert_ne!(stack.used(), 2);
}

/// Without its process the VF is an error for the guest, without end, and one access at most waits for its deadline.
#[test]
fn a_server_that_dies_makes_the_function_fault_and_nothing_waits_twice() {
    let deadline = Duration::from_millis(300);
    let mut stack = Stack::new(&Setup { deadline, reset_deadline: deadline, sockets: true, ..Setup::default() });
    stack.run_intx(5);
    stack.servers.clear();
    stack.write(14, Width::B2, 0);
    stack.write(18, Width::B1, 0);
    let status = stack.read(18, Width::B1);
    stack.write(8, Width::B4, (RING >> 12) as u32);
    assert!(stack.driver.channel().counts().get(QueueCounter::Abandoned) <= 1, "{:?}", stack.driver.channel().counts());
    assert!(status == 0 || status == 7 || status == 0xff, "{status:#x}");
    wait_until("somebody tells that the function is gone", || stack.vf.removal_event().unwrap().read().is_ok());
    assert!(stack.vf.config_read(0, Width::B4).is_err());
    assert!(stack.device.config_read(0, Width::B4) != 0, "the guest's own configuration space is ours");
}
