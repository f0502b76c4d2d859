// SPDX-License-Identifier: Apache-2.0
//! The registers of a VGA, as far as text needs them: all of them keep what is written, as software reads them back
//! and puts them back; few of them mean anything here. Numbers are those of the IBM VGA (FreeVGA; Linux'
//! `include/video/vga.h`). Pure.

use serde::{Deserialize, Serialize};
use vm_memory::GuestAddress;

use crate::contract::saved::array;

/// First port of the range that [`Registers`] answers in.
pub const FIRST_PORT: u16 = 0x3b0;
/// Components of a colour.
const COMPONENTS: u8 = 3;

/// Registers behind an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct File<const N: usize> {
    index: u8,
    #[serde(with = "array")]
    values: [u8; N],
}

impl<const N: usize> File<N> {
    const fn new(values: [u8; N]) -> Self {
        Self { index: 0, values }
    }

    fn get(&self) -> u8 {
        self.values.get(usize::from(self.index)).copied().unwrap_or(0)
    }

    fn set(&mut self, value: u8) {
        if let Some(register) = self.values.get_mut(usize::from(self.index)) {
            *register = value;
        }
    }
}

/// The palette: 256 colours of three times six bits, read and written one component after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Palette {
    mask: u8,
    read_index: u8,
    write_index: u8,
    /// 0 red, 1 green, 2 blue.
    component: u8,
    /// What port 0x3c7 reads: 3 after a read index was written, else 0.
    state: u8,
    #[serde(with = "array")]
    colours: [[u8; 3]; 256],
}

impl Default for Palette {
    /// The 64 colours of mode 3, two bits a component, and black.
    fn default() -> Self {
        let component =
            |index: u8, primary: u8, secondary: u8| (index >> primary & 1) * 0x2a + (index >> secondary & 1) * 0x15;
        let mut colours = [[0; 3]; 256];
        for (index, colour) in (0..64).zip(&mut colours) {
            *colour = [component(index, 2, 5), component(index, 1, 4), component(index, 0, 3)];
        }
        Self { mask: 0xff, read_index: 0, write_index: 0, component: 0, state: 0, colours }
    }
}

impl Palette {
    fn select(&mut self, index: u8, state: u8) {
        (self.component, self.state) = (0, state);
        if state == 0 { self.write_index = index } else { self.read_index = index }
    }

    fn read(&mut self) -> u8 {
        let [red, green, blue] = self.colours[usize::from(self.read_index)];
        let value = [red, green, blue, 0][usize::from(self.component & 3)];
        if self.advance() {
            self.read_index = self.read_index.wrapping_add(1);
        }
        value
    }

    fn write(&mut self, value: u8) {
        if let Some(component) = self.colours[usize::from(self.write_index)].get_mut(usize::from(self.component)) {
            *component = value & 0x3f;
        }
        if self.advance() {
            self.write_index = self.write_index.wrapping_add(1);
        }
    }

    /// To the next component; whether that is the next colour's first.
    fn advance(&mut self) -> bool {
        self.component = (self.component + 1) % COMPONENTS;
        self.component == 0
    }
}

/// Attribute mode control.
const ATTRIBUTE_MODE: usize = 0x10;
/// Memory map and text or graphics (graphics controller).
const GRAPHICS_MISC: usize = 6;
/// Vertical retrace end; bit 7 protects the timing (CRTC).
const RETRACE_END: usize = 0x11;
/// Overflow bits; bit 4 of it is not protected (CRTC).
const OVERFLOW: u8 = 7;
/// Video is on: bit of the attribute index.
const PALETTE_SOURCE: u8 = 1 << 5;

/// All registers. Behind power-on they stand for mode 3, 80 by 25 in colour, as a VGA BIOS leaves them: a kernel that
/// is started directly takes that for granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    misc: u8,
    feature: u8,
    enable: u8,
    /// Bits 0 and 3, which software waits for to change, change with each read.
    status: u8,
    sequencer: File<5>,
    graphics: File<9>,
    crtc: File<25>,
    /// Its index has bit 5 beside it.
    attribute: File<21>,
    /// Whether the next write to the attribute port is a value.
    attribute_value: bool,
    palette: Palette,
}

impl Default for Registers {
    fn default() -> Self {
        let mut attribute = File::new([
            0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00,
            0x0f, 0x08, 0x00,
        ]);
        attribute.index = PALETTE_SOURCE;
        Self {
            misc: 0x67,
            feature: 0,
            enable: 1,
            status: 0,
            sequencer: File::new([3, 0, 3, 0, 2]),
            graphics: File::new([0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff]),
            crtc: File::new([
                0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c,
                0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
            ]),
            attribute,
            attribute_value: false,
            palette: Palette::default(),
        }
    }
}

impl Registers {
    /// Whether writes can have brought them about.
    pub(super) fn fit(&self) -> bool {
        self.palette.component < COMPONENTS
    }

    /// Reads the register at `port`. Ports without one, and those of the other of the colour and monochrome places,
    /// read all ones.
    pub(super) fn read(&mut self, port: u16) -> u8 {
        match port {
            0x3c0 => self.attribute.index,
            0x3c1 => self.attribute.values.get(usize::from(self.attribute.index & 0x1f)).copied().unwrap_or(0),
            // Input status 0: no interrupt, no monitor's switch.
            0x3c2 => 0,
            0x3c3 => self.enable,
            0x3c4 => self.sequencer.index,
            0x3c5 => self.sequencer.get(),
            0x3c6 => self.palette.mask,
            0x3c7 => self.palette.state,
            0x3c8 => self.palette.write_index,
            0x3c9 => self.palette.read(),
            0x3ca => self.feature,
            0x3cc => self.misc,
            0x3ce => self.graphics.index,
            0x3cf => self.graphics.get(),
            _ => match self.movable(port) {
                Some(4) => self.crtc.index,
                Some(5) => self.crtc.get(),
                Some(0xa) => {
                    self.attribute_value = false;
                    self.status ^= 0x09;
                    self.status
                }
                _ => 0xff,
            },
        }
    }

    /// Writes the register at `port`. Ports without one take anything.
    pub(super) fn write(&mut self, port: u16, value: u8) {
        match port {
            0x3c0 => self.write_attribute(value),
            0x3c2 => self.misc = value,
            0x3c3 => self.enable = value & 1,
            0x3c4 => self.sequencer.index = value,
            0x3c5 => self.sequencer.set(value),
            0x3c6 => self.palette.mask = value,
            0x3c7 => self.palette.select(value, 3),
            0x3c8 => self.palette.select(value, 0),
            0x3c9 => self.palette.write(value),
            0x3ce => self.graphics.index = value,
            0x3cf => self.graphics.set(value),
            _ => match self.movable(port) {
                Some(4) => self.crtc.index = value,
                Some(5) => self.write_crtc(value),
                Some(0xa) => self.feature = value,
                _ => {}
            },
        }
    }

    /// The offset in the range that is at 0x3d0 in colour and at 0x3b0 in monochrome (miscellaneous output, bit 0).
    fn movable(&self, port: u16) -> Option<u16> {
        port.checked_sub(if self.misc & 1 == 0 { 0x3b0 } else { 0x3d0 })
    }

    fn write_attribute(&mut self, value: u8) {
        if self.attribute_value {
            if let Some(register) = self.attribute.values.get_mut(usize::from(self.attribute.index & 0x1f)) {
                *register = value;
            }
        } else {
            self.attribute.index = value & 0x3f;
        }
        self.attribute_value ^= true;
    }

    /// Registers 0 to 7 are protected on demand, but for the bit of the line compare in the last of them.
    fn write_crtc(&mut self, value: u8) {
        let is_protected = self.crtc.values[RETRACE_END] & 0x80 != 0;
        match self.crtc.index {
            OVERFLOW if is_protected => self.crtc.set(self.crtc.get() & !0x10 | value & 0x10),
            0..OVERFLOW if is_protected => {}
            _ => self.crtc.set(value),
        }
    }
}

/// Where the characters of the screen are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextArea {
    /// Characters in a line, 1 to 256.
    pub columns: u16,
    /// Lines, 0 to 1024.
    pub rows: u16,
    /// Characters from one line to the next, 0 to 510.
    pub pitch: u16,
    /// The first character on the screen, counted from the start of memory.
    pub start: u16,
}

/// Where the card's memory is in the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Its first address.
    pub base: GuestAddress,
    /// Bytes, a power of two.
    pub len: usize,
}

/// All of it.
const ALL: Window = Window { base: GuestAddress(0xa_0000), len: 0x2_0000 };
/// For graphics.
const GRAPHICS: Window = Window { len: 0x1_0000, ..ALL };
/// For monochrome text.
const MONOCHROME: Window = Window { base: GuestAddress(0xb_0000), len: 0x8000 };
/// For text in colour.
const COLOUR: Window = Window { base: GuestAddress(0xb_8000), len: 0x8000 };

/// What the registers say of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Dots instead of characters.
    pub graphics: bool,
    /// Where memory is.
    pub window: Window,
    /// Where characters are.
    pub text: TextArea,
    /// The character with the cursor, where there is one.
    pub cursor: Option<u16>,
    /// Bit 7 of an attribute blinks, instead of being a bright background.
    pub blink: bool,
}

impl Registers {
    /// What is to be seen.
    pub(super) fn geometry(&self) -> Geometry {
        let crtc = |index: usize| u16::from(self.crtc.values.get(index).copied().unwrap_or(0));
        let word = |high: usize| crtc(high) << 8 | crtc(high + 1);
        let scan_lines = (crtc(0x12) | (crtc(7) & 0x02) << 7 | (crtc(7) & 0x40) << 3) + 1;
        let scan_lines = if crtc(9) & 0x80 != 0 { scan_lines / 2 } else { scan_lines };
        let is_cursor_on = crtc(0x0a) & 0x20 == 0 && crtc(0x0a) & 0x1f <= crtc(0x0b) & 0x1f;
        Geometry {
            graphics: self.graphics.values[GRAPHICS_MISC] & 1 != 0 || self.attribute.values[ATTRIBUTE_MODE] & 1 != 0,
            window: match self.graphics.values[GRAPHICS_MISC] >> 2 & 3 {
                0 => ALL,
                1 => GRAPHICS,
                2 => MONOCHROME,
                _ => COLOUR,
            },
            text: TextArea {
                columns: crtc(1) + 1,
                rows: scan_lines / ((crtc(9) & 0x1f) + 1),
                pitch: crtc(0x13) * 2,
                start: word(0x0c),
            },
            cursor: is_cursor_on.then(|| word(0x0e)),
            blink: self.attribute.values[ATTRIBUTE_MODE] & 8 != 0,
        }
    }
}
