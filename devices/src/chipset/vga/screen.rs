// SPDX-License-Identifier: Apache-2.0
//! The screen as a value: what somebody in front of it sees. Pure.

use super::cp437;
use super::registers::Geometry;

/// One character on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Code of the character.
    pub character: u8,
    /// Colours: bits 0 to 3 of the character, 4 to 6 behind it, bit 7 see [`Screen::blink`].
    pub attribute: u8,
}

impl Cell {
    /// What it looks like with the font of the ROM.
    pub fn glyph(self) -> char {
        cp437::to_char(self.character)
    }
}

/// Where the cursor is, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Line.
    pub row: u16,
    /// Character in the line.
    pub column: u16,
}

/// A screen. In a graphics mode it has no lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// The guest draws dots, which nothing here shows.
    pub graphics: bool,
    /// Characters in each line.
    pub columns: u16,
    /// Line by line; a multiple of `columns`.
    pub cells: Vec<Cell>,
    /// If it is on and on the screen.
    pub cursor: Option<Cursor>,
    /// Bit 7 of attributes blinks, instead of being a bright background.
    pub blink: bool,
}

/// More characters than any text mode has; registers can say more, and what fits in no memory is not shown.
const MAX_CELLS: usize = 0x4000;

impl Screen {
    /// The screen that `memory`, all of [`Geometry::window`], shows.
    pub(super) fn new(geometry: &Geometry, memory: &[u8]) -> Self {
        let blink = geometry.blink;
        if geometry.graphics || memory.is_empty() {
            return Self { graphics: geometry.graphics, blink, ..Self::default() };
        }
        let columns = usize::from(geometry.text.columns.max(1));
        let rows = usize::from(geometry.text.rows).min(MAX_CELLS / columns);
        // Memory starts over at its end, as on the card.
        let byte = |at: usize| memory.get(at % memory.len()).copied().unwrap_or(0);
        let cell = |row: usize, column: usize| {
            let at = (usize::from(geometry.text.start) + row * usize::from(geometry.text.pitch) + column) * 2;
            Cell { character: byte(at), attribute: byte(at + 1) }
        };
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| cell(row, column))).collect();
        let mut screen = Self { graphics: false, columns: columns as u16, cells, cursor: None, blink };
        screen.cursor = geometry.cursor.and_then(|at| cursor(geometry, at, rows as u16));
        screen
    }

    /// Its lines, from the top.
    pub fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunks(usize::from(self.columns.max(1)))
    }

    /// Its lines as text, without the blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let line = |cells: &[Cell]| cells.iter().map(|cell| cell.glyph()).collect::<String>().trim_end().to_owned();
        self.rows().map(line).collect()
    }

    /// As [`Self::lines`], without the empty lines at the end.
    pub fn text(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        lines
    }
}

/// Where the character number `at` of memory is on the screen.
fn cursor(geometry: &Geometry, at: u16, rows: u16) -> Option<Cursor> {
    let from_start = at.wrapping_sub(geometry.text.start);
    let row = from_start.checked_div(geometry.text.pitch)?;
    let column = from_start % geometry.text.pitch;
    (row < rows && column < geometry.text.columns).then_some(Cursor { row, column })
}
