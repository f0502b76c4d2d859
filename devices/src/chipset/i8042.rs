// SPDX-License-Identifier: Apache-2.0
//! Ports 0x60 and 0x64: the keyboard controller, the keyboard on it, and the reset line of old PCs.
//!
//! Every command is done, and its answer readable, before the write returns. That is what makes
//! probes quick, for drivers wait for an answer that never comes much longer than for any answer
//! (Linux: 500 ms for each controller command, I8042_CTL_TIMEOUT; 200 ms for each keyboard command):
//!
//! - The [keyboard](super::keyboard) answers each byte at once. Its bytes come one by one: the next one is in the
//!   output buffer when the guest has read the one before. IRQ 1 is high while one is there to be read.
//! - The auxiliary port does not exist: the loopback command answers without the bit for auxiliary
//!   data, the interface test says "clock line stuck", and the disable bit in the command byte is
//!   stuck. Linux's `i8042_check_aux` ends at the second of these. A byte for a mouse is answered with 0xfe and the
//!   timeout bit.
//! - Address line 20 is open, whatever the output port says: no loader closes it and then relies on that.
//!
//! Sources: IBM PS/2 keyboard and auxiliary device controller reference;
//! drivers/input/serio/i8042.c of Linux 2.6.2x and 6.x; SeaBIOS src/hw/ps2port.c.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::bytewise;
use super::keyboard::Keyboard;
use super::keyboard::keys::{BREAK, released, translate};
use super::keyboard::terminal::Stroke;
use crate::bus::{Access, Effect, IoDevice};
use crate::contract::platform::IrqLine;
use crate::contract::{Saved, StateError};

/// Number of ports. Of the ones between 0x60 and 0x64, 0x61 is answered by KVM before
/// it gets here; all read as ones.
pub const PORTS: u64 = 5;

const DATA: u64 = 0;
/// Offset of the command and status port.
pub const COMMAND: u64 = 4;

/// Status register bits. "Input buffer full" is never set: no write has to wait.
mod status {
    pub(super) const OUTPUT_FULL: u8 = 1 << 0;
    pub(super) const SYSTEM: u8 = 1 << 2;
    pub(super) const LAST_WAS_COMMAND: u8 = 1 << 3;
    pub(super) const NOT_LOCKED: u8 = 1 << 4;
    pub(super) const AUX_DATA: u8 = 1 << 5;
    pub(super) const TIMEOUT: u8 = 1 << 6;
}

/// Command byte bits.
mod control {
    pub(super) const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub(super) const AUX_INTERRUPT: u8 = 1 << 1;
    pub(super) const SYSTEM: u8 = 1 << 2;
    pub(super) const KEYBOARD_DISABLED: u8 = 1 << 4;
    pub(super) const AUX_DISABLED: u8 = 1 << 5;
    pub(super) const TRANSLATE: u8 = 1 << 6;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Whose byte is in the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    Controller,
    Keyboard,
    /// There is no such device: this says so.
    Aux,
}

/// The controller and its keyboard, as one plain value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042State {
    /// The controller's memory; byte 0 is the command byte.
    memory: [u8; 32],
    output_port: u8,
    next: NextData,
    last_was_command: bool,
    /// Output buffer.
    output: Option<(u8, Source)>,
    /// A byte of the keyboard that made room for an answer of the controller.
    displaced: Option<u8>,
    last_output: u8,
    /// Translation: the key whose code comes next is released.
    is_released: bool,
    keyboard: Keyboard,
}

impl Default for I8042State {
    fn default() -> Self {
        let mut memory = [0; 32];
        memory[0] = CONTROL_DEFAULT;
        Self {
            memory,
            output_port: OUTPUT_PORT_DEFAULT,
            next: NextData::default(),
            last_was_command: false,
            output: None,
            displaced: None,
            last_output: 0,
            is_released: false,
            keyboard: Keyboard::default(),
        }
    }
}

/// The device.
pub struct I8042 {
    keyboard_irq: Arc<dyn IrqLine>,
    state: Mutex<I8042State>,
}

impl I8042 {
    /// A controller as firmware leaves it. `keyboard_irq` is IRQ 1, which is edge-triggered.
    pub fn new(keyboard_irq: Arc<dyn IrqLine>) -> Self {
        Self { keyboard_irq, state: Mutex::default() }
    }

    /// Presses and releases a key. Returns whether the keyboard had room for it; if not, nothing happened: try again
    /// when the guest has read some.
    pub fn press(&self, stroke: Stroke) -> bool {
        let mut state = self.lock();
        let has_room = state.keyboard.press(stroke);
        self.settle(&mut state);
        has_room
    }

    fn lock(&self) -> MutexGuard<'_, I8042State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills the output buffer, and drives the line under the lock, so that levels reach it in the order they came
    /// about.
    fn settle(&self, state: &mut I8042State) {
        state.fill_output();
        self.keyboard_irq.set(state.wants_interrupt());
    }
}

/// Controller and keyboard.
impl Saved for I8042 {
    type State = I8042State;

    fn state(&self) -> I8042State {
        self.lock().clone()
    }

    fn set_state(&self, state: I8042State) -> Result<(), StateError> {
        if !state.keyboard.fits() {
            return Err(StateError("the keyboard has more bytes than it has room for"));
        }
        let mut own = self.lock();
        *own = state;
        own.memory[0] = own.memory[0] & !control::AUX_INTERRUPT | control::AUX_DISABLED;
        self.settle(&mut own);
        Ok(())
    }
}

impl IoDevice for I8042 {
    fn name(&self) -> &str {
        "i8042"
    }

    fn read(&self, access: Access) -> u64 {
        let mut state = self.lock();
        bytewise::read(access, |port| match port {
            DATA => {
                let byte = state.take_output();
                // An edge for each byte: the line is low in between.
                self.keyboard_irq.set(state.wants_interrupt());
                self.settle(&mut state);
                byte
            }
            COMMAND => state.status(),
            _ => 0xff,
        })
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut state = self.lock();
        let effect = bytewise::write(access, value, |port, value| match port {
            DATA => state.write_data(value),
            COMMAND => state.write_command(value),
            _ => Effect::None,
        });
        self.settle(&mut state);
        effect
    }
}

impl I8042State {
    fn status(&self) -> u8 {
        let output = match self.output {
            None => 0,
            Some((_, Source::Aux)) => status::OUTPUT_FULL | status::AUX_DATA | status::TIMEOUT,
            Some((_, Source::Controller | Source::Keyboard)) => status::OUTPUT_FULL,
        };
        let system = if self.memory[0] & control::SYSTEM != 0 { status::SYSTEM } else { 0 };
        let last = if self.last_was_command { status::LAST_WAS_COMMAND } else { 0 };
        output | system | last | status::NOT_LOCKED
    }

    fn wants_interrupt(&self) -> bool {
        matches!(self.output, Some((_, Source::Keyboard))) && self.memory[0] & control::KEYBOARD_INTERRUPT != 0
    }

    /// Reading an empty buffer gives the last byte again.
    fn take_output(&mut self) -> u8 {
        if let Some((byte, _)) = self.output.take() {
            self.last_output = byte;
        }
        self.last_output
    }

    /// The controller's own answers do not wait. Two of them at once are one, as on the chip; of a key nothing is lost.
    fn answer(&mut self, byte: u8, source: Source) {
        if let Some((byte, Source::Keyboard)) = self.output.replace((byte, source)) {
            self.displaced = self.displaced.or(Some(byte));
        }
    }

    /// Puts the keyboard's next byte into the output buffer, if that is empty and the keyboard is let to send.
    fn fill_output(&mut self) {
        if self.output.is_some() {
            return;
        }
        if let Some(byte) = self.displaced.take() {
            self.output = Some((byte, Source::Keyboard));
            return;
        }
        if self.memory[0] & control::KEYBOARD_DISABLED != 0 {
            return;
        }
        while let Some(byte) = self.keyboard.send() {
            if let Some(byte) = self.seen_of(byte) {
                self.output = Some((byte, Source::Keyboard));
                return;
            }
        }
    }

    /// What the guest sees of a byte that the keyboard sent.
    fn seen_of(&mut self, byte: u8) -> Option<u8> {
        if self.memory[0] & control::TRANSLATE == 0 {
            return Some(byte);
        }
        if byte == BREAK {
            self.is_released = true;
            return None;
        }
        let code = translate(byte);
        Some(if std::mem::take(&mut self.is_released) { released(code) } else { code })
    }

    fn write_command(&mut self, command: u8) -> Effect {
        self.last_was_command = true;
        self.next = NextData::Keyboard;
        match command {
            0x20..=0x3f => self.answer(self.memory[usize::from(command & 0x1f)], Source::Controller),
            0x60..=0x7f => self.next = NextData::Memory(command & 0x1f),
            // Auxiliary port off and on: there is none to switch on.
            0xa7 | 0xa8 => {}
            0xa9 => self.answer(INTERFACE_CLOCK_STUCK, Source::Controller),
            0xaa => {
                self.memory[0] |= control::SYSTEM;
                self.answer(SELF_TEST_PASSED, Source::Controller);
            }
            0xab => self.answer(INTERFACE_GOOD, Source::Controller),
            0xad => self.memory[0] |= control::KEYBOARD_DISABLED,
            0xae => self.memory[0] &= !control::KEYBOARD_DISABLED,
            0xc0 => self.answer(INPUT_PORT, Source::Controller),
            0xd0 => self.answer(self.output_port, Source::Controller),
            0xd1 => self.next = NextData::OutputPort,
            0xd2 => self.next = NextData::Echo { from_keyboard: true },
            // Without an auxiliary port, the byte comes back as the controller's own.
            0xd3 => self.next = NextData::Echo { from_keyboard: false },
            0xd4 => self.next = NextData::Aux,
            0xe0 => self.answer(0, Source::Controller),
            0xf0..=0xff if command & NOT_RESET == 0 => return Effect::Reset,
            _ => {}
        }
        Effect::None
    }

    fn write_data(&mut self, value: u8) -> Effect {
        self.last_was_command = false;
        match std::mem::take(&mut self.next) {
            NextData::Keyboard => {
                // Sending to the keyboard switches its port on, as in the PS/2's controller.
                self.memory[0] &= !control::KEYBOARD_DISABLED;
                self.is_released = false;
                self.keyboard.receive(value);
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
            NextData::Echo { from_keyboard: true } => self.answer(value, Source::Keyboard),
            NextData::Echo { from_keyboard: false } => self.answer(value, Source::Controller),
            NextData::Aux => self.answer(NO_ANSWER, Source::Aux),
        }
        Effect::None
    }
}

#[cfg(test)]
#[path = "i8042_tests.rs"]
mod tests;
