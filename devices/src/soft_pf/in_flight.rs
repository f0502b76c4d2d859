// SPDX-License-Identifier: Apache-2.0
//! Which requests of one function are with the host right now. They hold no lock of the device. Whoever has to know
//! that no DMA is made any more (a reset, an unmapping) waits here for them, for as long as it chooses; the
//! memory that they use lives until they end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::chain::Chain;

/// All requests of one function that are under way.
#[derive(Default)]
pub(super) struct InFlight {
    table: Mutex<Table>,
    ended: Condvar,
}

#[derive(Default)]
struct Table {
    /// Requests of earlier epochs do not start any more, and their results count for nothing.
    epoch: u64,
    next: u64,
    running: Vec<Running>,
    /// Requests with lower tickets were waited for in vain.
    given_up: u64,
    /// How many wait. To wake nobody is a system call, too.
    waiting: u32,
}

struct Running {
    ticket: u64,
    chain: Arc<Chain>,
}

/// One request is under way for as long as this lives.
pub(super) struct Token {
    all: Arc<InFlight>,
    ticket: u64,
}

impl InFlight {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all requests that were taken so far: those that have not begun never will. Returns the epoch of
    /// requests that are taken from now on.
    pub(super) fn begin_epoch(&self) -> u64 {
        let mut table = self.table();
        table.epoch = table.epoch.wrapping_add(1);
        table.epoch
    }

    /// Begins a request of `epoch` that uses the memory of `chain`; `None` if it is forgotten.
    ///
    /// What is mapped for DMA must be looked up after this: what is unmapped later waits for the request.
    pub(super) fn begin(self: &Arc<Self>, epoch: u64, chain: &Arc<Chain>) -> Option<Token> {
        let mut table = self.table();
        if table.epoch != epoch {
            return None;
        }
        let ticket = table.next;
        table.next += 1;
        table.running.push(Running { ticket, chain: Arc::clone(chain) });
        Some(Token { all: Arc::clone(self), ticket })
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.table().running.is_empty()
    }

    /// Waits until all requests that are under way now have ended. Says whether they have.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        self.wait_for(deadline, |_| true)
    }

    /// As [`Self::wait`], for those requests only that use memory from address `first` to `last`.
    pub(super) fn wait_for_range(&self, first: u64, last: u64, deadline: Instant) -> bool {
        self.wait_for(deadline, |chain| chain.touches(first, last))
    }

    /// What was waited for in vain is not waited for again: one wait for storage that does not answer is enough.
    fn wait_for(&self, deadline: Instant, concerns: impl Fn(&Chain) -> bool) -> bool {
        let mut table = self.table();
        let limit = table.next;
        loop {
            let mut waits = table.running.iter().filter(|r| r.ticket < limit && concerns(&r.chain)).peekable();
            if waits.peek().is_none() {
                return true;
            }
            let given_up = waits.all(|running| running.ticket < table.given_up);
            let left = deadline.saturating_duration_since(Instant::now());
            if given_up || left.is_zero() {
                return false;
            }
            table.waiting += 1;
            table = self.ended.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
            table.waiting -= 1;
        }
    }

    /// Whoever waits from now on does not wait for what is under way now.
    pub(super) fn give_up(&self) {
        let mut table = self.table();
        table.given_up = table.next;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut table = self.all.table();
        if let Some(at) = table.running.iter().position(|running| running.ticket == self.ticket) {
            table.running.swap_remove(at);
        }
        let somebody_waits = table.waiting != 0;
        drop(table);
        if somebody_waits {
            self.all.ended.notify_all();
        }
    }
}
