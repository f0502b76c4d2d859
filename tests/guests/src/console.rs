// SPDX-License-Identifier: Apache-2.0
//! Text on the first serial port. A line goes out in one string instruction.

use crate::mem::zeros;
use core::fmt::{self, Write};

use crate::port;

/// A line that is being put together.
pub struct Line {
    bytes: [u8; 256],
    used: usize,
}

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self { bytes: zeros(), used: 0 }
    }

    /// Sends it.
    pub fn flush(&mut self) {
        port::outsb(0x3f8, &self.bytes[..self.used]);
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let mut line = $crate::console::Line::new();
        let _ = writeln!(line, $($argument)*);
        line.flush();
    }};
}
