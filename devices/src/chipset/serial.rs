// SPDX-License-Identifier: Apache-2.0
//! COM1: the 16550A of vm-superio at ports 0x3f8 to 0x3ff, with an output that never makes the guest
//! wait and an input that says when it has room.
//!
//! vm-superio takes both its interrupts back at each read of the interrupt identification register
//! (IIR), and shows them at once if both are pending. On the chip "received data" lasts as long as
//! there is data, goes first, and hides "transmitter empty" without taking it away. Drivers that loop
//! until IIR shows nothing rely on that, so [`SerialPort`] works out IIR anew.

use std::io::{self, Write};
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
/// IIR: nothing is pending.
const IIR_NOTHING: u8 = 0x01;
/// IIR: transmitter empty.
const IIR_TRANSMITTED: u8 = 0x02;
/// IIR: received data.
const IIR_RECEIVED: u8 = 0x04;
/// LCR: the first two registers are the divisor.
const LCR_DIVISOR: u8 = 1 << 7;
/// LCR and MCR at reset, as vm-superio has them: 8 data bits; interrupts get through to the line.
const LCR_DEFAULT: u8 = 0x03;
const MCR_DEFAULT: u8 = 0x08;
/// MCR: loopback; nothing comes in from outside.
const MCR_LOOPBACK: u8 = 1 << 4;
/// LSR: there is data.
const LSR_DATA: u8 = 1 << 0;

/// The interrupt line, as edges.
struct Edges(EventFd);

impl Trigger for Edges {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

type Uart = Serial<Edges, NoEvents, LossyOutput>;

struct Port {
    uart: Uart,
    /// Interrupt enable register.
    enabled: u8,
    /// "Transmitter empty" is pending and has not been shown.
    transmitted: bool,
    /// Somebody outside waits for room.
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
        let uart = Serial::new(Edges(irq), LossyOutput::new("serial-out", out)?);
        let room_event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?;
        Ok(Self { port: Mutex::new(Port { uart, enabled: 0, transmitted: false, refused: false }), room_event })
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

    /// Reset of the machine: no interrupts, no divisor access, no loopback. Input that waits is kept, for
    /// whoever typed it does not know of the reset.
    pub fn reset(&self) {
        let mut port = self.lock();
        for (register, value) in [(register::LCR, LCR_DEFAULT), (register::IER, 0), (register::MCR, MCR_DEFAULT)] {
            port.write(register, value);
        }
        let _ = port.uart.read(register::IIR);
        port.transmitted = false;
        self.tell_room(&mut port);
    }

    fn lock(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_room(&self, port: &mut Port) {
        if port.refused && port.room() != 0 && !port.has_data() {
            port.refused = false;
            let _ = self.room_event.write(1);
        }
    }
}

impl Port {
    fn room(&mut self) -> usize {
        if self.uart.read(register::MCR) & MCR_LOOPBACK != 0 { 0 } else { self.uart.fifo_capacity() }
    }

    fn has_data(&mut self) -> bool {
        self.uart.read(register::LSR) & LSR_DATA != 0
    }

    fn read(&mut self, register: u8) -> u8 {
        match register {
            register::IIR => self.identify_interrupt(),
            other => self.uart.read(other),
        }
    }

    /// What IIR shows. Showing "transmitter empty" acknowledges it.
    fn identify_interrupt(&mut self) -> u8 {
        let value = self.uart.read(register::IIR);
        self.transmitted |= value & IIR_CAUSE & IIR_TRANSMITTED != 0;
        let cause = if self.enabled & IER_RECEIVED != 0 && self.has_data() {
            IIR_RECEIVED
        } else if std::mem::take(&mut self.transmitted) && self.enabled & IER_TRANSMITTED != 0 {
            IIR_TRANSMITTED
        } else {
            IIR_NOTHING
        };
        value & !IIR_CAUSE | cause
    }

    fn write(&mut self, register: u8, value: u8) {
        // Errors: the output has none, and an eventfd at its limit has a signal waiting.
        let _ = self.uart.write(register, value);
        if register == register::IER && self.uart.read(register::LCR) & LCR_DIVISOR == 0 {
            self.enabled = value;
            if value & IER_RECEIVED != 0 && self.has_data() {
                // The line goes high with the enable bit, also if vm-superio has told it before.
                let _ = self.uart.interrupt_evt().trigger();
            }
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
