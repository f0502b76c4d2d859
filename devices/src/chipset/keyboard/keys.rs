// SPDX-License-Identifier: Apache-2.0
//! The keys of a US enhanced AT keyboard: their scan codes, and which of them make an ASCII character. Pure.
//!
//! A key sends its code when it goes down ("make"), and the same with a mark when it comes up ("break"). There are
//! three sets of codes. Keyboards start with set 2; the keyboard controller [translates](translate) that into set 1,
//! the codes of the first PC, because that is what software expects at port 0x60.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards" and "Keyboard and auxiliary device controller".

use serde::{Deserialize, Serialize};

/// One of the three sets of scan codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanCodeSet {
    /// The PC's and XT's: break is bit 7.
    One = 1,
    /// The AT's: break is a byte 0xf0 before the code.
    #[default]
    Two = 2,
    /// The terminal keyboards': as set 2, without prefix 0xe0.
    Three = 3,
}

/// Comes before the codes of keys that the AT's first keyboard did not have, in sets 1 and 2.
pub const EXTENDED: u8 = 0xe0;
/// Comes before the code of a key that is released, in sets 2 and 3.
pub const BREAK: u8 = 0xf0;
/// Set 1: the key is released.
const BREAK_BIT: u8 = 0x80;

/// One key, by its place on the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    set_2: u8,
    extended: bool,
    set_3: u8,
}

const fn plain(set_2: u8, set_3: u8) -> Key {
    Key { set_2, extended: false, set_3 }
}

const fn extended(set_2: u8, set_3: u8) -> Key {
    Key { set_2, extended: true, set_3 }
}

/// A key that makes two characters, and has the same code in sets 2 and 3 but where it is said.
struct Character(u8, u8, Key);

const fn character(lower: u8, upper: u8, code: u8) -> Character {
    Character(lower, upper, plain(code, code))
}

/// The keys that make characters, without and with Shift. Letters stand as capitals.
const CHARACTERS: [Character; 48] = [
    character(b'`', b'~', 0x0e),
    character(b'1', b'!', 0x16),
    character(b'2', b'@', 0x1e),
    character(b'3', b'#', 0x26),
    character(b'4', b'$', 0x25),
    character(b'5', b'%', 0x2e),
    character(b'6', b'^', 0x36),
    character(b'7', b'&', 0x3d),
    character(b'8', b'*', 0x3e),
    character(b'9', b'(', 0x46),
    character(b'0', b')', 0x45),
    character(b'-', b'_', 0x4e),
    character(b'=', b'+', 0x55),
    character(b'q', b'Q', 0x15),
    character(b'w', b'W', 0x1d),
    character(b'e', b'E', 0x24),
    character(b'r', b'R', 0x2d),
    character(b't', b'T', 0x2c),
    character(b'y', b'Y', 0x35),
    character(b'u', b'U', 0x3c),
    character(b'i', b'I', 0x43),
    character(b'o', b'O', 0x44),
    character(b'p', b'P', 0x4d),
    character(b'[', b'{', 0x54),
    character(b']', b'}', 0x5b),
    Character(b'\\', b'|', plain(0x5d, 0x5c)),
    character(b'a', b'A', 0x1c),
    character(b's', b'S', 0x1b),
    character(b'd', b'D', 0x23),
    character(b'f', b'F', 0x2b),
    character(b'g', b'G', 0x34),
    character(b'h', b'H', 0x33),
    character(b'j', b'J', 0x3b),
    character(b'k', b'K', 0x42),
    character(b'l', b'L', 0x4b),
    character(b';', b':', 0x4c),
    character(b'\'', b'"', 0x52),
    character(b'z', b'Z', 0x1a),
    character(b'x', b'X', 0x22),
    character(b'c', b'C', 0x21),
    character(b'v', b'V', 0x2a),
    character(b'b', b'B', 0x32),
    character(b'n', b'N', 0x31),
    character(b'm', b'M', 0x3a),
    character(b',', b'<', 0x41),
    character(b'.', b'>', 0x49),
    character(b'/', b'?', 0x4a),
    // Whether Shift is down makes no difference.
    character(b' ', b' ', 0x29),
];

/// F1 to F12.
const FUNCTION_KEYS: [Key; 12] = [
    plain(0x05, 0x07),
    plain(0x06, 0x0f),
    plain(0x04, 0x17),
    plain(0x0c, 0x1f),
    plain(0x03, 0x27),
    plain(0x0b, 0x2f),
    plain(0x83, 0x37),
    plain(0x0a, 0x3f),
    plain(0x01, 0x47),
    plain(0x09, 0x4f),
    plain(0x78, 0x56),
    plain(0x07, 0x5e),
];

impl Key {
    /// Escape.
    pub const ESCAPE: Self = plain(0x76, 0x08);
    /// Enter of the main block.
    pub const ENTER: Self = plain(0x5a, 0x5a);
    /// Tab.
    pub const TAB: Self = plain(0x0d, 0x0d);
    /// Backspace.
    pub const BACKSPACE: Self = plain(0x66, 0x66);
    /// Left Shift.
    pub const SHIFT: Self = plain(0x12, 0x12);
    /// Left Ctrl.
    pub const CTRL: Self = plain(0x14, 0x11);
    /// Left Alt.
    pub const ALT: Self = plain(0x11, 0x19);
    /// What Print Screen is while Alt is down.
    pub const SYS_RQ: Self = plain(0x84, 0x57);
    /// Insert of the block above the arrows, as the ones below.
    pub const INSERT: Self = extended(0x70, 0x67);
    /// Delete.
    pub const DELETE: Self = extended(0x71, 0x64);
    /// Home.
    pub const HOME: Self = extended(0x6c, 0x6e);
    /// End.
    pub const END: Self = extended(0x69, 0x65);
    /// Page up.
    pub const PAGE_UP: Self = extended(0x7d, 0x6f);
    /// Page down.
    pub const PAGE_DOWN: Self = extended(0x7a, 0x6d);
    /// Arrow up.
    pub const UP: Self = extended(0x75, 0x63);
    /// Arrow down.
    pub const DOWN: Self = extended(0x72, 0x60);
    /// Arrow left.
    pub const LEFT: Self = extended(0x6b, 0x61);
    /// Arrow right.
    pub const RIGHT: Self = extended(0x74, 0x6a);

    /// F1 to F12; `number` counts from 1.
    pub fn function(number: u8) -> Option<Self> {
        FUNCTION_KEYS.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The key that makes a printable ASCII character, and whether Shift has to be down.
    pub fn of_character(wanted: u8) -> Option<(Self, bool)> {
        CHARACTERS.iter().find_map(|Character(lower, upper, key)| {
            ([lower, upper].contains(&&wanted)).then_some((*key, wanted != *lower))
        })
    }

    /// The bytes that the key sends when it goes down, or comes up.
    pub(super) fn codes(self, set: ScanCodeSet, is_down: bool) -> impl Iterator<Item = u8> {
        let prefix = (self.extended && set != ScanCodeSet::Three).then_some(EXTENDED);
        let mark = (!is_down && set != ScanCodeSet::One).then_some(BREAK);
        let code = match set {
            ScanCodeSet::One => translate(self.set_2) | if is_down { 0 } else { BREAK_BIT },
            ScanCodeSet::Two => self.set_2,
            ScanCodeSet::Three => self.set_3,
        };
        prefix.into_iter().chain(mark).chain([code])
    }
}

/// What the controller makes of bytes 0 to 0x84 from the keyboard while it translates.
const TRANSLATION: [u8; 0x85] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, // 0x00
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, // 0x10
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, // 0x20
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, // 0x30
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, // 0x40
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, // 0x50
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, // 0x60
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, // 0x70
    0x80, 0x81, 0x82, 0x41, 0x54, // 0x80
];

/// A byte of set 2 as the controller translates it: codes become those of set 1, other bytes (acknowledgement,
/// prefix, end of the self test) stay what they are.
pub fn translate(byte: u8) -> u8 {
    TRANSLATION.get(usize::from(byte)).copied().unwrap_or(byte)
}

/// Sets the mark of a released key in a code of set 1.
pub fn released(code: u8) -> u8 {
    code | BREAK_BIT
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
