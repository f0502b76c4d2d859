// SPDX-License-Identifier: Apache-2.0
//! A set of queue indices that vCPUs read and change without a lock. Pure.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Queues a function can have here. Legacy devices have a few; a network card with 64 queue pairs
/// has 129.
pub const MAX_QUEUES: u16 = 256;
const WORDS: usize = MAX_QUEUES as usize / 64;

/// Queue indices below [`MAX_QUEUES`]; larger ones are never in it. Saved as a list of them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<u16>", into = "Vec<u16>")]
pub struct QueueSet {
    words: [AtomicU64; WORDS],
}

impl QueueSet {
    fn place(&self, queue: u16) -> Option<(&AtomicU64, u64)> {
        Some((self.words.get(usize::from(queue / 64))?, 1 << (queue % 64)))
    }

    /// Puts `queue` in.
    pub fn insert(&self, queue: u16) {
        if let Some((word, bit)) = self.place(queue) {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Takes `queue` out.
    pub fn remove(&self, queue: u16) {
        if let Some((word, bit)) = self.place(queue) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Whether `queue` is in.
    pub fn contains(&self, queue: u16) -> bool {
        self.place(queue).is_some_and(|(word, bit)| word.load(Ordering::SeqCst) & bit != 0)
    }

    /// Takes all out.
    pub fn clear(&self) {
        for word in &self.words {
            word.store(0, Ordering::SeqCst);
        }
    }

    /// Has the queues of `other` in, and no others.
    pub fn set(&self, other: &Self) {
        for (word, value) in self.words.iter().zip(&other.words) {
            word.store(value.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// Takes all out and says which were in, in ascending order.
    pub fn take(&self) -> impl Iterator<Item = u16> + use<> {
        let mut words = [0; WORDS];
        for (copy, word) in words.iter_mut().zip(&self.words) {
            *copy = word.swap(0, Ordering::SeqCst);
        }
        members(words)
    }

    /// Which are in, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        let mut words = [0; WORDS];
        for (copy, word) in words.iter_mut().zip(&self.words) {
            *copy = word.load(Ordering::SeqCst);
        }
        members(words)
    }
}

impl FromIterator<u16> for QueueSet {
    fn from_iter<I: IntoIterator<Item = u16>>(queues: I) -> Self {
        let set = Self::default();
        queues.into_iter().for_each(|queue| set.insert(queue));
        set
    }
}

impl From<Vec<u16>> for QueueSet {
    fn from(queues: Vec<u16>) -> Self {
        queues.into_iter().collect()
    }
}

impl From<QueueSet> for Vec<u16> {
    fn from(set: QueueSet) -> Self {
        set.iter().collect()
    }
}

impl Clone for QueueSet {
    fn clone(&self) -> Self {
        let copy = Self::default();
        copy.set(self);
        copy
    }
}

impl PartialEq for QueueSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for QueueSet {}

fn members(words: [u64; WORDS]) -> impl Iterator<Item = u16> + use<> {
    (0..MAX_QUEUES).filter(move |queue| words[usize::from(queue / 64)] & 1 << (queue % 64) != 0)
}

#[cfg(test)]
#[path = "queue_set_tests.rs"]
mod tests;
