// SPDX-License-Identifier: Apache-2.0
//! Who is connected, and which of them are idle. Their number has a limit; when it is reached, whoever has asked
//! for nothing for the longest time makes way, so that clients that do nothing lock nobody out. One whose request is
//! whole stays until it has its reply.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All clients of a server.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Idle and busy ones.
    connected: usize,
    /// Counts; a lower one is older.
    next: u64,
    /// By the number that they got when they became idle.
    idle: BTreeMap<u64, Arc<Notify>>,
}

impl State {
    fn rest(&mut self, leave: &Arc<Notify>) -> u64 {
        self.next += 1;
        self.idle.insert(self.next, Arc::clone(leave));
        self.next
    }
}

impl Clients {
    /// Lets one more in, who is idle at first, if there are fewer than `most` or an idle one makes way.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<Client> {
        let mut state = self.state();
        if state.connected >= most {
            let (_, oldest) = state.idle.pop_first()?;
            oldest.notify_one();
            state.connected -= 1;
        }
        state.connected += 1;
        let leave = Arc::new(Notify::new());
        let number = Mutex::new(Some(state.rest(&leave)));
        Some(Client { clients: Arc::clone(self), leave, number })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Client {
    clients: Arc<Clients>,
    leave: Arc<Notify>,
    /// While it is idle, or after it had to make way.
    number: Mutex<Option<u64>>,
}

impl Client {
    /// Ends when it has to make way.
    pub(super) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }

    /// It has asked for something, and stays as long as the answer is alive.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.clients.state();
        let mut number = self.number();
        // One that had to make way does not become busy.
        if number.is_some_and(|number| state.idle.remove(&number).is_some()) {
            *number = None;
        }
        drop(number);
        Busy(Arc::clone(self))
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let number = self.number().take();
        let mut state = self.clients.state();
        // One that made way is counted no more.
        if number.is_none_or(|number| state.idle.remove(&number).is_some()) {
            state.connected -= 1;
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Client>);

impl Drop for Busy {
    fn drop(&mut self) {
        let client = &self.0;
        let mut state = client.clients.state();
        client.number().get_or_insert_with(|| state.rest(&client.leave));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f23_the_longest_idle_client_makes_way_and_busy_ones_stay() {
        let clients = Arc::new(Clients::default());
        let enter = || clients.enter(3).map(Arc::new);
        let counts = || {
            let state = clients.state();
            (state.connected, state.idle.len())
        };
        let [first, second, third] = [enter(), enter(), enter()].map(Option::unwrap);
        let busy = [first.busy(), third.busy()];
        let fourth = enter().unwrap();
        assert!(clients.state().idle.len() == 1, "the second made way");
        // It is of no use to ask for something now, and its leaving makes no more room.
        drop(second.busy());
        drop(second);
        let busy_too = fourth.busy();
        assert!(enter().is_none(), "all are busy");
        drop(busy);
        drop(busy_too);
        assert_eq!(counts(), (3, 3));
        // All are idle, the first for the longest time.
        let is_idle = |client: &Arc<Client>| {
            let number = client.number().unwrap();
            clients.state().idle.contains_key(&number)
        };
        let fifth = enter().unwrap();
        assert_eq!([&first, &third, &fourth, &fifth].map(is_idle), [false, true, true, true]);
        drop((first, third, fourth, fifth));
        assert_eq!(counts(), (0, 0));
    }
}
