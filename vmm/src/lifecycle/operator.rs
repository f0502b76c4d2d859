// SPDX-License-Identifier: Apache-2.0
//! Who sits at the serial port or at the screen: the output's file, the terminal, and the threads for it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use api::{ConsoleConfig, ConsoleMode, ScreenMode};

use super::stop_request::{FROM_CONSOLE, StopRequest};
use crate::console::{Console, Target};
use crate::machine::{Machine, SerialOutput, SetupError};
use crate::output::Output;
use crate::terminal::RawTerminal;
use crate::text_screen::TextScreen;

/// The serial port's file of one virtual machine; created once, and kept across reboots.
#[derive(Clone)]
pub(super) struct SerialFile {
    /// Bytes at which it moves aside; 0 is never.
    limit: u64,
    output: Arc<OnceLock<Mutex<Output>>>,
}

impl SerialFile {
    /// A file that is not there yet, and that moves aside at `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, output: Arc::default() }
    }

    /// Where the output of a machine goes.
    pub(super) fn output(&self, config: &ConsoleConfig) -> SerialOutput {
        match config.mode {
            ConsoleMode::Tty => Box::new(io::stdout()),
            ConsoleMode::Off => Box::new(io::sink()),
            ConsoleMode::File => Box::new(LateFile(self.clone())),
        }
    }

    /// Creates the file, if there is to be one and it is not there yet: an error before leaves no file behind.
    pub(super) fn create(&self, config: &ConsoleConfig) -> Result<(), SetupError> {
        match (config.mode, &config.file) {
            (ConsoleMode::File, Some(path)) if self.output.get().is_none() => self.create_at(path),
            _ => Ok(()),
        }
    }

    fn create_at(&self, path: &Path) -> Result<(), SetupError> {
        let failed = |source| SetupError::Serial { path: path.display().to_string(), source };
        let output = Output::create(path, self.limit).map_err(failed)?;
        self.output.get_or_init(|| Mutex::new(output));
        Ok(())
    }

    fn opened(&self) -> Option<MutexGuard<'_, Output>> {
        self.output.get().map(|output| output.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A file that is created once it is sure that there will be something to write.
struct LateFile(SerialFile);

impl Write for LateFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.opened().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |mut output| output.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.opened().map_or(Ok(()), |mut output| output.flush())
    }
}

/// The terminal, and what is typed there.
#[derive(Default)]
pub(super) struct Operator {
    console: Option<Console>,
    // Before the terminal is what it was: its last picture is written to it.
    screen: Option<TextScreen>,
    raw: Option<RawTerminal>,
}

impl Operator {
    /// Takes the terminal for a machine whose serial port or screen is there; Ctrl-A X asks to stop.
    pub(super) fn take(
        &mut self,
        serial: ConsoleMode,
        screen: ScreenMode,
        stop_request: &Arc<StopRequest>,
    ) -> Result<(), SetupError> {
        let has_screen = screen == ScreenMode::Tty;
        if serial != ConsoleMode::Tty && !has_screen {
            return Ok(());
        }
        if has_screen && self.screen.is_none() {
            let failed = |source| SetupError::System { what: "show the text screen", source };
            self.screen = Some(TextScreen::start().map_err(failed)?);
        }
        if self.raw.is_none() {
            self.raw =
                RawTerminal::enter().map_err(|source| SetupError::System { what: "set up the terminal", source })?;
        }
        if self.console.is_none() {
            let stop_request = Arc::clone(stop_request);
            // It cannot be ended, as it may be stuck in a read: there is one for the life of the process.
            let console = Console::start(self.raw.is_some(), move || stop_request.make(FROM_CONSOLE))
                .map_err(|source| SetupError::System { what: "start the console", source })?;
            self.console = Some(console);
        }
        Ok(())
    }

    /// What is typed goes to `machine` from now on, and its screen is shown.
    pub(super) fn attach(&self, machine: &Machine) {
        let target = match &self.screen {
            Some(screen) => {
                screen.attach(machine.screen().cloned());
                Target::Keyboard(machine.keyboard(), screen.redraw())
            }
            None => Target::Serial(machine.serial()),
        };
        if let Some(console) = &self.console {
            console.attach(Some(target));
        }
    }

    /// The machine is gone. Its last picture stays.
    pub(super) fn detach(&self) {
        if let Some(console) = &self.console {
            console.attach(None);
        }
        if let Some(screen) = &self.screen {
            screen.detach();
        }
    }

    /// Gives the terminal back.
    pub(super) fn release(&mut self) {
        self.detach();
        self.screen = None;
        self.raw = None;
    }
}
