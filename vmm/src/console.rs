// SPDX-License-Identifier: Apache-2.0
//! Standard input to the guest's serial port or keyboard, with Ctrl-A as the way out.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use devices::chipset::keyboard::terminal::{Stroke, TerminalKeys};
use devices::chipset::{I8042, SerialPort};
use devices::contract::threads::{self, ThreadKind};

use crate::text_screen::Redraw;

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
    /// Ctrl-A B: a break, which Linux takes for the SysRq key; with a keyboard that key itself.
    Break,
    /// Ctrl-A X: the end.
    Leave,
    /// Ctrl-A R: redraw the screen.
    Redraw,
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
            (true, b'r' | b'R') => Typed::Redraw,
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

/// Where what is typed goes.
#[derive(Clone)]
pub enum Target {
    /// To the serial port, byte by byte.
    Serial(Arc<SerialPort>),
    /// To the keyboard, as the keys that a terminal sends so; with a way to redraw the screen.
    Keyboard(Arc<I8042>, Redraw),
}

/// Moves standard input to the guest, on a thread of its own: a read of a file, a pipe or a terminal may wait for
/// ever, and nothing else has to wait with it.
pub struct Console {
    /// A device of the present machine; a reboot puts another one here.
    target: Arc<Mutex<Option<Target>>>,
}

impl Console {
    /// Starts to read standard input; `on_leave` is called at Ctrl-A X. Only a person at a terminal
    /// can mean an escape by Ctrl-A, so `is_terminal` says whether to look for it.
    pub fn start(is_terminal: bool, on_leave: impl Fn() + Send + 'static) -> io::Result<Self> {
        let target = Arc::new(Mutex::new(None));
        let input = Input::new(Arc::clone(&target), is_terminal);
        threads::spawn(ThreadKind::Helper, "console", move || input.run(on_leave))?;
        Ok(Self { target })
    }

    /// Sends what is typed from now on to `target`.
    pub fn attach(&self, target: Option<Target>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

struct Input {
    target: Arc<Mutex<Option<Target>>>,
    filter: EscapeFilter,
    keys: TerminalKeys,
    /// The next key is pressed with Alt and SysRq.
    sys_rq: bool,
    is_terminal: bool,
    /// Since the guest took a byte last.
    waited: Duration,
}

impl Input {
    fn new(target: Arc<Mutex<Option<Target>>>, is_terminal: bool) -> Self {
        let (filter, keys) = (EscapeFilter::default(), TerminalKeys::default());
        Self { target, filter, keys, sys_rq: false, is_terminal, waited: Duration::ZERO }
    }

    /// Until standard input ends. The thread is not joined: it ends with the process.
    fn run(mut self, on_leave: impl Fn()) {
        let mut bytes = [0; 64];
        loop {
            match io::stdin().lock().read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => {
                    bytes[..count].iter().for_each(|byte| self.take(*byte, &on_leave));
                    self.pause();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return tracing::warn!("no more console input: {error}"),
            }
        }
    }

    fn take(&mut self, byte: u8, on_leave: &impl Fn()) {
        match if self.is_terminal { self.filter.take(byte) } else { Typed::Byte(byte) } {
            Typed::Byte(byte) => self.send(byte),
            Typed::Break => self.send_break(),
            Typed::Leave => on_leave(),
            Typed::Redraw => self.redraw(),
            Typed::Nothing => {}
        }
    }

    fn target(&self) -> Option<Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn redraw(&self) {
        if let Some(Target::Keyboard(_, redraw)) = self.target() {
            redraw.ask();
        }
    }

    fn send(&mut self, byte: u8) {
        match self.target() {
            Some(Target::Keyboard(..)) => {
                let stroke = self.keys.take(byte);
                self.press(stroke);
            }
            _ => self.send_when_there_is_room(|target| match target {
                Target::Serial(serial) => serial.enqueue(&[byte]) == 1,
                // It came meanwhile, and this byte was not meant for it.
                Target::Keyboard(..) => true,
            }),
        }
    }

    fn send_break(&mut self) {
        match self.target() {
            Some(Target::Keyboard(..)) => self.sys_rq = true,
            _ => self.send_when_there_is_room(|target| match target {
                Target::Serial(serial) => serial.send_break(),
                Target::Keyboard(..) => true,
            }),
        }
    }

    /// Nothing else was typed so far: an Escape was the key of that name.
    fn pause(&mut self) {
        let stroke = self.keys.flush();
        self.press(stroke);
    }

    fn press(&mut self, stroke: Option<Stroke>) {
        let Some(stroke) = stroke else { return };
        let stroke = if std::mem::take(&mut self.sys_rq) { stroke.sys_rq() } else { stroke };
        self.send_when_there_is_room(|target| match target {
            Target::Keyboard(keyboard, _) => keyboard.press(stroke),
            Target::Serial(_) => true,
        });
    }

    /// Waits until the guest has room, so that nothing that is piped in gets lost. At a terminal the
    /// byte is dropped instead after a while, and so is what follows until the guest takes one again:
    /// Ctrl-A X must get through to a guest that is stuck, whatever was typed before.
    fn send_when_there_is_room(&mut self, send: impl Fn(&Target) -> bool) {
        loop {
            if self.target().is_some_and(|target| send(&target)) {
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
    use devices::bus::{Access, IoDevice, Width};
    use devices::contract::mock::MockLine;

    use super::*;

    fn typed(text: &[u8]) -> Vec<Typed> {
        let mut filter = EscapeFilter::default();
        text.iter().map(|byte| filter.take(*byte)).filter(|typed| *typed != Typed::Nothing).collect()
    }

    #[test]
    fn ctrl_a_x_gets_through_what_a_stuck_guest_did_not_take() {
        let mut input = Input::new(Arc::default(), true);
        let left = std::cell::Cell::new(false);
        [b'y'; 100].iter().chain(b"\x01x").for_each(|byte| input.take(*byte, &|| left.set(true)));
        assert!(left.get());
        assert!(input.waited <= PATIENCE + RETRY, "each byte waited for itself: {:?}", input.waited);
    }

    /// Keys of a terminal reach the controller as scan codes; Ctrl-A B makes the next one a SysRq.
    #[test]
    fn what_is_typed_is_pressed() {
        let keyboard = Arc::new(I8042::new(Arc::new(MockLine::default())));
        let target = Target::Keyboard(Arc::clone(&keyboard), Redraw::default());
        let mut input = Input::new(Arc::new(Mutex::new(Some(target))), true);
        let port = |offset| keyboard.read(Access { offset, width: Width::B1, vcpu: 0 });
        let mut codes = |text: &[u8]| {
            text.iter().for_each(|byte| input.take(*byte, &|| {}));
            input.pause();
            std::iter::from_fn(|| (port(4) & 1 != 0).then(|| port(0))).collect::<Vec<_>>()
        };
        assert_eq!(codes(b"a"), [0x1e, 0x9e]);
        assert_eq!(codes(b"\x1b[A"), [0xe0, 0x48, 0xe0, 0xc8], "arrow up");
        assert_eq!(codes(b"\x1b"), [0x01, 0x81], "Escape");
        assert_eq!(codes(b"\x01bt")[..2], [0x38, 0x54], "Alt, SysRq");
    }

    #[test]
    fn ctrl_a_x_leaves_and_ctrl_a_a_sends_one() {
        assert_eq!(typed(b"ab"), [Typed::Byte(b'a'), Typed::Byte(b'b')]);
        assert_eq!(typed(b"\x01x"), [Typed::Leave]);
        assert_eq!(typed(b"\x01X"), [Typed::Leave]);
        assert_eq!(typed(b"\x01r"), [Typed::Redraw]);
        assert_eq!(typed(b"\x01b\x01B"), [Typed::Break, Typed::Break]);
        assert_eq!(typed(b"\x01a\x01\x01"), [Typed::Byte(1), Typed::Byte(1)]);
        assert_eq!(typed(b"\x01qx"), [Typed::Byte(b'x')], "an unknown sequence is swallowed whole");
    }
}
