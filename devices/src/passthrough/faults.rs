// SPDX-License-Identifier: Apache-2.0
//! Failures of one function, and why it was taken from the guest. Counting takes no lock.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::contract::Counter;

/// The failures of one function.
#[derive(Debug, Default)]
pub(super) struct Faults {
    id: String,
    errors: Counter,
    logged: AtomicBool,
    gone: AtomicBool,
    reason: Mutex<Option<String>>,
}

impl Faults {
    /// None so far; `id` is for logs.
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// An operation failed. A guest can cause failures at will, so one is logged.
    pub(super) fn count(&self, error: &dyn Display) {
        self.errors.add();
        if !self.logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(device = self.id, %error, "access to the function failed; more are counted, not logged");
        }
    }

    /// The guest has the function no more. The reason that came before all others stays.
    pub(super) fn take_away(&self, reason: &str) {
        let mut slot = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            tracing::error!(device = self.id, reason, "function is taken from the guest");
            *slot = Some(reason.to_owned());
        }
        self.gone.store(true, Ordering::Release);
    }

    /// Whether the guest has the function no more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Why, if so.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Operations that failed.
    pub(super) fn errors(&self) -> u64 {
        self.errors.get()
    }
}
