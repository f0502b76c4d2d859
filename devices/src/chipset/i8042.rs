// SPDX-License-Identifier: Apache-2.0
//! Ports 0x60 and 0x64: a keyboard controller with nothing plugged in, and the reset line of old PCs.
//!
//! Every command is done, and its answer readable, before the write returns. That is what makes
//! probes quick, for drivers wait for an answer that never comes much longer than for any answer
//! (Linux: 500 ms for each controller command, I8042_CTL_TIMEOUT; 200 ms for each keyboard command):
//!
//! - A byte for the keyboard is answered with 0xfe and the timeout bit, as by a controller that finds
//!   no keyboard. Linux's atkbd and SeaBIOS then give up at once.
//! - The auxiliary port does not exist: the loopback command answers without the bit for auxiliary
//!   data, the interface test says "clock line stuck", and the disable bit in the command byte is
//!   stuck. Linux's `i8042_check_aux` ends at the second of these.
//! - No controller at all would be quicker still for `i8042_flush`, and dreadful at reboot: reads of
//!   all ones keep Linux's `kb_wait` polling for 65536 rounds before it pulses the reset line.
//!
//! Sources: IBM PS/2 keyboard and auxiliary device controller reference;
//! drivers/input/serio/i8042.c of Linux 2.6.2x and 6.x; SeaBIOS src/hw/ps2port.c.

use std::sync::{Mutex, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use super::bytewise;
use crate::bus::{Access, Effect, IoDevice};

/// First port and number of ports. Of the ones between 0x60 and 0x64, 0x61 is answered by KVM before
/// it gets here; all read as ones.
pub const PORTS: (u64, u64) = (0x60, 5);

const DATA: u64 = 0;
const COMMAND: u64 = 4;

/// Status register bits. "Input buffer full" is never set: no write has to wait.
mod status {
    pub const OUTPUT_FULL: u8 = 1 << 0;
    pub const SYSTEM: u8 = 1 << 2;
    pub const LAST_WAS_COMMAND: u8 = 1 << 3;
    pub const NOT_LOCKED: u8 = 1 << 4;
    pub const AUX_DATA: u8 = 1 << 5;
    pub const TIMEOUT: u8 = 1 << 6;
}

/// Command byte bits.
mod control {
    pub const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub const AUX_INTERRUPT: u8 = 1 << 1;
    pub const SYSTEM: u8 = 1 << 2;
    pub const KEYBOARD_DISABLED: u8 = 1 << 4;
    pub const AUX_DISABLED: u8 = 1 << 5;
    pub const TRANSLATE: u8 = 1 << 6;
}

/// What PC firmware leaves in the command byte.
const CONTROL_DEFAULT: u8 = control::KEYBOARD_INTERRUPT | control::SYSTEM | control::AUX_DISABLED | control::TRANSLATE;
/// Output port: not in reset, and address line 20 open.
const OUTPUT_PORT_DEFAULT: u8 = 0x03;
/// Bit of output port and pulse command that is the CPU's reset line, active when 0.
const NOT_RESET: u8 = 1;
const SELF_TEST_PASSED: u8 = 0x55;
const INTERFACE_GOOD: u8 = 0x00;
const INTERFACE_CLOCK_STUCK: u8 = 0x01;
/// What the controller says for a device that does not answer.
const NO_ANSWER: u8 = 0xfe;
/// Input port: keyboard not inhibited.
const INPUT_PORT: u8 = 0x80;

/// Where the next byte written to the data port goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NextData {
    #[default]
    Keyboard,
    Memory(u8),
    OutputPort,
    /// Comes back, with an interrupt if it is to look like a byte from the keyboard.
    Echo {
        from_keyboard: bool,
    },
    Aux,
}

#[derive(Debug)]
struct State {
    /// The controller's memory; byte 0 is the command byte.
    memory: [u8; 32],
    output_port: u8,
    next: NextData,
    last_was_command: bool,
    /// Output buffer: the byte, and its bits in the status register.
    output: Option<(u8, u8)>,
    last_output: u8,
}

impl Default for State {
    fn default() -> Self {
        let mut memory = [0; 32];
        memory[0] = CONTROL_DEFAULT;
        Self {
            memory,
            output_port: OUTPUT_PORT_DEFAULT,
            next: NextData::default(),
            last_was_command: false,
            output: None,
            last_output: 0,
        }
    }
}

/// The device.
pub struct I8042 {
    /// Raises IRQ 1 once for each signal.
    keyboard_irq: Option<EventFd>,
    state: Mutex<State>,
}

impl I8042 {
    /// A controller as firmware leaves it. A signal on `keyboard_irq` has to make one edge on IRQ 1;
    /// without it a driver that waits for interrupts learns only by its own timeout that there is no
    /// keyboard.
    pub fn new(keyboard_irq: Option<EventFd>) -> Self {
        Self { keyboard_irq, state: Mutex::default() }
    }

    /// Reset of the machine.
    pub fn reset(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

impl IoDevice for I8042 {
    fn name(&self) -> &str {
        "i8042"
    }

    fn read(&self, access: Access) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        bytewise::read(access, |port| match port {
            DATA => state.take_output(),
            COMMAND => state.status(),
            _ => 0xff,
        })
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut interrupt = false;
        let effect = bytewise::write(access, value, |port, value| match port {
            DATA => state.write_data(value, &mut interrupt),
            COMMAND => state.write_command(value),
            _ => Effect::None,
        });
        if interrupt && let Some(irq) = &self.keyboard_irq {
            // Fails only when 2^64 - 2 signals wait already: nothing would be lost.
            let _ = irq.write(1);
        }
        effect
    }
}

impl State {
    fn status(&self) -> u8 {
        let output = self.output.map_or(0, |(_, bits)| bits | status::OUTPUT_FULL);
        let system = if self.memory[0] & control::SYSTEM != 0 { status::SYSTEM } else { 0 };
        let last = if self.last_was_command { status::LAST_WAS_COMMAND } else { 0 };
        output | system | last | status::NOT_LOCKED
    }

    /// Reading an empty buffer gives the last byte again.
    fn take_output(&mut self) -> u8 {
        if let Some((byte, _)) = self.output.take() {
            self.last_output = byte;
        }
        self.last_output
    }

    fn answer(&mut self, byte: u8) {
        self.output = Some((byte, 0));
    }

    /// Says that a device did not answer. Returns whether that raises IRQ 1.
    fn no_answer(&mut self, bits: u8) -> bool {
        self.output = Some((NO_ANSWER, bits | status::TIMEOUT));
        bits & status::AUX_DATA == 0 && self.memory[0] & control::KEYBOARD_INTERRUPT != 0
    }

    fn write_command(&mut self, command: u8) -> Effect {
        self.last_was_command = true;
        self.next = NextData::Keyboard;
        match command {
            0x20..=0x3f => self.answer(self.memory[usize::from(command & 0x1f)]),
            0x60..=0x7f => self.next = NextData::Memory(command & 0x1f),
            // Auxiliary port off and on: there is none to switch on.
            0xa7 | 0xa8 => {}
            0xa9 => self.answer(INTERFACE_CLOCK_STUCK),
            0xaa => {
                self.memory[0] |= control::SYSTEM;
                self.answer(SELF_TEST_PASSED);
            }
            0xab => self.answer(INTERFACE_GOOD),
            0xad => self.memory[0] |= control::KEYBOARD_DISABLED,
            0xae => self.memory[0] &= !control::KEYBOARD_DISABLED,
            0xc0 => self.answer(INPUT_PORT),
            0xd0 => self.answer(self.output_port),
            0xd1 => self.next = NextData::OutputPort,
            0xd2 => self.next = NextData::Echo { from_keyboard: true },
            // Without an auxiliary port, the byte comes back as the controller's own.
            0xd3 => self.next = NextData::Echo { from_keyboard: false },
            0xd4 => self.next = NextData::Aux,
            0xe0 => self.answer(0),
            0xf0..=0xff if command & NOT_RESET == 0 => return Effect::Reset,
            _ => {}
        }
        Effect::None
    }

    fn write_data(&mut self, value: u8, interrupt: &mut bool) -> Effect {
        self.last_was_command = false;
        match std::mem::take(&mut self.next) {
            NextData::Keyboard => {
                // Sending to the keyboard switches its port on, as in the PS/2's controller.
                self.memory[0] &= !control::KEYBOARD_DISABLED;
                *interrupt |= self.no_answer(0);
            }
            NextData::Memory(0) => {
                self.memory[0] = value & !control::AUX_INTERRUPT | control::AUX_DISABLED;
            }
            NextData::Memory(index) => self.memory[usize::from(index & 0x1f)] = value,
            NextData::OutputPort => {
                self.output_port = value;
                if value & NOT_RESET == 0 {
                    return Effect::Reset;
                }
            }
            NextData::Echo { from_keyboard } => {
                self.answer(value);
                *interrupt |= from_keyboard && self.memory[0] & control::KEYBOARD_INTERRUPT != 0;
            }
            NextData::Aux => *interrupt |= self.no_answer(status::AUX_DATA),
        }
        Effect::None
    }
}

#[cfg(test)]
#[path = "i8042_tests.rs"]
mod tests;
