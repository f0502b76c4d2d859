// SPDX-License-Identifier: Apache-2.0
//! COM1: the 16550A of vm-superio at ports 0x3f8 to 0x3ff, with an output that never makes the guest
//! wait and an input that says when it has room.
//!
//! vm-superio takes "data received" back at every read of the interrupt identification register (IIR)
//! or of a byte. On the chip that interrupt lasts as long as there is data, and drivers that take one
//! byte for each time round their IIR loop rely on it; `Port::settle` puts that right.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{LossyOutput, bytewise};
use crate::bus::{Access, Effect, IoDevice};

/// First port and number of ports.
pub const PORTS: (u64, u64) = (0x3f8, 8);

/// Register offsets.
mod register {
    pub const DATA: u8 = 0;
    pub const IER: u8 = 1;
    pub const IIR: u8 = 2;
    pub const LCR: u8 = 3;
    pub const MCR: u8 = 4;
    pub const LSR: u8 = 5;
}

/// IER: received data.
const IER_RECEIVED: u8 = 1 << 0;
/// IER: transmitter empty.
const IER_TRANSMITTED: u8 = 1 << 1;
/// IIR: the bits that say which interrupt it is.
const IIR_CAUSE: u8 = 0x0f;
/// IIR: received data; goes before "transmitter empty".
const IIR_RECEIVED: u8 = 0x04;
/// What vm-superio gives if both are pending. To a driver it means a line error.
const IIR_BOTH: u8 = 0x06;
/// LCR: the first two registers are the divisor.
const LCR_DIVISOR: u8 = 1 << 7;
/// MCR: loopback; nothing comes in from outside.
const MCR_LOOPBACK: u8 = 1 << 4;
/// LSR: there is data.
const LSR_DATA: u8 = 1 << 0;

/// The interrupt line, as edges.
struct Edges {
    event: EventFd,
    /// Set while the line is high already.
    muted: AtomicBool,
}

impl Trigger for Edges {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        if self.muted.load(Ordering::Relaxed) { Ok(()) } else { self.event.write(1) }
    }
}

type Uart = Serial<Edges, NoEvents, LossyOutput>;

/// The chip, and whether somebody outside waits for room.
struct Port {
    uart: Uart,
    refused: bool,
}

/// The device.
pub struct SerialPort {
    port: Mutex<Port>,
    room_event: EventFd,
}

impl SerialPort {
    /// A serial port that writes to `out` by way of [`LossyOutput`]. Each signal on `irq` has to make
    /// one edge on IRQ 4; give a non-blocking eventfd.
    pub fn new(irq: EventFd, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let edges = Edges { event: irq, muted: AtomicBool::new(false) };
        let uart = Serial::new(edges, LossyOutput::new("serial-out", out)?);
        let room_event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?;
        Ok(Self { port: Mutex::new(Port { uart, refused: false }), room_event })
    }

    /// How many bytes of input there is room for, 0 to 64.
    pub fn room(&self) -> usize {
        self.lock().room()
    }

    /// Gives input to the guest. Returns how many bytes were taken; if not all, stop reading the
    /// input, wait for [`Self::room_event`] and offer the rest again.
    pub fn enqueue(&self, bytes: &[u8]) -> usize {
        let mut port = self.lock();
        let taken = bytes.len().min(port.room());
        // Fails only if full, which was looked at, or if the interrupt's eventfd is at its limit, and
        // then a signal waits anyway.
        let _ = port.uart.enqueue_raw_bytes(&bytes[..taken]);
        port.refused = taken < bytes.len();
        taken
    }

    /// Signalled when the guest has taken all input, if [`Self::enqueue`] refused some before.
    pub const fn room_event(&self) -> &EventFd {
        &self.room_event
    }

    /// Bytes of output that were dropped.
    pub fn lost(&self) -> u64 {
        self.lock().uart.writer().lost()
    }

    /// Waits until all output is written or `timeout` is over; for the end of the machine. Vcpus must
    /// have stopped, for their accesses would wait too.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.lock().uart.writer().drain(timeout)
    }

    fn lock(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_room(&self, port: &mut Port) {
        if port.refused && port.room() != 0 && port.uart.read(register::LSR) & LSR_DATA == 0 {
            port.refused = false;
            let _ = self.room_event.write(1);
        }
    }
}

impl Port {
    fn room(&mut self) -> usize {
        if self.uart.read(register::MCR) & MCR_LOOPBACK != 0 { 0 } else { self.uart.fifo_capacity() }
    }

    fn has_divisor_access(&mut self) -> bool {
        self.uart.read(register::LCR) & LCR_DIVISOR != 0
    }

    fn read(&mut self, register: u8) -> u8 {
        let value = self.uart.read(register);
        match register {
            register::IIR if value & IIR_CAUSE == IIR_BOTH => {
                // One at a time: data now, and the other one stays for the next read.
                self.settle(IER_RECEIVED | IER_TRANSMITTED);
                value & !IIR_CAUSE | IIR_RECEIVED
            }
            register::IIR | register::DATA => {
                self.settle(IER_RECEIVED);
                value
            }
            _ => value,
        }
    }

    /// Makes "data received" pending again while there is data, without an edge: on the chip the line
    /// would simply have stayed high. vm-superio does it at a write of IER, which makes "transmitter
    /// empty" pending too if that is enabled; so only if no interrupts but `at_most` are enabled.
    fn settle(&mut self, at_most: u8) {
        if self.uart.read(register::LSR) & LSR_DATA == 0 || self.has_divisor_access() {
            return;
        }
        let enabled = self.uart.read(register::IER);
        if enabled & IER_RECEIVED == 0 || enabled & IER_TRANSMITTED & !at_most != 0 {
            return;
        }
        self.uart.interrupt_evt().muted.store(true, Ordering::Relaxed);
        let _ = self.uart.write(register::IER, enabled);
        self.uart.interrupt_evt().muted.store(false, Ordering::Relaxed);
    }

    fn write(&mut self, register: u8, value: u8) {
        // Errors: the output has none, and an eventfd at its limit has a signal waiting.
        let _ = self.uart.write(register, value);
        let enables_received = register == register::IER && value & IER_RECEIVED != 0 && !self.has_divisor_access();
        if enables_received && self.uart.read(register::LSR) & LSR_DATA != 0 {
            // The line goes high with the enable bit, also if the interrupt was pending without it.
            let _ = self.uart.interrupt_evt().trigger();
        }
    }
}

impl IoDevice for SerialPort {
    fn name(&self) -> &str {
        "serial"
    }

    fn read(&self, access: Access) -> u64 {
        let mut port = self.lock();
        let value = bytewise::read(access, |offset| u8::try_from(offset).map_or(0xff, |register| port.read(register)));
        self.tell_room(&mut port);
        value
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut port = self.lock();
        let effect = bytewise::write(access, value, |offset, value| {
            if let Ok(register) = u8::try_from(offset) {
                port.write(register, value);
            }
            Effect::None
        });
        self.tell_room(&mut port);
        effect
    }
}

#[cfg(test)]
#[path = "serial_tests.rs"]
mod tests;
