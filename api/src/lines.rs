// SPDX-License-Identifier: Apache-2.0
//! Lines of JSON that come one after the other, for a reply without an end. Types only.

use std::time::Duration;

/// Lines that come one after the other, for a reply without an end.
pub trait Lines: Send {
    /// Waits for the next line, `limit` at most. A reader that is too slow for the source misses lines
    /// and is told so by a line; it never makes the source wait.
    fn next(&mut self, limit: Duration) -> Line;
}

/// What [`Lines::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// One JSON object, without the newline.
    Text(String),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    End,
}
