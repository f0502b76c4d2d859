// SPDX-License-Identifier: Apache-2.0
//! The guest's text screen on the operator's terminal, on a thread of its own: a terminal that takes nothing (Ctrl-S)
//! holds up nobody else.
#![forbid(unsafe_code)]

mod draw;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use devices::chipset::vga::{Screen, Vga};
use devices::contract::threads::{self, ThreadKind};
use rustix::termios::{isatty, tcgetwinsize};

use crate::terminal;
use draw::Painter;

/// Between two looks at the screen: 25 pictures a second.
const PERIOD: Duration = Duration::from_millis(40);
/// How long the terminal may take to become as it was.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of a terminal that does not say its size.
const USUAL_SIZE: (u16, u16) = (80, 25);

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    source: Mutex<Source>,
    redraw: AtomicBool,
}

impl Shared {
    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is shown.
#[derive(Debug, Default)]
enum Source {
    #[default]
    Nothing,
    /// The card of the present machine; a reboot puts another one here.
    Card(Arc<Vga>),
    /// The last picture of one that is gone, with what came since the last look.
    Picture(Screen),
}

/// The screen on the terminal; it ends on drop, and the last picture stays behind as text.
#[derive(Debug)]
pub(crate) struct TextScreen {
    shared: Arc<Shared>,
    /// Dropped, it tells the thread to end.
    running: Option<Sender<()>>,
    ended: Receiver<()>,
}

/// Asks for the whole picture once more.
#[derive(Clone, Debug, Default)]
pub struct Redraw(Arc<Shared>);

impl Redraw {
    /// At the next look.
    pub fn ask(&self) {
        self.0.redraw.store(true, Ordering::Relaxed);
    }
}

impl TextScreen {
    /// Takes the terminal on standard output.
    ///
    /// # Errors
    /// When there is none, or no thread.
    pub(crate) fn start() -> io::Result<Self> {
        if !isatty(rustix::stdio::stdout()) {
            return Err(io::Error::other(
                "standard output is not a terminal; without --console text, 'heirloom ctl screen' prints the screen",
            ));
        }
        let shared = Arc::new(Shared::default());
        let (running, stop) = channel();
        let (end, ended) = channel();
        let thread = Thread { shared: Arc::clone(&shared), painter: Painter::new() };
        threads::spawn(ThreadKind::Helper, "text-screen", move || {
            if let Err(error) = thread.run(&stop) {
                tracing::warn!("cannot draw the text screen on the terminal any more: {error}");
            }
            drop(end);
        })?;
        Ok(Self { shared, running: Some(running), ended })
    }

    /// Shows `card` from now on.
    pub(crate) fn attach(&self, card: Option<Arc<Vga>>) {
        *self.shared.source() = card.map_or(Source::Nothing, Source::Card);
    }

    /// The machine is gone: its last picture stays.
    pub(crate) fn detach(&self) {
        let mut source = self.shared.source();
        if let Source::Card(card) = &*source {
            let picture = card.screen();
            *source = Source::Picture(picture);
        }
    }

    /// For who sees that the picture is spoilt.
    pub(crate) fn redraw(&self) -> Redraw {
        Redraw(Arc::clone(&self.shared))
    }
}

impl Drop for TextScreen {
    fn drop(&mut self) {
        self.running = None;
        // It ends by dropping its end.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

struct Thread {
    shared: Arc<Shared>,
    painter: Painter,
}

impl Thread {
    fn run(mut self, stop: &Receiver<()>) -> io::Result<()> {
        terminal::enter_alternate_screen()?;
        let drawn = loop {
            self.draw()?;
            if stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
                break self.draw();
            }
        };
        terminal::leave_alternate_screen();
        let mut out = io::stdout().lock();
        drawn?;
        self.painter.shown().text().iter().try_for_each(|line| writeln!(out, "{line}\r"))?;
        out.flush()
    }

    /// Brings the terminal up to date, if there is a screen.
    fn draw(&mut self) -> io::Result<()> {
        let screen = match &*self.shared.source() {
            Source::Nothing => return Ok(()),
            Source::Card(card) => card.screen(),
            Source::Picture(picture) => picture.clone(),
        };
        if self.shared.redraw.swap(false, Ordering::Relaxed) {
            self.painter.redraw();
        }
        let bytes = self.painter.update(screen, size());
        if !bytes.is_empty() {
            let mut out = io::stdout().lock();
            out.write_all(bytes.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Columns and rows of the terminal.
fn size() -> (u16, u16) {
    match tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => USUAL_SIZE,
    }
}
