// SPDX-License-Identifier: Apache-2.0
//! The terminal: raw while a guest has it, and on its other screen while it shows the guest's; restored on every way out that runs
//! our code. (Nothing can restore it after SIGKILL; `reset` does.)
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

/// What the terminal was like before. Global because a panic on any thread must find it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether the terminal shows its other screen.
static ALTERNATE: AtomicBool = AtomicBool::new(false);

/// Standard input in raw mode; restored on drop.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw. `None` if standard input is not a terminal.
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

/// Has the terminal on standard output show its other screen, which has no lines that scroll away, and write over the
/// end of a line.
pub fn enter_alternate_screen() -> io::Result<()> {
    ALTERNATE.store(true, Ordering::SeqCst);
    write("\x1b[?1049h\x1b[?7l")
}

/// Has it show again what it showed before. Harmless at any time.
pub fn leave_alternate_screen() {
    if ALTERNATE.swap(false, Ordering::SeqCst)
        && let Err(error) = write("\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l")
    {
        tracing::warn!("cannot restore the terminal: {error}; the command 'reset' does");
    }
}

/// Past the lock of standard output, which a thread may hold that never gives it back.
fn write(sequence: &str) -> io::Result<()> {
    let mut rest = sequence.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdout(), rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Restores the terminal now, if it is raw. Harmless at any time.
pub fn restore() {
    leave_alternate_screen();
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take()
        && let Err(error) = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before)
    {
        tracing::warn!("cannot restore the terminal: {error}; the command 'reset' does");
    }
}
