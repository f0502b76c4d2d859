// SPDX-License-Identifier: Apache-2.0
//! A keyboard as it is at its end of the cable: it takes commands from the keyboard controller, answers them, and
//! sends the codes of keys. Pure: it knows neither ports nor interrupts, which are the
//! [controller](super::i8042)'s.
//!
//! | module | has |
//! | --- | --- |
//! | [`keys`] | the keys and their scan codes |
//! | [`terminal`] | what is typed at a terminal, as keys |
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards"; what drivers wait for:
//! drivers/input/keyboard/atkbd.c and drivers/input/serio/libps2.c of Linux, src/hw/ps2port.c of SeaBIOS.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub mod keys;
pub mod terminal;

use keys::{Key, ScanCodeSet};
use terminal::Stroke;

/// Bytes of key codes that wait for the guest. A keyboard has 16; whoever types here cannot see that it is full.
const BUFFER: usize = 64;

/// What the keyboard sends.
mod answer {
    pub(super) const ECHO: u8 = 0xee;
    pub(super) const ACKNOWLEDGE: u8 = 0xfa;
    pub(super) const RESEND: u8 = 0xfe;
    pub(super) const SELF_TEST_PASSED: u8 = 0xaa;
    /// An enhanced AT keyboard ("MF2").
    pub(super) const ID: [u8; 2] = [0xab, 0x83];
}

/// What the controller sends.
mod command {
    pub(super) const SET_LEDS: u8 = 0xed;
    pub(super) const ECHO: u8 = 0xee;
    pub(super) const SCAN_CODE_SET: u8 = 0xf0;
    pub(super) const IDENTIFY: u8 = 0xf2;
    pub(super) const TYPEMATIC: u8 = 0xf3;
    pub(super) const ENABLE: u8 = 0xf4;
    pub(super) const DISABLE: u8 = 0xf5;
    pub(super) const DEFAULTS: u8 = 0xf6;
    /// Set 3: kinds of all keys, which are accepted and make no difference.
    pub(super) const FIRST_ALL_KEYS: u8 = 0xf7;
    pub(super) const LAST_ALL_KEYS: u8 = 0xfa;
    /// Set 3: kinds of the keys that follow, likewise.
    pub(super) const FIRST_SOME_KEYS: u8 = 0xfb;
    pub(super) const LAST_SOME_KEYS: u8 = 0xfd;
    pub(super) const RESEND: u8 = 0xfe;
    pub(super) const RESET: u8 = 0xff;
}

/// What the next byte from the controller is, if it is not a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Parameter {
    #[default]
    None,
    Leds,
    ScanCodeSet,
    Typematic,
    /// Scan codes, until a command comes.
    Keys,
}

/// The keyboard. Its state is this plain value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    set: ScanCodeSet,
    /// Whether keys are looked at.
    scanning: bool,
    /// Scroll Lock, Num Lock, Caps Lock from bit 0 on.
    leds: u8,
    parameter: Parameter,
    /// Answers to the last command; they go before keys.
    answers: VecDeque<u8>,
    /// Codes of keys.
    codes: VecDeque<u8>,
    /// For command "resend".
    last: u8,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            set: ScanCodeSet::default(),
            scanning: true,
            leds: 0,
            parameter: Parameter::None,
            answers: VecDeque::new(),
            codes: VecDeque::new(),
            last: 0,
        }
    }
}

impl Keyboard {
    /// Presses and releases a key, with its modifiers around it. Returns whether there was room for all of that;
    /// if not, nothing happened. A keyboard that does not scan loses what is typed.
    pub fn press(&mut self, stroke: Stroke) -> bool {
        if !self.scanning {
            return true;
        }
        let modifiers = stroke.modifiers;
        let held = [
            (modifiers.ctrl, Key::CTRL),
            (modifiers.alt || modifiers.sys_rq, Key::ALT),
            (modifiers.sys_rq, Key::SYS_RQ),
            (modifiers.shift, Key::SHIFT),
        ];
        let held = held.into_iter().filter_map(|(is_down, key)| is_down.then_some(key));
        let downs = held.clone().chain([stroke.key]);
        let ups = [stroke.key].into_iter().chain(held.rev());
        let before = self.codes.len();
        self.codes.extend(downs.flat_map(|key| key.codes(self.set, true)));
        self.codes.extend(ups.flat_map(|key| key.codes(self.set, false)));
        let has_room = self.codes.len() <= BUFFER;
        if !has_room {
            self.codes.truncate(before);
        }
        has_room
    }

    /// Whether it can have come about: bytes wait in a buffer of some size.
    pub fn fits(&self) -> bool {
        self.codes.len() <= BUFFER && self.answers.len() <= BUFFER
    }

    /// The next byte for the controller.
    pub fn send(&mut self) -> Option<u8> {
        let byte = self.answers.pop_front().or_else(|| self.codes.pop_front())?;
        if byte != answer::RESEND {
            self.last = byte;
        }
        Some(byte)
    }

    /// Takes a byte from the controller. A command ends the answer to the one before.
    pub fn receive(&mut self, byte: u8) {
        self.answers.clear();
        let parameter = std::mem::take(&mut self.parameter);
        if parameter == Parameter::None || byte >= command::SET_LEDS {
            return self.command(byte);
        }
        self.answer(&[answer::ACKNOWLEDGE]);
        match parameter {
            Parameter::Leds => self.leds = byte & 0x07,
            Parameter::ScanCodeSet => match byte {
                0 => self.answers.push_back(self.set as u8),
                1 => self.select(ScanCodeSet::One),
                2 => self.select(ScanCodeSet::Two),
                3 => self.select(ScanCodeSet::Three),
                _ => self.answer(&[answer::RESEND]),
            },
            Parameter::Keys => self.parameter = Parameter::Keys,
            // Nothing repeats: a terminal sends each repetition of a key as a byte.
            Parameter::Typematic | Parameter::None => {}
        }
    }

    fn command(&mut self, byte: u8) {
        self.answer(&[answer::ACKNOWLEDGE]);
        match byte {
            command::SET_LEDS => self.parameter = Parameter::Leds,
            command::ECHO => self.answer(&[answer::ECHO]),
            command::SCAN_CODE_SET => self.parameter = Parameter::ScanCodeSet,
            command::IDENTIFY => self.answers.extend(answer::ID),
            command::TYPEMATIC => self.parameter = Parameter::Typematic,
            command::ENABLE => {
                self.codes.clear();
                self.scanning = true;
            }
            command::DISABLE => {
                self.defaults();
                self.scanning = false;
            }
            command::DEFAULTS => self.defaults(),
            command::FIRST_ALL_KEYS..=command::LAST_ALL_KEYS => {}
            command::FIRST_SOME_KEYS..=command::LAST_SOME_KEYS => self.parameter = Parameter::Keys,
            command::RESEND => self.answer(&[self.last]),
            command::RESET => {
                *self = Self { last: self.last, ..Self::default() };
                self.answer(&[answer::ACKNOWLEDGE, answer::SELF_TEST_PASSED]);
            }
            _ => self.answer(&[answer::RESEND]),
        }
    }

    /// Everything as after power-on but whether keys are looked at.
    fn defaults(&mut self) {
        self.select(ScanCodeSet::default());
        self.codes.clear();
    }

    /// Codes of another set would mean other keys now.
    fn select(&mut self, set: ScanCodeSet) {
        self.set = set;
        self.codes.clear();
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.answers.clear();
        self.answers.extend(bytes);
    }
}

#[cfg(test)]
#[path = "keyboard_tests.rs"]
mod tests;
