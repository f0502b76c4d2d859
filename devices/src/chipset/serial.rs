// SPDX-License-Identifier: Apache-2.0
//! COM1: the 16550A of vm-superio at ports 0x3f8 to 0x3ff, with an output that never makes the guest
//! wait and an input that says when it has room.
//!
//! vm-superio takes both its interrupts back at each read of the interrupt identification register
//! (IIR), and shows them at once if both are pending. On the chip "received data" lasts as long as
//! there is data, goes first, and hides "transmitter empty" without taking it away. Drivers that loop
//! until IIR shows nothing rely on that, so [`SerialPort`] computes IIR itself. It knows no FIFO control register either
//! (FCR), and no break: both are added here.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{LossyOutput, bytewise};
use crate::bus::{Access, Effect, IoDevice};
use crate::contract::{Saved, StateError};

/// Number of ports.
pub const PORTS: u64 = 8;

/// Register offsets.
mod register {
    /// Received data; the divisor's low half while LCR says so.
    pub(super) const DATA: u8 = 0;
    pub(super) const IER: u8 = 1;
    pub(super) const IIR: u8 = 2;
    /// FIFO control, write-only.
    pub(super) const FCR: u8 = 2;
    pub(super) const LCR: u8 = 3;
    pub(super) const MCR: u8 = 4;
    pub(super) const LSR: u8 = 5;
    pub(super) const SCRATCH: u8 = 7;
}

/// IER: received data.
const IER_RECEIVED: u8 = 1 << 0;
/// IER: transmitter empty.
const IER_TRANSMITTED: u8 = 1 << 1;
/// IER: line status, such as a break.
const IER_LINE: u8 = 1 << 2;
/// IIR: the FIFOs are on.
const IIR_FIFOS: u8 = 0xc0;
/// IIR: the bits that say which interrupt it is.
const IIR_CAUSE: u8 = 0x0f;
/// IIR: nothing is pending.
const IIR_NOTHING: u8 = 0x01;
/// IIR: transmitter empty.
const IIR_TRANSMITTED: u8 = 0x02;
/// IIR: received data.
const IIR_RECEIVED: u8 = 0x04;
/// IIR: line status; goes before all others.
const IIR_LINE: u8 = 0x06;
/// FCR: the FIFOs are on; without it the other bits say nothing. A change empties them.
const FCR_ENABLE: u8 = 1 << 0;
/// FCR: empties the FIFO of received data.
const FCR_CLEAR_RECEIVED: u8 = 1 << 1;
/// LCR: the first two registers are the divisor.
const LCR_DIVISOR: u8 = 1 << 7;
/// LCR and MCR at reset, as vm-superio has them: 8 data bits; interrupts get through to the line.
const LCR_DEFAULT: u8 = 0x03;
const MCR_DEFAULT: u8 = 0x08;
/// MCR: loopback; nothing comes in from outside.
const MCR_LOOPBACK: u8 = 1 << 4;
/// LSR: there is data.
const LSR_DATA: u8 = 1 << 0;
/// LSR: the oldest byte is no byte but a break. Reading LSR clears it.
const LSR_BREAK: u8 = 1 << 4;

/// A break, in the order of the bytes around it. The chip has it as a byte 0 with a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Break {
    #[default]
    None,
    /// Behind all bytes that wait; nothing is taken after it before it is read.
    Waits,
    /// LSR has told it, the byte is still there.
    Told,
}

/// The port's registers and what waits for the guest, as one plain value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialPortState {
    divisor: [u8; 2],
    interrupt_enable: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    received: Vec<u8>,
    transmitted: bool,
    fifos: bool,
    break_: Break,
}

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
    /// The FIFOs are on.
    fifos: bool,
    break_: Break,
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
        let (fifos, break_) = (false, Break::None);
        let port = Port { uart, enabled: 0, fifos, break_, transmitted: false, refused: false };
        Ok(Self { port: Mutex::new(port), room_event })
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

    /// Sends a break, behind the input that waits: Linux's serial console takes the byte after it for a SysRq command.
    /// Returns whether it was taken; if not, offer it again as bytes that were refused.
    pub fn send_break(&self) -> bool {
        let mut port = self.lock();
        let has_room = port.room() != 0;
        if has_room {
            port.break_ = Break::Waits;
            if port.enabled & (IER_RECEIVED | IER_LINE) != 0 {
                port.interrupt();
            }
        }
        port.refused |= !has_room;
        has_room
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
        (port.transmitted, port.fifos) = (false, false);
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
        let is_closed = self.uart.read(register::MCR) & MCR_LOOPBACK != 0 || self.break_ != Break::None;
        if is_closed { 0 } else { self.uart.fifo_capacity() }
    }

    fn has_bytes(&mut self) -> bool {
        self.uart.read(register::LSR) & LSR_DATA != 0
    }

    fn has_data(&mut self) -> bool {
        self.has_bytes() || self.break_ != Break::None
    }

    /// Whether a break is what would be read next.
    fn is_break(&mut self, which: Break) -> bool {
        self.break_ == which && !self.has_bytes()
    }

    fn is_divisor(&mut self) -> bool {
        self.uart.read(register::LCR) & LCR_DIVISOR != 0
    }

    /// One edge of the line.
    fn interrupt(&self) {
        // Fails only when the eventfd is at its limit, and then a signal waits anyway.
        let _ = self.uart.interrupt_evt().trigger();
    }

    fn clear_received(&mut self) {
        self.break_ = Break::None;
        let line_control = self.uart.read(register::LCR);
        let _ = self.uart.write(register::LCR, line_control & !LCR_DIVISOR);
        while self.has_bytes() {
            let _ = self.uart.read(register::DATA);
        }
        let _ = self.uart.write(register::LCR, line_control);
    }

    fn read(&mut self, register: u8) -> u8 {
        match register {
            register::IIR => self.identify_interrupt(),
            register::LSR => self.line_status(),
            register::DATA if self.break_ != Break::None && !self.has_bytes() && !self.is_divisor() => {
                self.break_ = Break::None;
                0
            }
            other => self.uart.read(other),
        }
    }

    fn line_status(&mut self) -> u8 {
        let data = if self.has_data() { LSR_DATA } else { 0 };
        let is_break = self.is_break(Break::Waits);
        if is_break {
            self.break_ = Break::Told;
        }
        self.uart.read(register::LSR) | data | if is_break { LSR_BREAK } else { 0 }
    }

    /// What IIR shows. Showing "transmitter empty" acknowledges it.
    fn identify_interrupt(&mut self) -> u8 {
        let value = self.uart.read(register::IIR);
        self.transmitted |= value & IIR_CAUSE & IIR_TRANSMITTED != 0;
        let cause = if self.enabled & IER_LINE != 0 && self.is_break(Break::Waits) {
            IIR_LINE
        } else if self.enabled & IER_RECEIVED != 0 && self.has_data() {
            IIR_RECEIVED
        } else if std::mem::take(&mut self.transmitted) && self.enabled & IER_TRANSMITTED != 0 {
            IIR_TRANSMITTED
        } else {
            IIR_NOTHING
        };
        value & !IIR_CAUSE & !IIR_FIFOS | cause | if self.fifos { IIR_FIFOS } else { 0 }
    }

    fn write(&mut self, register: u8, value: u8) {
        if register == register::FCR {
            return self.control_fifos(value);
        }
        // Errors: the output has none, and an eventfd at its limit has a signal waiting.
        let _ = self.uart.write(register, value);
        if register == register::IER && !self.is_divisor() {
            self.enabled = value;
            let line = value & IER_LINE != 0 && self.is_break(Break::Waits);
            if line || value & IER_RECEIVED != 0 && self.has_data() {
                // The line goes high with the enable bit, also if vm-superio has told it before.
                self.interrupt();
            }
        }
    }

    /// The FIFO of bytes to send is always empty: there is nothing to clear. Trigger levels make no difference, as
    /// bytes that arrive interrupt at once.
    fn control_fifos(&mut self, value: u8) {
        let on = value & FCR_ENABLE != 0;
        if on != self.fifos || on && value & FCR_CLEAR_RECEIVED != 0 {
            self.clear_received();
        }
        self.fifos = on;
    }
}

/// Registers and input.
impl Saved for SerialPort {
    type State = SerialPortState;

    fn state(&self) -> SerialPortState {
        let port = self.lock();
        let uart = port.uart.state();
        SerialPortState {
            divisor: [uart.baud_divisor_low, uart.baud_divisor_high],
            interrupt_enable: port.enabled,
            line_control: uart.line_control,
            modem_control: uart.modem_control,
            scratch: uart.scratch,
            received: uart.in_buffer,
            transmitted: port.transmitted,
            fifos: port.fifos,
            break_: port.break_,
        }
    }

    /// Of more input than there is room for the rest is lost.
    fn set_state(&self, state: SerialPortState) -> Result<(), StateError> {
        let mut port = self.lock();
        port.clear_received();
        let [low, high] = state.divisor;
        // Interrupts last, so that what waits interrupts.
        for (register, value) in [
            (register::LCR, LCR_DIVISOR),
            (register::DATA, low),
            (register::IER, high),
            (register::LCR, LCR_DEFAULT),
            (register::MCR, MCR_DEFAULT),
            (register::SCRATCH, state.scratch),
        ] {
            port.write(register, value);
        }
        let taken = state.received.len().min(port.room());
        let _ = port.uart.enqueue_raw_bytes(&state.received[..taken]);
        (port.break_, port.fifos, port.refused) = (state.break_, state.fifos, false);
        for (register, value) in [
            (register::MCR, state.modem_control),
            (register::IER, state.interrupt_enable),
            (register::LCR, state.line_control),
        ] {
            port.write(register, value);
        }
        port.transmitted = state.transmitted;
        if state.transmitted {
            port.interrupt();
        }
        Ok(())
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
