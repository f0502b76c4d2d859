// SPDX-License-Identifier: Apache-2.0
//! How long to wait for a device, and what ends the wait before that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How long to wait for an answer, and what ends the wait early.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// When to give up.
    pub deadline: Instant,
    /// Set when the VM stops; a waiting vCPU leaves at once.
    pub cancelled: &'a AtomicBool,
}

/// Why a wait ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOver {
    /// The deadline passed.
    Timeout,
    /// The VM stops.
    Cancelled,
}

impl Wait<'_> {
    /// Why to stop waiting now, if there is a reason.
    pub fn over(&self) -> Option<WaitOver> {
        if self.cancelled.load(Ordering::Relaxed) {
            Some(WaitOver::Cancelled)
        } else if Instant::now() >= self.deadline {
            Some(WaitOver::Timeout)
        } else {
            None
        }
    }
}
