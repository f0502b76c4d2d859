// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;
use vm_memory::GuestAddress;

use super::*;
use crate::bus::Width;

fn memory() -> GuestMemoryMmap<()> {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap()
}

struct Card {
    vga: Vga,
    memory: GuestMemoryMmap<()>,
}

impl Card {
    fn new() -> Self {
        let memory = memory();
        Self { vga: Vga::new(memory.clone()), memory }
    }

    fn access(port: u16, width: Width) -> Access {
        Access { offset: u64::from(port) - u64::from(FIRST_PORT), width, vcpu: 0 }
    }

    fn outb(&self, port: u16, value: u8) {
        assert_eq!(self.vga.write(Self::access(port, Width::B1), value.into()), Effect::None);
    }

    fn outw(&self, port: u16, value: u16) {
        assert_eq!(self.vga.write(Self::access(port, Width::B2), value.into()), Effect::None);
    }

    fn inb(&self, port: u16) -> u8 {
        self.vga.read(Self::access(port, Width::B1)) as u8
    }

    /// A register behind an index.
    fn indexed(&self, port: u16, index: u8) -> u8 {
        self.outb(port, index);
        self.inb(port + 1)
    }

    /// Characters with attribute 7, as a driver puts them into memory.
    fn poke(&self, window: u64, at: usize, text: &str) {
        for (character, cell) in text.bytes().zip(at..) {
            self.memory.write_slice(&[character, 0x07], GuestAddress(window + 2 * cell as u64)).unwrap();
        }
    }

    /// What SeaVGABIOS and Linux do for an attribute register: reset the latch, keep the index, write, put it back.
    fn set_attribute(&self, index: u8, value: u8) {
        self.inb(0x3da);
        let before = self.inb(0x3c0);
        [index, value, before].into_iter().for_each(|value| self.outb(0x3c0, value));
    }
}

const COLOUR: u64 = 0xb_8000;
const MONOCHROME: u64 = 0xb_0000;

#[test]
fn starts_as_a_bios_leaves_it_in_mode_3() {
    let card = Card::new();
    card.poke(COLOUR, 80 + 2, "hello");
    let screen = card.vga.screen();
    assert_eq!((screen.columns, screen.cells.len(), screen.graphics, screen.blink), (80, 80 * 25, false, true));
    assert_eq!(screen.text(), ["", "  hello"]);
    assert_eq!(screen.cursor, Some(Cursor { row: 0, column: 0 }));
    assert_eq!(screen.rows().nth(1).unwrap()[2], Cell { character: b'h', attribute: 7 });
}

/// `vgacon_startup` of Linux: the palette registers become 0 to 15, and their colours are set.
#[test]
fn linux_sets_the_palette_and_the_cursor() {
    let card = Card::new();
    for index in 0..16 {
        card.inb(0x3da);
        card.outb(0x3c0, index);
        card.outb(0x3c0, index);
    }
    card.outb(0x3c0, 0x20);
    for index in 0..16 {
        card.outb(0x3c8, index);
        [index * 3, index, 0xff].into_iter().for_each(|component| card.outb(0x3c9, component));
    }
    // vgacon_set_cursor_size, then write_vga(14, position) and write_vga(12, origin).
    let start = card.indexed(0x3d4, 0x0a);
    card.outb(0x3d5, start & 0xc0 | 13);
    card.outw(0x3d4, 0x0b | 14 << 8);
    for (index, value) in [(14, 3 * 80 + 5), (12, 80_u16)] {
        card.outw(0x3d4, index | value & 0xff00);
        card.outw(0x3d4, (index + 1) | (value << 8));
    }
    card.poke(COLOUR, 80, "top");
    let screen = card.vga.screen();
    assert_eq!(screen.cursor, Some(Cursor { row: 2, column: 5 }), "from the origin, which moved by a line");
    assert_eq!(screen.text(), ["top"]);

    card.inb(0x3da);
    card.outb(0x3c0, 6);
    assert_eq!(card.inb(0x3c1), 6, "a palette register");
    card.outb(0x3c7, 5);
    assert_eq!([card.inb(0x3c9), card.inb(0x3c9), card.inb(0x3c9), card.inb(0x3c9)], [15, 5, 0x3f, 18]);
    assert_eq!(card.inb(0x3c7) & 3, 3, "the palette is being read");
}

/// Hardware scrolling: the origin moves through memory and starts over.
#[test]
fn memory_starts_over_at_its_end() {
    let card = Card::new();
    let last_line = 0x4000 - 80;
    card.poke(COLOUR, last_line, "above");
    card.poke(COLOUR, 0, "below");
    card.outw(0x3d4, 0x0c | (last_line as u16 & 0xff00));
    card.outw(0x3d4, 0x0d | (last_line as u16) << 8);
    assert_eq!(card.vga.screen().text(), ["above", "below"]);
}

/// The writes by which SeaVGABIOS sets a mode (`stdvga_set_mode`), for mode 1: 40 columns. Its timing is written
/// while the protection is on at first.
#[test]
fn a_bios_sets_another_text_mode() {
    let card = Card::new();
    for (index, value) in [(0x00, 0x00), (0x10, 0x0c), (0x13, 0x08), (0x14, 0x00)] {
        card.set_attribute(index, value);
    }
    for (index, value) in [(0, 0x03), (1, 0x08), (2, 0x03), (3, 0x00), (4, 0x02)] {
        card.outw(0x3c4, value << 8 | index);
    }
    for (index, value) in [(5, 0x10), (6, 0x0e), (8, 0xff)] {
        card.outw(0x3ce, value << 8 | index);
    }
    card.outw(0x3d4, 0x2700 | 1);
    assert_eq!(card.indexed(0x3d4, 1), 0x4f, "protected");
    card.outw(0x3d4, 0x11);
    for (index, value) in [(0, 0x2d), (1, 0x27), (7, 0x1f), (9, 0x4f), (0x11, 0x8e), (0x12, 0x8f), (0x13, 0x14)] {
        card.outw(0x3d4, value << 8 | index);
    }
    card.outb(0x3c2, 0x67);
    card.inb(0x3da);
    card.outb(0x3c0, 0x20);
    card.poke(COLOUR, 40, "second line");
    let screen = card.vga.screen();
    assert_eq!((screen.columns, screen.cells.len()), (40, 40 * 25));
    assert_eq!(screen.text(), ["", "second line"]);
    assert_eq!((card.indexed(0x3c4, 1), card.indexed(0x3ce, 5), card.inb(0x3cc)), (8, 0x10, 0x67), "read back");
}

/// 50 lines of a font of 8 dots: SYSLINUX, Linux' `vga=1`, `mode co80` and others.
#[test]
fn fifty_lines() {
    let card = Card::new();
    card.outw(0x3d4, 0x4700 | 9);
    assert_eq!(card.vga.screen().cells.len(), 80 * 50);
}

#[test]
fn mode_7_is_at_the_monochrome_place() {
    let card = Card::new();
    card.outw(0x3ce, 0x0a00 | 6);
    card.outb(0x3c2, 0x66);
    card.outb(0x3b4, 0x0e);
    card.outb(0x3b5, 0);
    card.outb(0x3b4, 0x0f);
    card.outb(0x3b5, 7);
    card.poke(MONOCHROME, 0, "green");
    let screen = card.vga.screen();
    assert_eq!((screen.text(), screen.cursor), (vec!["green".to_owned()], Some(Cursor { row: 0, column: 7 })));
    assert_eq!((card.inb(0x3d5), card.inb(0x3da)), (0xff, 0xff), "the colour place is gone");
    assert_ne!(card.inb(0x3ba), card.inb(0x3ba), "retrace, for who waits for it");
}

#[test]
fn cursor_off_and_out_of_sight() {
    let card = Card::new();
    card.outw(0x3d4, 0x2d00 | 0x0a);
    assert_eq!(card.vga.screen().cursor, None, "by its bit");
    // Linux hides it so: it starts behind its end (vgacon_set_cursor_size(31, 30)).
    card.outw(0x3d4, 0x1f00 | 0x0a);
    card.outw(0x3d4, 0x1e00 | 0x0b);
    assert_eq!(card.vga.screen().cursor, None, "by its size");
    card.outw(0x3d4, 0x0d00 | 0x0a);
    assert!(card.vga.screen().cursor.is_some());
    card.outw(0x3d4, 0xff00 | 0x0e);
    assert_eq!(card.vga.screen().cursor, None, "elsewhere");
}

/// A font goes to 0xA0000 while the sequencer and graphics controller say so, and the text stays.
#[test]
fn a_font_leaves_the_text_alone() {
    let card = Card::new();
    card.poke(COLOUR, 0, "text");
    for (port, value) in [(0x3c4, 0x0100), (0x3c4, 0x0402), (0x3c4, 0x0704), (0x3c4, 0x0300)] {
        card.outw(port, value);
    }
    for value in [0x0204, 0x0005, 0x0406] {
        card.outw(0x3ce, value);
    }
    card.memory.write_slice(&[0xff; 0x4000], GuestAddress(0xa_0000)).unwrap();
    for (port, value) in [(0x3c4, 0x0302), (0x3c4, 0x0304), (0x3ce, 0x0004), (0x3ce, 0x1005), (0x3ce, 0x0e06)] {
        card.outw(port, value);
    }
    assert_eq!(card.vga.screen().text(), ["text"]);
}

#[test]
fn graphics_have_no_lines() {
    let card = Card::new();
    card.outw(0x3ce, 0x0506);
    let screen = card.vga.screen();
    assert!(screen.graphics && screen.cells.is_empty() && screen.lines().is_empty());
    card.outw(0x3ce, 0x0e06);
    assert!(!card.vga.screen().graphics);
}

#[test]
fn no_memory_is_a_dark_screen() {
    let nothing = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
    assert!(Vga::new(nothing).screen().cells.is_empty());
}

proptest! {
    /// Whatever a guest writes at whatever width: each read answers, and the screen stays in its limits.
    #[test]
    fn any_accesses(accesses in proptest::collection::vec((any::<bool>(), 0u64..0x2d, 0usize..3, any::<u32>()), 1..200)) {
        let card = Card::new();
        for (write, offset, width, value) in accesses {
            let width = [Width::B1, Width::B2, Width::B4][width];
            let access = Access { offset, width, vcpu: 0 };
            if write {
                prop_assert_eq!(card.vga.write(access, width.truncate(value.into())), Effect::None);
            } else {
                prop_assert!(card.vga.read(access) <= width.all_ones());
            }
        }
        let screen = card.vga.screen();
        prop_assert!(screen.cells.len() <= 0x4000 && screen.columns <= 256);
        prop_assert_eq!(screen.cells.len() % usize::from(screen.columns.max(1)), 0);
        prop_assert!(screen.cursor.is_none_or(|cursor| cursor.column < screen.columns));
    }
}
