// SPDX-License-Identifier: Apache-2.0
//! Errors of the host's storage: a disk that is full, one that fails, a file that shrank. The guest gets an error for
//! each; here they are counted, and told when they begin and when they end, not one by one.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::figures::Figures;

/// Storage that fails and works by turns is told of no more often.
const PAUSE: Duration = Duration::from_secs(10);

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    Flush,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
        })
    }
}

/// Errors of one disk.
pub(super) struct HostErrors {
    figures: Arc<Figures>,
    episodes: [Episode; 3],
}

/// Errors of one operation, from the first until it works again: a full disk can still be read.
#[derive(Default)]
struct Episode {
    /// Looked at by each request that works.
    failing: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// The beginning of this episode was told, so its end is, too.
    begun: bool,
    errors: u64,
}

impl HostErrors {
    /// None so far. They are counted in `figures`.
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self { figures, episodes: Default::default() }
    }

    fn episode(&self, what: Operation) -> &Episode {
        let [read, write, flush] = &self.episodes;
        match what {
            Operation::Read => read,
            Operation::Write => write,
            Operation::Flush => flush,
        }
    }

    /// The host could not do it.
    pub(super) fn failed(&self, what: Operation, sector: u64, error: &io::Error) {
        let text = describe(what, sector, error);
        self.figures.count_host_error(&text);
        let episode = self.episode(what);
        let first = !episode.failing.swap(true, Ordering::AcqRel);
        let mut told = episode.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.errors = if first { 1 } else { told.errors.saturating_add(1) };
        if !first || told.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        (told.last, told.begun) = (Some(Instant::now()), true);
        drop(told);
        let device = self.figures.name();
        tracing::warn!(device, "{text}; the guest gets an error. Further errors are counted until it works again");
        self.figures.tell(&text);
    }

    /// The host did it.
    pub(super) fn worked(&self, what: Operation) {
        let episode = self.episode(what);
        if !episode.failing.load(Ordering::Acquire) || !episode.failing.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut told = episode.told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut told.begun) {
            tracing::info!(device = self.figures.name(), errors = told.errors, "the host can {what} the disk again");
        }
    }
}

/// What happened, and what can be done.
fn describe(what: Operation, sector: u64, error: &io::Error) -> String {
    let place = match what {
        Operation::Flush => "the host cannot flush the disk".to_owned(),
        what => format!("the host cannot {what} the disk at sector {sector}"),
    };
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{place}: its file was shortened since it was opened"),
        io::ErrorKind::StorageFull => format!("{place}: {error}; writing continues when there is room"),
        _ => format!("{place}: {error}"),
    }
}
