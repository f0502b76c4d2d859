// SPDX-License-Identifier: Apache-2.0
//! A watch that a process which was asked to end does so.
#![forbid(unsafe_code)]

use std::time::Duration;
use std::{process, thread};

use devices::contract::threads::{self, ThreadKind};

use crate::last_words::last_words;
use crate::{terminal, waits};

/// How long the process may take to stop. Longer than a machine needs; what still holds it up then is this program, the
/// host's storage, or a reader that does not take the report.
const END_LIMIT: Duration = Duration::from_secs(15);

/// Ends the process with this exit code if it does not end by itself. The operator does not have to repeat the request with
/// SIGKILL.
pub fn end_in_time(code: u8) {
    let watch = move || {
        thread::sleep(END_LIMIT);
        terminal::restore();
        let rest = waits::current_or("the rest");
        last_words(format!("heirloom: it did not stop within {END_LIMIT:?}: giving up on {rest}"));
        process::exit(code.into())
    };
    if let Err(error) = threads::spawn(ThreadKind::Helper, "end-in-time", watch) {
        tracing::warn!("cannot start the thread that limits how long stopping takes: {error}");
    }
}
