// SPDX-License-Identifier: Apache-2.0
//! The terminal on standard input: raw while a guest has it, restored on every way out that runs
//! our code. (Nothing can restore it after SIGKILL; `reset` does.)
#![forbid(unsafe_code)]

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// What the terminal was like before. Global because a panic on any thread must find it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input in raw mode; restored on drop.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw. `None` if standard input is no terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(None);
        }
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Output processing stays on: the VMM's own messages and the guest's share the screen.
        raw.output_modes = before.output_modes;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(stdin, OptionalActions::Flush, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal now, if it is raw. Harmless at any time.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take()
        && let Err(error) = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before)
    {
        tracing::warn!("cannot restore the terminal: {error}; the command 'reset' does");
    }
}
