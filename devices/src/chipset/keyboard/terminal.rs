// SPDX-License-Identifier: Apache-2.0
//! What is typed at a terminal, as keys of a PC: bytes and escape sequences of xterm, the Linux console, screen and
//! tmux (ECMA-48; xterm's "ctlseqs"). Pure.

use super::keys::Key;

/// Keys that are down while another one is pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// Shift.
    pub shift: bool,
    /// Ctrl.
    pub ctrl: bool,
    /// Alt.
    pub alt: bool,
    /// SysRq, which takes Alt with it: Linux's "magic" key.
    pub sys_rq: bool,
}

/// A key that is pressed and released, with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stroke {
    /// The key.
    pub key: Key,
    /// What is held down with it.
    pub modifiers: Modifiers,
}

impl Stroke {
    /// A key alone.
    pub fn of(key: Key) -> Self {
        Self { key, modifiers: Modifiers::default() }
    }

    /// The key of a printable ASCII character.
    pub fn of_character(character: u8) -> Option<Self> {
        let (key, shift) = Key::of_character(character)?;
        Some(Self { key, modifiers: Modifiers { shift, ..Modifiers::default() } })
    }

    /// The same with Ctrl.
    fn ctrl(mut self) -> Self {
        self.modifiers.ctrl = true;
        self
    }

    /// The same with Alt.
    fn alt(mut self) -> Self {
        self.modifiers.alt = true;
        self
    }

    /// The same with Alt and SysRq.
    pub fn sys_rq(mut self) -> Self {
        self.modifiers.sys_rq = true;
        self
    }
}

const ESC: u8 = 0x1b;

/// Where in an escape sequence the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC `[`: the numbers so far, and which one is being written.
    Control { numbers: [u8; 2], index: usize, is_empty: bool },
    /// After ESC `[[`: F1 to F5 of the Linux console.
    LinuxConsole,
    /// After ESC `O`.
    Single,
}

/// Turns typed bytes into key strokes. Bytes that no key of a US keyboard makes, such as those of umlauts, are
/// dropped, and so are sequences that it does not know.
#[derive(Debug, Default)]
pub struct TerminalKeys {
    place: Place,
}

impl TerminalKeys {
    /// Takes one byte; a stroke is there at the end of a sequence.
    ///
    /// ESC may be the Escape key, or begin a sequence. Terminals write sequences in one go: call [`Self::flush`]
    /// when no more bytes are there to be read.
    pub fn take(&mut self, byte: u8) -> Option<Stroke> {
        match std::mem::take(&mut self.place) {
            Place::Ground if byte == ESC => self.go(Place::Escape),
            Place::Ground => of_byte(byte),
            Place::Escape => match byte {
                b'[' => self.go(Place::Control { numbers: [0; 2], index: 0, is_empty: true }),
                b'O' => self.go(Place::Single),
                // The Escape key, and the beginning of something else.
                ESC => {
                    self.place = Place::Escape;
                    Some(Stroke::of(Key::ESCAPE))
                }
                other => of_byte(other).map(Stroke::alt),
            },
            Place::Control { is_empty: true, .. } if byte == b'[' => self.go(Place::LinuxConsole),
            Place::Control { numbers, index, .. } => self.control(numbers, index, byte),
            Place::LinuxConsole => Key::function(byte.wrapping_sub(b'A').wrapping_add(1)).map(Stroke::of),
            Place::Single => of_final(byte).map(Stroke::of),
        }
    }

    /// No more bytes are there: what has begun is not a sequence. Returns the Escape key, or a key with Alt.
    pub fn flush(&mut self) -> Option<Stroke> {
        match std::mem::take(&mut self.place) {
            Place::Escape => Some(Stroke::of(Key::ESCAPE)),
            Place::Single => Stroke::of_character(b'O').map(Stroke::alt),
            Place::Control { is_empty: true, .. } => Stroke::of_character(b'[').map(Stroke::alt),
            Place::Ground | Place::Control { .. } | Place::LinuxConsole => None,
        }
    }

    fn go(&mut self, place: Place) -> Option<Stroke> {
        self.place = place;
        None
    }

    /// One byte of `ESC [ number ; modifiers final`.
    fn control(&mut self, mut numbers: [u8; 2], index: usize, byte: u8) -> Option<Stroke> {
        match byte {
            b'0'..=b'9' => {
                if let Some(number) = numbers.get_mut(index) {
                    *number = number.saturating_mul(10).saturating_add(byte - b'0');
                }
                self.go(Place::Control { numbers, index, is_empty: false })
            }
            b';' => self.go(Place::Control { numbers, index: index.saturating_add(1), is_empty: false }),
            // Other parameters and intermediate bytes: nothing that a key sends.
            0x20..=0x3f => self.go(Place::Control { numbers, index, is_empty: false }),
            b'Z' => Some(Stroke { key: Key::TAB, modifiers: Modifiers { shift: true, ..Modifiers::default() } }),
            b'~' => Some(Stroke { key: of_number(numbers[0])?, modifiers: of_parameter(numbers[1]) }),
            other => Some(Stroke { key: of_final(other)?, modifiers: of_parameter(numbers[1]) }),
        }
    }
}

/// xterm's parameter: 1, plus 1 for Shift, 2 for Alt, 4 for Ctrl.
fn of_parameter(parameter: u8) -> Modifiers {
    let bits = parameter.saturating_sub(1);
    Modifiers { shift: bits & 1 != 0, alt: bits & 2 != 0, ctrl: bits & 4 != 0, sys_rq: false }
}

/// The key of `ESC [ final` or `ESC O final`.
fn of_final(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::UP),
        b'B' => Some(Key::DOWN),
        b'C' => Some(Key::RIGHT),
        b'D' => Some(Key::LEFT),
        b'F' => Some(Key::END),
        b'H' => Some(Key::HOME),
        b'M' => Some(Key::ENTER),
        b'P'..=b'S' => Key::function(byte - b'P' + 1),
        _ => None,
    }
}

/// The key of `ESC [ number ~`.
fn of_number(number: u8) -> Option<Key> {
    match number {
        1 | 7 => Some(Key::HOME),
        2 => Some(Key::INSERT),
        3 => Some(Key::DELETE),
        4 | 8 => Some(Key::END),
        5 => Some(Key::PAGE_UP),
        6 => Some(Key::PAGE_DOWN),
        11..=15 => Key::function(number - 10),
        17..=21 => Key::function(number - 11),
        23 | 24 => Key::function(number - 12),
        _ => None,
    }
}

/// A byte that is not part of a sequence.
fn of_byte(byte: u8) -> Option<Stroke> {
    match byte {
        b'\r' | b'\n' => Some(Stroke::of(Key::ENTER)),
        b'\t' => Some(Stroke::of(Key::TAB)),
        0x08 | 0x7f => Some(Stroke::of(Key::BACKSPACE)),
        0x00 => Stroke::of_character(b' ').map(Stroke::ctrl),
        // Ctrl takes bits 5 and 6 away: from letters, and from the punctuation behind the capitals.
        0x01..=0x1a => Stroke::of_character(byte | 0x60).map(Stroke::ctrl),
        0x1c | 0x1d => Stroke::of_character(byte | 0x40).map(Stroke::ctrl),
        0x1e => Stroke::of_character(b'6').map(Stroke::ctrl),
        0x1f => Stroke::of_character(b'-').map(Stroke::ctrl),
        other => Stroke::of_character(other),
    }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
