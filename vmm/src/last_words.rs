// SPDX-License-Identifier: Apache-2.0
//! Messages of a process that is about to end, and a watch that it ends. Nobody may read standard error, and that must not
//! keep it from ending.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;
use std::{process, thread};

use crate::{terminal, waits};

/// How long the process may take to stop. Longer than a machine needs; what still holds it up then is this program, the
/// host's storage, or a reader that does not take the report.
const END_LIMIT: Duration = Duration::from_secs(15);
/// How long a message may take.
const LIMIT: Duration = Duration::from_millis(500);

/// Writes `text` and the end of its line to standard error, and waits half a second at most.
pub fn last_words(text: String) {
    let (sender, written) = mpsc::channel();
    // On a thread of its own, as it may wait for ever.
    let started = thread::Builder::new().spawn(move || {
        let _ = writeln!(io::stderr(), "{text}");
        let _ = sender.send(());
    });
    if started.is_ok() {
        let _ = written.recv_timeout(LIMIT);
    }
}

/// Ends the process with this exit code if it does not end by itself. The operator does not have to repeat the request with
/// SIGKILL.
pub fn end_in_time(code: u8) {
    let watch = move || {
        thread::sleep(END_LIMIT);
        terminal::restore();
        let rest = waits::current().unwrap_or_else(|| "the rest".to_owned());
        last_words(format!("heirloom: it did not stop within {END_LIMIT:?}: giving up on {rest}"));
        process::exit(code.into())
    };
    if let Err(error) = thread::Builder::new().name("end-in-time".to_owned()).spawn(watch) {
        tracing::warn!("cannot start the thread that limits how long stopping takes: {error}");
    }
}
