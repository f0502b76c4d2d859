// SPDX-License-Identifier: Apache-2.0
//! Messages of a process that is about to end. Nobody may read standard error, and that must not keep it from ending.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
