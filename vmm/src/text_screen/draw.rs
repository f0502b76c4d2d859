// SPDX-License-Identifier: Apache-2.0
//! From one screen to the next on a terminal: cursor moves, colours and the characters that changed (ECMA-48, as
//! every terminal of Linux understands it). Pure.

use std::fmt::Write;

use devices::chipset::vga::{Cell, Cursor, Screen};

/// ANSI's number of each of the VGA's eight colours.
const COLOURS: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];
/// Colours as they were, no text, cursor at the start.
const CLEAR: &str = "\x1b[0m\x1b[2J\x1b[H";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// What the terminal shows.
#[derive(Debug, Default)]
pub(super) struct Painter {
    shown: Screen,
    /// Columns and rows of the terminal.
    size: (u16, u16),
    /// First row of the screen that is on the terminal.
    top: u16,
    /// Whether all of it has to be drawn.
    stale: bool,
}

impl Painter {
    /// A painter before an empty terminal.
    pub(super) fn new() -> Self {
        Self { stale: true, ..Self::default() }
    }

    /// The screen of the last update; an empty one before the first.
    pub(super) fn shown(&self) -> &Screen {
        &self.shown
    }

    /// Draws everything with the next update: something else has written to the terminal.
    pub(super) fn redraw(&mut self) {
        self.stale = true;
    }

    /// What to send to a terminal of `size` (columns and rows) so that it shows `screen`; nothing if it does already.
    /// On a terminal that is too small the right side is missing, and the rows above the cursor are there.
    pub(super) fn update(&mut self, screen: Screen, size: (u16, u16)) -> String {
        let top = screen.cursor.map_or(0, |cursor| (cursor.row + 1).saturating_sub(size.1));
        let other_shape = (screen.columns, screen.cells.len(), screen.graphics, size, top)
            != (self.shown.columns, self.shown.cells.len(), self.shown.graphics, self.size, self.top);
        let mut out = String::new();
        if std::mem::take(&mut self.stale) || other_shape {
            out.push_str(CLEAR);
            self.shown = Screen { cells: vec![BLANK; screen.cells.len()], ..screen.clone() };
            if screen.graphics {
                out.push_str("The guest is in a graphics mode, which is not shown here.");
            }
            self.shown.cursor = None;
            out.push_str(HIDE_CURSOR);
        }
        (self.size, self.top) = (size, top);
        self.draw_cells(&screen, &mut out);
        if !out.is_empty() || screen.cursor != self.shown.cursor {
            place_cursor(screen.cursor, top, size, &mut out);
        }
        self.shown = screen;
        out
    }

    fn draw_cells(&self, screen: &Screen, out: &mut String) {
        let columns = usize::from(self.size.0);
        let rows = screen.rows().zip(self.shown.rows()).enumerate();
        let mut attribute = None;
        for (row, (new, old)) in rows.skip(self.top.into()).take(self.size.1.into()) {
            let changed = new.iter().zip(old).enumerate().take(columns).filter(|(_, (new, old))| new != old);
            let mut next = None;
            for (column, (cell, _)) in changed {
                if next != Some(column) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\x1b[{};{}H", row - usize::from(self.top) + 1, column + 1);
                }
                if attribute != Some(cell.attribute) {
                    attribute = Some(cell.attribute);
                    colours(cell.attribute, screen.blink, out);
                }
                out.push(cell.glyph());
                next = Some(column + 1);
            }
        }
    }
}

/// What a terminal shows that was cleared.
const BLANK: Cell = Cell { character: b' ', attribute: 0x07 };

fn colours(attribute: u8, blink: bool, out: &mut String) {
    let colour = |bits: u8| COLOURS[usize::from(bits & 7)];
    let is_high = attribute & 0x80 != 0;
    let foreground = if attribute & 8 != 0 { 90 } else { 30 } + colour(attribute);
    let background = if is_high && !blink { 100 } else { 40 } + colour(attribute >> 4);
    out.push_str("\x1b[0");
    if attribute == BLANK.attribute {
        // The terminal's own colours, whatever they are.
        return out.push('m');
    }
    if is_high && blink {
        out.push_str(";5");
    }
    let _ = write!(out, ";{foreground};{background}m");
}

fn place_cursor(cursor: Option<Cursor>, top: u16, size: (u16, u16), out: &mut String) {
    match cursor {
        Some(Cursor { row, column }) if column < size.0 => {
            let _ = write!(out, "\x1b[{};{}H{SHOW_CURSOR}", row - top + 1, column + 1);
        }
        _ => out.push_str(HIDE_CURSOR),
    }
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
