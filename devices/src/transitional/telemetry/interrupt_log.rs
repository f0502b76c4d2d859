// SPDX-License-Identifier: Apache-2.0
//! Which interrupts the drivers of a function used, one after the other: a BIOS, a boot loader and a system each have
//! their own, and a system that goes down may switch MSI-X off before it resets the device. Pure but for the clock.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::spec::virtio::status::DRIVER_OK;

/// How the guest gets interrupts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InterruptReport {
    /// The guest switched MSI-X on.
    Msix,
    /// INTx, made from the function's MSI-X.
    Intx,
    /// Not at all: MSI-X is off and there is no INTx.
    None,
}

impl InterruptReport {
    /// As reports and the API call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Msix => "msix",
            Self::Intx => "intx",
            Self::None => "none",
        }
    }
}

/// Entries that are kept: the first ones.
const MOST: usize = 8;

/// One kind of interrupts while one driver had DRIVER_OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InterruptUse {
    /// Which.
    pub interrupts: InterruptReport,
    /// INTx made from the function's MSI-X in that time; interrupts by MSI-X are not counted.
    pub intx: u64,
    /// Milliseconds from the making of the function to the beginning of it.
    pub after_ms: u64,
    /// Milliseconds from there to its end, or until now.
    pub for_ms: u64,
}

/// These, in order.
#[derive(Debug)]
pub(crate) struct InterruptLog {
    made: Instant,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    first: [Option<InterruptUse>; MOST],
    /// All of them, kept or not.
    count: u64,
    running: Option<Running>,
}

/// What is going on.
#[derive(Clone, Copy, Debug)]
struct Running {
    interrupts: InterruptReport,
    since: Instant,
    /// INTx of the function when it began.
    before: u64,
}

impl Log {
    fn begin(&mut self, interrupts: InterruptReport, intx: u64, made: Instant) {
        let index = usize::try_from(self.count).unwrap_or(MOST);
        if let Some(entry) = self.first.get_mut(index) {
            let after_ms = made.elapsed().as_millis() as u64;
            *entry = Some(InterruptUse { interrupts, intx: 0, after_ms, for_ms: 0 });
        }
        self.count += 1;
        self.running = Some(Running { interrupts, since: Instant::now(), before: intx });
    }

    /// Brings the entry of what is going on up to date, if it is kept.
    fn update(&mut self, intx: u64) {
        let Some(running) = self.running else { return };
        let index = self.count.checked_sub(1).and_then(|last| usize::try_from(last).ok());
        if let Some(Some(entry)) = index.and_then(|index| self.first.get_mut(index)) {
            entry.intx = intx.saturating_sub(running.before);
            entry.for_ms = running.since.elapsed().as_millis() as u64;
        }
    }
}

impl InterruptLog {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { made: Instant::now(), log: Mutex::default() }
    }

    /// The status that the guest wrote, or its interrupts, changed; `intx` have been made for the function so far.
    pub(crate) fn changed(&self, status: u8, interrupts: InterruptReport, intx: u64) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (status & DRIVER_OK != 0).then_some(interrupts);
        if log.running.map(|running| running.interrupts) == wanted {
            return;
        }
        log.update(intx);
        log.running = None;
        if let Some(interrupts) = wanted {
            log.begin(interrupts, intx, self.made);
        }
    }

    /// The entries that are kept, and how many came after them.
    pub(crate) fn report(&self, intx: u64) -> (Vec<InterruptUse>, u64) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.update(intx);
        (log.first.iter().flatten().copied().collect(), log.count.saturating_sub(MOST as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: u8 = 7;

    fn told(log: &InterruptLog, intx: u64) -> (Vec<(InterruptReport, u64)>, u64) {
        let (uses, more) = log.report(intx);
        (uses.iter().map(|used| (used.interrupts, used.intx)).collect(), more)
    }

    #[test]
    fn one_driver_after_the_other() {
        let log = InterruptLog::new();
        log.changed(3, InterruptReport::Intx, 0);
        assert_eq!(told(&log, 0), (vec![], 0));
        log.changed(OK, InterruptReport::Intx, 0);
        log.changed(0, InterruptReport::Intx, 5);
        log.changed(1, InterruptReport::Msix, 5);
        log.changed(OK, InterruptReport::Msix, 5);
        assert_eq!(told(&log, 5), (vec![(InterruptReport::Intx, 5), (InterruptReport::Msix, 0)], 0));
        // MSI-X off before the reset: a use of its own.
        log.changed(OK, InterruptReport::Intx, 6);
        log.changed(0, InterruptReport::Intx, 9);
        let kinds = [(InterruptReport::Intx, 5), (InterruptReport::Msix, 1), (InterruptReport::Intx, 3)];
        assert_eq!(told(&log, 20), (kinds.to_vec(), 0));
    }

    #[test]
    fn the_last_ones_are_only_counted() {
        let log = InterruptLog::new();
        for _ in 0..MOST + 3 {
            log.changed(OK, InterruptReport::Msix, 0);
            log.changed(0, InterruptReport::Intx, 0);
        }
        let (uses, more) = log.report(100);
        assert_eq!((uses.len(), more), (MOST, 3));
        assert!(uses.iter().all(|used| (used.interrupts, used.intx) == (InterruptReport::Msix, 0)));
        // What goes on and is not kept changes no other.
        log.changed(OK, InterruptReport::Intx, 0);
        assert_eq!(told(&log, 7).0[MOST - 1], (InterruptReport::Msix, 0));
    }
}
