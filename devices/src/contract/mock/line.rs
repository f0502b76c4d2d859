// SPDX-License-Identifier: Apache-2.0
//! An interrupt line without a controller.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::EventFd;

use crate::contract::platform::{IrqLine, Resampled};

/// A line that keeps its level, how often it rose, each call, and how many eventfds drive it.
#[derive(Debug, Default)]
pub struct MockLine {
    high: AtomicBool,
    rises: AtomicU64,
    calls: Mutex<Vec<bool>>,
    wired: Arc<AtomicU64>,
    no_resample: bool,
}

impl MockLine {
    /// The platform cannot tell when the guest is done.
    pub fn without_resample() -> Self {
        Self { no_resample: true, ..Self::default() }
    }

    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::SeqCst)
    }

    /// How often it went from low to high.
    pub fn rises(&self) -> u64 {
        self.rises.load(Ordering::SeqCst)
    }

    /// Levels it was given since the last question, repetitions too.
    pub fn take_calls(&self) -> Vec<bool> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Eventfds that drive it now.
    pub fn wired(&self) -> u64 {
        self.wired.load(Ordering::SeqCst)
    }
}

impl IrqLine for MockLine {
    fn set(&self, asserted: bool) {
        self.calls.lock().unwrap().push(asserted);
        if !self.high.swap(asserted, Ordering::SeqCst) && asserted {
            self.rises.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn resample(&self, _: &EventFd, _: &EventFd) -> io::Result<Box<dyn Resampled>> {
        if self.no_resample {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.wired.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Wire(self.wired.clone())))
    }
}

struct Wire(Arc<AtomicU64>);

impl Resampled for Wire {}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
