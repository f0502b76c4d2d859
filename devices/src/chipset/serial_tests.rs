// SPDX-License-Identifier: Apache-2.0
use std::io::Read;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::*;
use crate::bus::Width;

struct Rig {
    port: SerialPort,
    irq: EventFd,
    out: UnixStream,
}

impl Rig {
    fn new() -> Self {
        let irq = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).unwrap();
        let (out, writer) = UnixStream::pair().unwrap();
        out.set_nonblocking(true).unwrap();
        Self { port: SerialPort::new(irq.try_clone().unwrap(), Box::new(writer)).unwrap(), irq, out }
    }
    fn read(&self, register: u8) -> u8 {
        self.port.read(Access { offset: register.into(), width: Width::B1, vcpu: 0 }) as u8
    }
    fn write(&self, register: u8, value: u8) {
        let access = Access { offset: register.into(), width: Width::B1, vcpu: 0 };
        assert_eq!(self.port.write(access, value.into()), Effect::None);
    }
    fn has_interrupt(&self) -> bool {
        self.irq.read().is_ok()
    }
    fn has_room_event(&self) -> bool {
        self.port.room_event().read().is_ok()
    }
}

#[test]
fn what_the_guest_writes_comes_out() {
    let mut rig = Rig::new();
    for byte in *b"boot\r\n" {
        assert_eq!(rig.read(5) & 0x60, 0x60, "ready to send");
        rig.write(0, byte);
    }
    assert!(rig.port.drain(Duration::from_secs(20)));
    let mut out = [0; 16];
    let count = rig.out.read(&mut out).unwrap();
    assert_eq!(&out[..count], b"boot\r\n");
    assert_eq!(rig.port.lost(), 0);
}

#[test]
fn a_terminal_that_nobody_reads_or_that_is_gone_does_not_stop_the_guest() {
    let rig = Rig::new();
    // More than socket and buffer take together.
    for _ in 0..1 << 20 {
        rig.write(0, b'x');
    }
    assert!(rig.port.lost() > 0);
    let Rig { port, out, .. } = rig;
    drop(out);
    assert!(port.drain(Duration::from_secs(20)), "nothing is left to write: the reader is gone");
    let before = port.lost();
    let _ = port.write(Access { offset: 0, width: Width::B1, vcpu: 0 }, 0x41);
    // It is tried at once, by the thread: there may be a reader again.
    while port.lost() == before {
        std::thread::yield_now();
    }
    assert_eq!(port.lost(), before + 1);
}

#[test]
fn input_is_taken_as_far_as_there_is_room() {
    let rig = Rig::new();
    assert_eq!(rig.port.room(), 64);
    assert_eq!(rig.port.enqueue(&[b'a'; 60]), 60);
    assert_eq!(rig.port.enqueue(b"0123456789"), 4);
    assert_eq!((rig.port.room(), rig.port.enqueue(b"x")), (0, 0));
    for _ in 0..63 {
        let _ = rig.read(0);
        assert!(!rig.has_room_event(), "not before all is taken");
    }
    assert_eq!(rig.read(0), b'3');
    assert!(rig.has_room_event());
    assert_eq!(rig.port.enqueue(b"456789"), 6);
    while rig.read(5) & 1 != 0 {
        let _ = rig.read(0);
    }
    assert!(!rig.has_room_event(), "nothing was refused");
}

/// A driver that takes one byte for each time round its loop, on an edge-triggered line.
#[test]
fn received_data_stays_pending_until_all_is_read_and_makes_one_edge() {
    for enabled in [0x01, 0x03] {
        received_data_stays_pending(enabled);
    }
}

fn received_data_stays_pending(enabled: u8) {
    let rig = Rig::new();
    rig.write(1, enabled);
    let _ = (rig.read(2), rig.has_interrupt());
    assert_eq!(rig.port.enqueue(b"abc"), 3);
    assert!(rig.has_interrupt());
    let mut got = Vec::new();
    while rig.read(2) & 0x0f == 0x04 {
        got.push(rig.read(0));
    }
    assert_eq!(got, b"abc");
    assert_eq!(rig.read(2) & 0x0f, 0x01);
    assert!(!rig.has_interrupt(), "no edge while the line was high");
    assert_eq!(rig.port.enqueue(b"d"), 1);
    assert!(rig.has_interrupt(), "a new one after it was low");
}

/// Linux's console masks IER for each message; a start-up reads IIR to clear it.
#[test]
fn input_that_waits_interrupts_when_it_is_enabled_again() {
    let rig = Rig::new();
    rig.write(1, 0x01);
    assert_eq!(rig.port.enqueue(b"a"), 1);
    assert!(rig.has_interrupt());
    for reads_iir in [true, false] {
        if reads_iir {
            let _ = rig.read(2);
        }
        rig.write(1, 0x00);
        assert!(!rig.has_interrupt());
        rig.write(1, 0x01);
        assert!(rig.has_interrupt(), "IIR read before: {reads_iir}");
    }
    assert_eq!(rig.read(2) & 0x0f, 0x04);
}

#[test]
fn data_goes_before_transmitter_empty_and_neither_is_lost() {
    let rig = Rig::new();
    rig.write(1, 0x03);
    assert_eq!(rig.read(2) & 0x0f, 0x02, "transmitter empty");
    assert_eq!(rig.port.enqueue(b"a"), 1);
    rig.write(0, b'x');
    assert!(rig.has_interrupt());
    assert_eq!(rig.read(2) & 0x0f, 0x04, "never \"line error\"");
    assert_eq!(rig.read(0), b'a');
    assert_eq!(rig.read(2) & 0x0f, 0x02);
    assert_eq!(rig.read(2) & 0x0f, 0x01, "acknowledged by being shown");
    rig.write(0, b'y');
    rig.write(1, 0x01);
    assert_eq!(rig.read(2) & 0x0f, 0x01, "disabled");
    rig.write(1, 0x03);
    assert_eq!(rig.read(2) & 0x0f, 0x02, "the transmitter is always empty");
}

#[test]
fn divisor_is_left_alone_by_all_this() {
    let rig = Rig::new();
    rig.write(1, 0x01);
    assert_eq!(rig.port.enqueue(b"ab"), 2);
    rig.write(3, 0x83);
    rig.write(0, 0x01);
    rig.write(1, 0x02);
    let _ = (rig.read(2), rig.read(0));
    assert_eq!((rig.read(0), rig.read(1)), (0x01, 0x02));
    rig.write(3, 0x03);
    assert_eq!(rig.read(2) & 0x0f, 0x04, "what was written to the divisor enables and disables nothing");
    assert_eq!((rig.read(1), rig.read(0), rig.read(0)), (0x01, b'a', b'b'));
}

#[test]
fn loopback_keeps_outside_input_out_until_it_ends() {
    let rig = Rig::new();
    rig.write(4, 0x1e);
    assert_eq!(rig.read(6) & 0xf0, 0xd0, "Linux's loopback test for a 16450");
    assert_eq!((rig.port.room(), rig.port.enqueue(b"a")), (0, 0));
    rig.write(0, 0x5a);
    assert_eq!(rig.read(0), 0x5a);
    assert!(!rig.has_room_event());
    rig.write(4, 0x08);
    assert!(rig.has_room_event());
    assert_eq!(rig.port.enqueue(b"a"), 1);
}

#[test]
fn machine_reset_leaves_the_port_as_it_was_found() {
    let rig = Rig::new();
    for (register, value) in [(1, 0x03), (4, 0x1f), (3, 0x9f)] {
        rig.write(register, value);
    }
    rig.port.reset();
    assert_eq!(rig.port.enqueue(b"a"), 1, "loopback is over");
    assert_eq!([1, 2, 3, 4, 5].map(|register| rig.read(register)), [0x00, 0x01, 0x03, 0x08, 0x61]);
}

#[test]
fn wide_accesses_are_bytes() {
    let rig = Rig::new();
    let access = |offset, width| Access { offset, width, vcpu: 0 };
    assert_eq!(rig.port.write(access(3, Width::B2), 0x0b03), Effect::None);
    assert_eq!((rig.read(3), rig.read(4)), (0x03, 0x0b));
    assert_eq!(rig.port.read(access(4, Width::B4)) & 0xff, 0x0b);
}

proptest! {
    /// Whatever the guest does, input comes out in order and complete.
    #[test]
    fn random_accesses(accesses in prop::collection::vec((0_u8..8, any::<u8>(), any::<bool>()), 1..60)) {
        let rig = Rig::new();
        for (register, value, write) in accesses {
            // Not into loopback, and no output.
            let value = if register == 4 { value & !0x10 } else { value };
            if write && register != 0 {
                rig.write(register, value);
            } else if register != 0 {
                let _ = rig.read(register);
            }
        }
        rig.write(3, 3);
        prop_assert_eq!(rig.port.enqueue(b"in order"), 8);
        let mut got = Vec::new();
        while rig.read(5) & 1 != 0 {
            got.push(rig.read(0));
        }
        prop_assert_eq!(got, b"in order");
    }
}

/// Linux's `autoconfig`: IIR's upper bits follow FCR, so that it finds a 16550A; and a 16450 where the FIFOs are off.
#[test]
fn e16_iir_shows_whether_the_fifos_are_on() {
    let rig = Rig::new();
    assert_eq!(rig.read(2), 0x01, "after power-on");
    rig.write(2, 0x01);
    assert_eq!(rig.read(2), 0xc1);
    rig.write(2, 0x21);
    assert_eq!(rig.read(2), 0xc1, "no 64-byte FIFO of a 16750");
    rig.write(3, 0xbf);
    assert_ne!(rig.read(2), 0, "no EFR of a 16650");
    rig.write(3, 0x03);
    rig.write(2, 0xc6);
    assert_eq!(rig.read(2), 0x01, "without the enable bit the others say nothing");
}

#[test]
fn e16_clearing_the_fifo_drops_what_was_received() {
    let rig = Rig::new();
    rig.write(2, 0x01);
    assert_eq!(rig.port.enqueue(&[b'a'; 70]), 64);
    rig.write(2, 0x05);
    assert_eq!(rig.read(5) & 1, 1, "the other direction");
    rig.write(3, 0x83);
    rig.write(0, 0x55);
    rig.write(2, 0x03);
    assert_eq!((rig.read(5) & 1, rig.read(0)), (0, 0x55), "also while the divisor is shown, which stays");
    rig.write(3, 0x03);
    assert_eq!(rig.read(0), 0);
    assert!(rig.has_room_event(), "the rest can come");
    assert_eq!(rig.port.enqueue(b"b"), 1);
    rig.write(2, 0x00);
    assert_eq!(rig.read(5) & 1, 0, "switching them off or on empties them");
}

/// Linux's console: line status goes first; LSR tells the break once; the byte 0 behind it ends it.
#[test]
fn e18_a_break_is_told_in_its_place() {
    let rig = Rig::new();
    rig.write(2, 0x01);
    rig.write(1, 0x05);
    assert_eq!(rig.port.enqueue(b"a"), 1);
    assert!(rig.port.send_break());
    assert!(!rig.port.send_break());
    assert_eq!((rig.port.room(), rig.port.enqueue(b"h")), (0, 0), "what follows waits");
    assert_eq!((rig.read(5) & 0x11, rig.read(2) & 0x0f), (0x01, 0x04), "the byte before it");
    assert_eq!(rig.read(0), b'a');
    assert_eq!(rig.read(2) & 0x0f, 0x06);
    assert_eq!(rig.read(5) & 0x11, 0x11);
    assert_eq!((rig.read(5) & 0x11, rig.read(2) & 0x0f), (0x01, 0x04), "told");
    assert!(!rig.has_room_event());
    assert_eq!(rig.read(0), 0);
    assert!(rig.has_room_event());
    assert_eq!(rig.read(5) & 0x11, 0);
    assert_eq!(rig.port.enqueue(b"h"), 1);
    assert_eq!(rig.read(0), b'h');
    rig.write(4, 0x10);
    assert!(!rig.port.send_break(), "loopback: nothing comes in");
}

#[test]
fn e18_a_break_interrupts() {
    let rig = Rig::new();
    assert!(rig.port.send_break());
    assert!(!rig.has_interrupt(), "not enabled");
    rig.write(1, 0x04);
    assert!(rig.has_interrupt());
    let _ = (rig.read(5), rig.read(0));
    assert!(rig.port.send_break());
    assert!(rig.has_interrupt());
}

#[test]
fn e16_state_is_one_plain_value() {
    let rig = Rig::new();
    for (register, value) in [(3, 0x83), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0x01), (7, 0x5a), (1, 0x05)] {
        rig.write(register, value);
    }
    rig.port.enqueue(b"input");
    assert!(rig.port.send_break());
    let saved = serde_json::to_string(&rig.port.state()).unwrap();
    let other = Rig::new();
    other.port.enqueue(b"dropped");
    other.port.set_state(serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(other.port.state(), rig.port.state());
    assert!(other.has_interrupt(), "input waits");
    assert_eq!((other.read(2), other.read(7)), (0xc4, 0x5a));
    assert_eq!([0; 5].map(|_| other.read(0)), *b"input");
    assert_eq!(other.read(5) & 0x11, 0x11);
}
