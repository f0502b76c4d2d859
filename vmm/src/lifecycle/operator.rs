// SPDX-License-Identifier: Apache-2.0
//! Who sits at the serial port: its output's file, the terminal, and the thread that reads standard input.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use api::{ConsoleConfig, ConsoleMode};
use devices::chipset::SerialPort;

use super::stop_request::{FROM_CONSOLE, StopRequest};
use crate::console::Console;
use crate::machine::{SerialOutput, SetupError};
use crate::output::Output;
use crate::terminal::RawTerminal;

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
    raw: Option<RawTerminal>,
}

impl Operator {
    /// Takes the terminal for a machine whose serial port is `config`; Ctrl-A X asks to stop.
    pub(super) fn take(&mut self, config: &ConsoleConfig, stop_request: &Arc<StopRequest>) -> Result<(), SetupError> {
        if config.mode != ConsoleMode::Tty {
            return Ok(());
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

    /// What is typed goes to `serial` from now on.
    pub(super) fn attach(&self, serial: Option<Arc<SerialPort>>) {
        if let Some(console) = &self.console {
            console.attach(serial);
        }
    }

    /// Gives the terminal back.
    pub(super) fn release(&mut self) {
        self.attach(None);
        self.raw = None;
    }
}
