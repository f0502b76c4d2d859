// SPDX-License-Identifier: Apache-2.0
//! A conversation with a guest over its serial console.

use std::io::{Read, Write};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::{Heirloom, Running, reader};

/// A machine whose console is a pipe at both ends.
pub struct Console {
    machine: Running,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    errors: thread::JoinHandle<String>,
    /// All that was printed.
    printed: Vec<u8>,
    /// Where what was not yet waited for begins in the text without escape sequences.
    seen: usize,
    deadline: Instant,
}

impl Console {
    /// Starts a machine. All of the conversation has to end within `limit`, a safety net and no measure.
    pub fn start(run: Heirloom, limit: Duration) -> Result<Self, String> {
        let mut machine = run.stdin(Stdio::piped()).start()?;
        let mut stdout = machine.stdout.take().ok_or("no output")?;
        let input = machine.stdin.take().ok_or("no input")?;
        let errors = reader(machine.stderr.take());
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + limit;
        Ok(Self { machine, input, output, errors, printed: Vec::new(), seen: 0, deadline })
    }

    /// Runs a machine to its end; each of `steps` is a text that is waited for, and what is typed then. Returns what
    /// [`Self::end`] does.
    pub fn talk(run: Heirloom, steps: &[(&str, &[u8])], limit: Duration) -> Result<(ExitStatus, String), String> {
        let mut console = Self::start(run, limit)?;
        for (text, keys) in steps {
            console.wait_for(text)?;
            console.type_keys(keys)?;
        }
        console.end()
    }

    /// Waits for `text` in what comes after the text waited for before; returns what was between.
    pub fn wait_for(&mut self, text: &str) -> Result<String, String> {
        loop {
            let all = plain(&self.printed);
            let new = all.get(self.seen..).unwrap_or_default();
            if let Some(at) = new.find(text) {
                let before = new[..at].to_owned();
                self.seen += at + text.len();
                return Ok(before);
            }
            match self.output.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.printed.extend(bytes),
                Err(RecvTimeoutError::Timeout) => return Err(format!("no '{text}' in time; all of it:\n{all}")),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("the machine ended without '{text}'; all of it:\n{all}"));
                }
            }
        }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) -> Result<(), String> {
        self.type_keys(format!("{line}\r").as_bytes())
    }

    /// Types keys, as a terminal sends them.
    pub fn type_keys(&mut self, keys: &[u8]) -> Result<(), String> {
        let typed = self.input.write_all(keys).and_then(|()| self.input.flush());
        typed.map_err(|error| format!("cannot type '{}': {error}", keys.escape_ascii()))
    }

    /// Types a command for a shell whose prompt ends in `# `, and returns what it printed.
    pub fn command(&mut self, command: &str) -> Result<String, String> {
        // The echo of the line has the words apart.
        self.type_line(&format!("{command}; echo END'-'$?"))?;
        let output = self.wait_for("END-")?;
        let status = self.wait_for("# ")?;
        if status.trim_start().starts_with('0') {
            return Ok(output);
        }
        Err(format!("'{command}' failed with {status}: {output}"))
    }

    /// Waits for the end of the machine. Returns all that it printed, without escape sequences.
    pub fn end(mut self) -> Result<(ExitStatus, String), String> {
        loop {
            match self.output.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.printed.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it does not end; all of it:\n{}", plain(&self.printed)));
                }
            }
        }
        let status = self.machine.wait().map_err(|error| error.to_string())?;
        let errors = self.errors.join().unwrap_or_default();
        Ok((status, plain(&self.printed) + &errors))
    }
}

/// What was printed, without escape sequences and without bytes that no terminal shows: a cursor may be moved in the
/// middle of a word. A sequence that has not come whole yet is left out, so that the text only ever grows.
fn plain(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => match rest.next() {
                // Its parameters, up to the letter that ends it.
                Some('[') => drop(rest.by_ref().find(|c| ('@'..='~').contains(c))),
                // The name of a window or a link, up to BEL or ST.
                Some(']') => drop(rest.by_ref().find(|c| matches!(c, '\x07' | '\\'))),
                _ => {}
            },
            '\n' | ' '..='~' => shown.push(c),
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escape_sequences_are_left_out() {
        assert_eq!(plain(b"Boo\x1b[2;5Hting\x1b[0m\r\n"), "Booting\n");
        assert_eq!(plain(b"\x1b]3008;id=1\x1b\\login:"), "login:");
        assert_eq!(plain(b"log\x1b[1;3"), "log");
        assert_eq!(plain(b"\xe2\x80\xa6\x00ok"), "ok");
    }
}
