// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use devices::bus::Width::{B1, B2, B4};
use vmm_sys_util::eventfd::EFD_NONBLOCK;

use super::*;
use crate::kvm::test_guest::TestGuest;
use crate::vcpu::test_board::Seen::Write;
use crate::vcpu::test_board::TestBoard;
use crate::vcpu::{VcpuState, Vcpus};

/// mov dx, 0xc10; then `out`s of 1 and 2 as words, 1 as a byte and as a double word; ready at 0xc20.
const KICKS: &[u8] = &[
    0xba, 0x10, 0x0c, // mov dx, 0xc10
    0x66, 0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1
    0xef, 0xef, 0xee, 0x66, 0xef, // out dx, ax (twice); out dx, al; out dx, eax
    0xb8, 0x02, 0x00, 0xef, // mov ax, 2; out dx, ax
    0xb2, 0x20, 0xec, // mov dl, 0x20; in al, dx
    0xeb, 0xe9, // jmp back
];

#[test]
fn matching_port_writes_signal_without_exit() {
    let Some(guest) = TestGuest::new(KICKS) else { return };
    let events = PortIoEvents::new(&guest.vm);
    let (one, two) = (EventFd::new(EFD_NONBLOCK).unwrap(), EventFd::new(EFD_NONBLOCK).unwrap());
    events.attach(0xc10, 1, &one).unwrap();
    events.attach(0xc10, 2, &two).unwrap();
    let test = TestBoard::new();
    let vcpus = Vcpus::start(vec![guest.boot_vcpu()], &test.board, VcpuState::Running).unwrap();
    // Byte write, double word write and read: three exits in a round, and two rounds.
    let round = test.ports.wait_for(6);
    vcpus.pause(Duration::from_secs(4)).unwrap();
    assert_eq!(round[0], Write(0x10, B1, 1));
    assert_eq!(round[1], Write(0x10, B4, 1));
    assert!(!round.iter().any(|seen| matches!(seen, Write(_, B2, _))), "words do not exit");
    assert!(one.read().unwrap() >= 4, "two words in each round");
    assert!(two.read().unwrap() >= 2);
    vcpus.stop(Duration::from_secs(4)).unwrap();
}

#[test]
fn detached_event_gets_nothing_and_the_write_exits() {
    let Some(guest) = TestGuest::new(KICKS) else { return };
    let events = PortIoEvents::new(&guest.vm);
    let event = EventFd::new(EFD_NONBLOCK).unwrap();
    events.attach(0xc10, 1, &event).unwrap();
    assert!(events.attach(0xc10, 1, &event).is_err(), "one event for one value");
    events.detach(0xc10, 1, &event).unwrap();
    assert!(events.detach(0xc10, 1, &event).is_err());
    let test = TestBoard::new();
    let vcpus = Vcpus::start(vec![guest.boot_vcpu()], &test.board, VcpuState::Running).unwrap();
    let seen = test.ports.wait_for(2);
    assert_eq!(seen[..2], [Write(0x10, B2, 1); 2]);
    assert!(event.read().is_err());
    vcpus.stop(Duration::from_secs(4)).unwrap();
}
