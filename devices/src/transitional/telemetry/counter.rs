// SPDX-License-Identifier: Apache-2.0
//! A counter that never blocks. Pure.

use std::sync::atomic::{AtomicU64, Ordering};

/// An event counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
