// SPDX-License-Identifier: Apache-2.0
//! Threads of one function that wait for the host's storage in its place. They come when there is work and go when
//! there was none for a while. One that storage never answers cannot be ended: it is left behind.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::contract::threads::{self, ThreadKind};

/// Most requests that wait for storage at once.
const MOST_THREADS: usize = 8;
/// How long a thread without work stays.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// What a thread does.
pub(super) trait Task: Send + 'static {
    /// Does it.
    fn run(self);
}

/// The threads of one function.
pub(super) struct IoPool<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: String,
    state: Mutex<State<T>>,
    work: Condvar,
    ended: Condvar,
}

struct State<T> {
    tasks: VecDeque<T>,
    threads: usize,
    idle: usize,
    stopped: bool,
}

impl<T: Task> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task; `None` when the thread is to end.
    fn next(&self) -> Option<T> {
        let end = Instant::now() + IDLE_LIMIT;
        let mut state = self.state();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.stopped || left.is_zero() {
                // With the lock held, so that nobody counts on it any more.
                state.threads -= 1;
                self.ended.notify_all();
                return None;
            }
            state.idle += 1;
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }
}

/// Counts a thread whose task panics.
struct Guard<'a, T: Task>(&'a Shared<T>);

impl<T: Task> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state().threads -= 1;
            self.0.ended.notify_all();
        }
    }
}

impl<T: Task> IoPool<T> {
    /// No threads yet; they get the name `name`.
    pub(super) fn new(name: String) -> Self {
        let (work, ended) = (Condvar::new(), Condvar::new());
        let state = Mutex::new(State { tasks: VecDeque::new(), threads: 0, idle: 0, stopped: false });
        Self { shared: Arc::new(Shared { name, state, work, ended }) }
    }

    /// Has `task` run by a thread, in the order of the calls. Gives it back if there is no thread and none can be
    /// started, or after [`Self::stop`].
    pub(super) fn run(&self, task: T) -> Result<(), T> {
        let mut state = self.shared.state();
        if state.stopped {
            return Err(task);
        }
        // One that was woken for an earlier task may not have taken it yet.
        if state.idle <= state.tasks.len() && state.threads < MOST_THREADS {
            match self.spawn() {
                Ok(()) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    tracing::error!(function = self.shared.name, %error, "cannot start a thread for disk I/O");
                    return Err(task);
                }
            }
        }
        state.tasks.push_back(task);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// The new thread waits for the lock that the caller holds, and is counted by then.
    fn spawn(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let _guard = Guard(&shared);
            while let Some(task) = shared.next() {
                task.run();
            }
        };
        threads::spawn(ThreadKind::Storage, self.shared.name.clone(), run).map(drop)
    }

    /// Takes no more tasks and drops those that wait for a thread.
    pub(super) fn stop(&self) {
        let tasks = {
            let mut state = self.shared.state();
            state.stopped = true;
            std::mem::take(&mut state.tasks)
        };
        drop(tasks);
        self.shared.work.notify_all();
    }

    /// Waits for the end of all threads. Returns how many are left behind.
    pub(super) fn wait(&self, deadline: Instant) -> usize {
        let mut state = self.shared.state();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.threads == 0 || left.is_zero() {
                return state.threads;
            }
            state = self.shared.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
#[path = "io_pool_tests.rs"]
mod tests;
