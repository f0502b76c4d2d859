// SPDX-License-Identifier: Apache-2.0
//! Standard input to the guest's serial port, with Ctrl-A as the way out.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use devices::chipset::SerialPort;

/// Ctrl-A.
const ESCAPE: u8 = 0x01;
/// How often to look whether the guest has room for what was typed.
const RETRY: Duration = Duration::from_millis(10);
/// How long a typed byte waits for a guest that takes none.
const PATIENCE: Duration = Duration::from_secs(1);

/// What typed bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the guest.
    Byte(u8),
    /// Ctrl-A B: a break, which Linux takes for the SysRq key.
    Break,
    /// Ctrl-A X: the end.
    Leave,
    /// Part of an escape sequence.
    Nothing,
}

/// Finds Ctrl-A sequences. Pure.
#[derive(Debug, Default)]
pub struct EscapeFilter {
    escaped: bool,
}

impl EscapeFilter {
    /// Takes one typed byte.
    pub fn take(&mut self, byte: u8) -> Typed {
        match (std::mem::take(&mut self.escaped), byte) {
            (true, b'x' | b'X') => Typed::Leave,
            (true, b'b' | b'B') => Typed::Break,
            // As in screen: Ctrl-A A, or Ctrl-A twice, sends one.
            (true, b'a' | b'A' | ESCAPE) => Typed::Byte(ESCAPE),
            (true, _) => Typed::Nothing,
            (false, ESCAPE) => {
                self.escaped = true;
                Typed::Nothing
            }
            (false, byte) => Typed::Byte(byte),
        }
    }
}

/// Moves standard input to the guest's serial port, on a thread of its own: a read of a file, a pipe
/// or a terminal may wait for ever, and nothing else has to wait with it.
pub struct Console {
    /// The serial port of the present machine; a reboot puts another one here.
    serial: Arc<Mutex<Option<Arc<SerialPort>>>>,
}

impl Console {
    /// Starts to read standard input; `on_leave` is called at Ctrl-A X. Only a person at a terminal
    /// can mean an escape by Ctrl-A, so `is_terminal` says whether to look for it.
    pub fn start(is_terminal: bool, on_leave: impl Fn() + Send + 'static) -> io::Result<Self> {
        let serial = Arc::new(Mutex::new(None));
        let input =
            Input { serial: Arc::clone(&serial), filter: EscapeFilter::default(), is_terminal, waited: Duration::ZERO };
        thread::Builder::new().name("console".to_owned()).spawn(move || input.run(on_leave))?;
        Ok(Self { serial })
    }

    /// Sends what is typed from now on to `serial`.
    pub fn attach(&self, serial: Option<Arc<SerialPort>>) {
        *self.serial.lock().unwrap_or_else(PoisonError::into_inner) = serial;
    }
}

struct Input {
    serial: Arc<Mutex<Option<Arc<SerialPort>>>>,
    filter: EscapeFilter,
    is_terminal: bool,
    /// Since the guest took a byte last.
    waited: Duration,
}

impl Input {
    /// Until standard input ends. The thread is not joined: it ends with the process.
    fn run(mut self, on_leave: impl Fn()) {
        let mut bytes = [0; 64];
        loop {
            match io::stdin().lock().read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => bytes[..count].iter().for_each(|byte| self.take(*byte, &on_leave)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return tracing::warn!("no more console input: {error}"),
            }
        }
    }

    fn take(&mut self, byte: u8, on_leave: &impl Fn()) {
        match if self.is_terminal { self.filter.take(byte) } else { Typed::Byte(byte) } {
            Typed::Byte(byte) => self.send(|serial| serial.enqueue(&[byte]) == 1),
            Typed::Break => self.send(SerialPort::send_break),
            Typed::Leave => on_leave(),
            Typed::Nothing => {}
        }
    }

    /// Waits until the guest has room, so that nothing that is piped in gets lost. At a terminal the
    /// byte is dropped instead after a while, and so is what follows until the guest takes one again:
    /// Ctrl-A X must get through to a guest that is stuck, whatever was typed before.
    fn send(&mut self, offer: impl Fn(&SerialPort) -> bool) {
        loop {
            let serial = self.serial.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if serial.is_some_and(|serial| offer(&serial)) {
                self.waited = Duration::ZERO;
                return;
            }
            if self.is_terminal && self.waited > PATIENCE {
                return;
            }
            thread::sleep(RETRY);
            self.waited += RETRY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &[u8]) -> Vec<Typed> {
        let mut filter = EscapeFilter::default();
        text.iter().map(|byte| filter.take(*byte)).filter(|typed| *typed != Typed::Nothing).collect()
    }

    #[test]
    fn ctrl_a_x_gets_through_what_a_stuck_guest_did_not_take() {
        let mut input = Input {
            serial: Arc::default(),
            filter: EscapeFilter::default(),
            is_terminal: true,
            waited: Duration::ZERO,
        };
        let left = std::cell::Cell::new(false);
        let start = std::time::Instant::now();
        [b'y'; 100].iter().chain(b"\x01x").for_each(|byte| input.take(*byte, &|| left.set(true)));
        assert!(left.get());
        assert!(start.elapsed() < 20 * PATIENCE, "each byte waited for itself: {:?}", start.elapsed());
    }

    #[test]
    fn ctrl_a_x_leaves_and_ctrl_a_a_sends_one() {
        assert_eq!(typed(b"ab"), [Typed::Byte(b'a'), Typed::Byte(b'b')]);
        assert_eq!(typed(b"\x01x"), [Typed::Leave]);
        assert_eq!(typed(b"\x01X"), [Typed::Leave]);
        assert_eq!(typed(b"\x01b\x01B"), [Typed::Break, Typed::Break]);
        assert_eq!(typed(b"\x01a\x01\x01"), [Typed::Byte(1), Typed::Byte(1)]);
        assert_eq!(typed(b"\x01qx"), [Typed::Byte(b'x')], "an unknown sequence is swallowed whole");
    }
}
