// SPDX-License-Identifier: Apache-2.0
//! Calls that may wait for the host's storage, perhaps for ever: opening and reading files. What they are for is known
//! to the whole process, so that whoever ends it can say what it waits for; and they can be made [`apart`], on a thread
//! of their own that nobody has to wait for.
//!
//! Linux ends a wait for a file system in user space (FUSE) with the process only as long as that file system has not
//! taken the request.
#![forbid(unsafe_code)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What threads of this process do now that may wait, the oldest first, each with its number.
///
/// Global because whoever ends the process must find it.
static NOW: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());

/// Threads of [`apart`] that have not ended.
static APART: AtomicUsize = AtomicUsize::new(0);
/// Most of them: clients that ask again and again cost no more.
const MOST: usize = 8;

/// After this time it is said what is waited for.
const SAID_AFTER: Duration = Duration::from_secs(1);

/// The number of the next.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn now() -> MutexGuard<'static, Vec<(u64, String)>> {
    NOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes an entry of [`NOW`] out again, however the work ends.
struct Entry(u64);

impl Drop for Entry {
    fn drop(&mut self) {
        now().retain(|(number, _)| *number != self.0);
    }
}

/// Does `work`, which may wait; `what` it does, such as "opening the disk image /srv/a.img", is known meanwhile.
pub fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let entry = Entry(NEXT.fetch_add(1, Ordering::Relaxed));
    now().push((entry.0, what.to_owned()));
    work()
}

/// What this process waits for; `otherwise` where that is not known.
pub fn current_or(otherwise: &str) -> String {
    let all: Vec<_> = now().iter().map(|(_, what)| what.clone()).collect();
    if all.is_empty() { otherwise.to_owned() } else { all.join(", ") }
}

/// Waits for news of work [`apart`], at most for `limit`. After a second it says what is waited for, by [`current_or`].
///
/// # Errors
/// When there are none in time, or none can come any more.
pub fn news<T>(news: &Receiver<T>, limit: Option<Duration>, otherwise: &str) -> Result<T, RecvTimeoutError> {
    let first = limit.map_or(SAID_AFTER, |limit| limit.min(SAID_AFTER));
    match news.recv_timeout(first) {
        Err(RecvTimeoutError::Timeout) => {}
        ended => return ended,
    }
    tracing::warn!("still {}: the storage does not answer", current_or(otherwise));
    match limit {
        Some(limit) => news.recv_timeout(limit - first),
        None => news.recv().map_err(RecvTimeoutError::from),
    }
}

/// Does `work` on a thread of its own, which gives `done` what came of it: a panic's message, if one did. Nobody has to
/// wait for that thread: a process ends without it.
///
/// # Errors
/// When the system has no thread to give, or too many wait already.
pub fn apart<T>(
    work: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(Result<T, String>) + Send + 'static,
) -> io::Result<()> {
    if APART.fetch_add(1, Ordering::Relaxed) >= MOST {
        APART.fetch_sub(1, Ordering::Relaxed);
        let text = format!("{MOST} threads wait already for storage that does not answer");
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    let run = move || {
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| crate::panics::message(&*panic));
        APART.fetch_sub(1, Ordering::Relaxed);
        done(result);
    };
    thread::Builder::new().name("opening".to_owned()).spawn(run).map(drop).inspect_err(|_| {
        APART.fetch_sub(1, Ordering::Relaxed);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_known_until_it_ends_however_it_does() {
        let known = |what: &str| current_or("nothing").contains(what);
        assert!(!known("opening x"));
        during("opening x", || during("reading y", || assert!(known("opening x, reading y"))));
        let _ = catch_unwind(|| during("opening x", || panic!("on purpose")));
        assert!(!known("opening x"));
    }

    #[test]
    fn work_apart_gives_its_result_or_the_message_of_its_panic() {
        let (send, receive) = std::sync::mpsc::channel();
        let tell = |send: &std::sync::mpsc::Sender<_>| {
            let send = send.clone();
            move |result| drop(send.send(result))
        };
        apart(|| 7, tell(&send)).unwrap();
        assert_eq!(receive.recv().unwrap(), Ok(7));
        apart(|| panic!("on purpose"), tell(&send)).unwrap();
        assert_eq!(receive.recv().unwrap(), Err("on purpose".to_owned()));
    }
}
