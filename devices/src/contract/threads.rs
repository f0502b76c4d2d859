// SPDX-License-Identifier: Apache-2.0
//! Threads of this program and their kinds. Whoever starts one says what kind it is; what a kind may do is decided
//! elsewhere, and put in force on each new thread before its work begins.

use std::io;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};

/// What a thread is for, which decides what it may ask of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThreadKind {
    /// Runs guest code and serves its exits.
    Vcpu,
    /// Serves the queues of one software function.
    Function,
    /// Waits for a disk image in a function's place.
    Storage,
    /// Looks after a PF, or starts it over.
    PfWatch,
    /// One side of vfio-user: a client of a function that is offered here, or what watches a function of another
    /// process.
    VfioUser,
    /// Writes a file or stream: messages, events, traces, serial output.
    Writer,
    /// Serves clients of the API.
    Api,
    /// Anything else: clocks, signals, the terminal.
    Helper,
}

type Start = fn(ThreadKind) -> io::Result<()>;

/// Global because threads are started in every part of the program.
static START: OnceLock<Start> = OnceLock::new();

/// Has `start` called on each new thread, before its work. The first one counts, for the life of the process.
pub fn on_start(start: Start) {
    let _ = START.set(start);
}

/// What a new thread does first, where it is not [`spawn`]ed.
///
/// # Errors
/// When it cannot be confined. It must not go on then.
pub fn enter(kind: ThreadKind) -> io::Result<()> {
    START.get().map_or(Ok(()), |start| start(kind))
}

/// A thread called `name` (at most 15 bytes are kept) that does `work`. One that cannot be confined panics instead.
///
/// # Errors
/// When the system has none to give.
pub fn spawn<T: Send + 'static>(
    kind: ThreadKind,
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(move || {
        if let Err(error) = enter(kind) {
            #[expect(clippy::panic, reason = "it must not go on, and a panic ends the machine in order")]
            std::panic::panic_any(format!("it cannot be confined: {error}"));
        }
        work()
    })
}
