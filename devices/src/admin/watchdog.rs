// SPDX-License-Identifier: Apache-2.0
//! Watches a PF for those who use its VFs: tells them when it is lost, starts it again on a thread of
//! its own, and tells them when it is back (hazard H27). It decides *when*; `pf_restart` knows how.
//!
//! Nothing here waits but that thread and register reads, and no lock is held while they do.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::pf_log::{PfCounter, PfLog};
use super::{AdminError, PfDriver, PfError, QueueCounter};
use crate::contract::threads::{self, ThreadKind};
use crate::contract::{NotifyAddress, Wait};
use crate::function::PciFunction;

/// Longest time for one attempt to start the PF again.
const RESTART_LIMIT: Duration = Duration::from_secs(10);
/// Pauses between attempts: doubled from the shorter to the longer one.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A PF that holds a command that was given up, and answers no other for this long, is lost.
const SILENCE: Duration = Duration::from_secs(10);
const SILENT: &str = "the PF holds a command and has answered none for 10 s";

/// Who uses a VF, and has to know what becomes of its PF. Called without a lock, on any thread.
pub trait PfClient: Send + Sync {
    /// The PF is lost, and the state of the VF with it. Must not wait for a command.
    fn pf_lost(&self, reason: &str);
    /// Commands work again. The VF is as after power-on and takes queue notifications at the
    /// addresses in `notify`, best first, or by commands.
    fn pf_returned(&self, notify: &[NotifyAddress]);
}

/// One VF of the PF.
#[derive(Clone)]
pub struct WatchedVf {
    /// SR-IOV number, 1..=NumVFs.
    pub member: NonZeroU16,
    /// The function, for what is in its BARs.
    pub function: Arc<dyn PciFunction>,
    /// Its user.
    pub client: Arc<dyn PfClient>,
}

impl fmt::Debug for WatchedVf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedVf").field("member", &self.member).field("function", &self.function).finish()
    }
}

/// What the watchdog found at its last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PfHealth {
    /// All is well.
    Running,
    /// Lost; an attempt to start it again runs or is due.
    Lost,
}

/// The watchdog of one PF. Dropping it ends an attempt that runs.
#[derive(Debug)]
pub struct PfWatchdog {
    driver: Arc<PfDriver>,
    vfs: Arc<[WatchedVf]>,
    stop: Arc<AtomicBool>,
    log: Arc<PfLog>,
    health: PfHealth,
    attempt: Option<JoinHandle<Result<(), PfError>>>,
    retry_at: Option<Instant>,
    retry_pause: Duration,
    /// Commands answered when that was last seen to grow, and when that was.
    progress: Option<(u64, Instant)>,
}

impl PfWatchdog {
    /// Watches the PF of `driver` for the users of `vfs`.
    pub fn new(driver: Arc<PfDriver>, vfs: Vec<WatchedVf>) -> Self {
        Self {
            driver,
            vfs: vfs.into(),
            stop: Arc::default(),
            log: Arc::default(),
            health: PfHealth::Running,
            attempt: None,
            retry_at: None,
            retry_pause: RETRY.0,
            progress: None,
        }
    }

    /// Notes losses and restarts in `log`, which outlives the watchdog.
    #[must_use]
    pub fn with_log(mut self, log: Arc<PfLog>) -> Self {
        self.log = log;
        self
    }

    /// The PF.
    pub fn function(&self) -> &Arc<dyn PciFunction> {
        self.driver.function()
    }

    /// Times the PF was started again.
    pub fn restarts(&self) -> u64 {
        self.log.report().counts.get(PfCounter::Restarts)
    }

    /// Looks after the PF; to be called about once a second, on a thread of its own: register reads, which a PF of
    /// another process may take its function's deadline for, and perhaps the start of a thread.
    pub fn tick(&mut self) -> PfHealth {
        self.tick_at(Instant::now())
    }

    fn tick_at(&mut self, now: Instant) -> PfHealth {
        if self.attempt_goes_on(now) {
            return self.health;
        }
        self.check_silence(now);
        match self.driver.check() {
            Ok(()) => self.health = PfHealth::Running,
            Err(reason) => self.lost(&reason, now),
        }
        self.health
    }

    fn lost(&mut self, reason: &AdminError, now: Instant) {
        if self.health == PfHealth::Running {
            self.health = PfHealth::Lost;
            let reason = reason.to_string();
            self.log.lost(&reason, now);
            self.vfs.iter().for_each(|vf| vf.client.pf_lost(&reason));
        }
        if self.retry_at.is_none_or(|at| now >= at) {
            self.begin_attempt();
        }
    }

    /// A PF whose registers look well, but that took a command and is silent since.
    fn check_silence(&mut self, now: Instant) {
        let queue = self.driver.channel();
        let counts = queue.counts();
        let answered = counts.get(QueueCounter::Answered);
        match self.progress {
            Some((before, since)) if counts.get(QueueCounter::Quarantined) != 0 && before == answered => {
                if now.saturating_duration_since(since) >= SILENCE {
                    queue.die(SILENT);
                }
            }
            _ => self.progress = Some((answered, now)),
        }
    }

    fn begin_attempt(&mut self) {
        let (driver, vfs) = (Arc::clone(&self.driver), Arc::clone(&self.vfs));
        let (stop, log) = (Arc::clone(&self.stop), Arc::clone(&self.log));
        // Noted here and not at the next look: the machine may end before that.
        let run = move || restart(&driver, &vfs, &stop).inspect(|()| log.restarted(Instant::now()));
        match threads::spawn(ThreadKind::PfWatch, "pf-restart", run) {
            Ok(attempt) => self.attempt = Some(attempt),
            Err(error) => tracing::error!(%error, "cannot start a thread to restart the PF"),
        }
    }

    /// Whether an attempt still runs; takes the outcome of one that has ended.
    fn attempt_goes_on(&mut self, now: Instant) -> bool {
        let Some(attempt) = self.attempt.take_if(|attempt| attempt.is_finished()) else {
            return self.attempt.is_some();
        };
        match attempt.join() {
            Ok(Ok(())) => {
                (self.retry_at, self.retry_pause, self.progress) = (None, RETRY.0, None);
                self.health = PfHealth::Running;
            }
            Ok(Err(error)) => self.retry_later(&error, now),
            Err(_) => self.retry_later(&"the thread panicked", now),
        }
        false
    }

    fn retry_later(&mut self, error: &dyn fmt::Display, now: Instant) {
        self.log.restart_failed();
        tracing::warn!(%error, pause = ?self.retry_pause, "the PF was not restarted; trying again");
        self.retry_at = now.checked_add(self.retry_pause);
        self.retry_pause = (self.retry_pause * 2).min(RETRY.1);
    }
}

impl Drop for PfWatchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.attempt.take().is_some_and(|attempt| attempt.join().is_err()) {
            tracing::error!("the thread that restarts the PF panicked");
        }
    }
}

/// One attempt: the PF, then what its VFs' users have to learn again.
fn restart(driver: &PfDriver, vfs: &[WatchedVf], stop: &AtomicBool) -> Result<(), PfError> {
    let wait = Wait { deadline: Instant::now() + RESTART_LIMIT, cancelled: stop };
    driver.restart(&wait)?;
    for vf in vfs {
        // Without an address, kicks are commands: slower, but the VF works.
        let notify = notify_addresses(driver, vf, &wait).unwrap_or_else(|error| {
            tracing::warn!(member = vf.member, %error, "no notify address after the PF's restart");
            Vec::new()
        });
        vf.client.pf_returned(&notify);
    }
    Ok(())
}

fn notify_addresses(driver: &PfDriver, vf: &WatchedVf, wait: &Wait<'_>) -> Result<Vec<NotifyAddress>, PfError> {
    driver.notify_info(vf.member, vf.function.as_ref(), wait)
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
