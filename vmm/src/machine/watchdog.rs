// SPDX-License-Identifier: Apache-2.0
//! The main loop's clock for the PF's watchdog. What the watchdog does is `devices::admin`'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::admin::PfWatchdog;
use devices::transitional::TransitionalDevice;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::timerfd::TimerFd;

use super::SetupError;

/// Between two looks at the PF.
const INTERVAL: Duration = Duration::from_secs(1);

/// Calls the watchdog once in each interval. Dropping it ends the watch.
pub(super) struct WatchdogTimer {
    timer: TimerFd,
    watchdog: PfWatchdog,
    devices: Vec<Arc<TransitionalDevice>>,
    begun: Instant,
}

impl WatchdogTimer {
    /// `devices` are those of the PF's VFs.
    pub(super) fn new(watchdog: PfWatchdog, devices: Vec<Arc<TransitionalDevice>>) -> Result<Self, SetupError> {
        Self::with_interval(watchdog, devices, INTERVAL)
    }

    fn with_interval(
        watchdog: PfWatchdog,
        devices: Vec<Arc<TransitionalDevice>>,
        interval: Duration,
    ) -> Result<Self, SetupError> {
        let failed = |error: vmm_sys_util::errno::Error| SetupError::System {
            what: "start the timer of the PF's watchdog",
            source: error.into(),
        };
        let mut timer = TimerFd::new().map_err(failed)?;
        timer.reset(interval, Some(interval)).map_err(failed)?;
        Ok(Self { timer, watchdog, devices, begun: Instant::now() })
    }
}

impl MutEventSubscriber for WatchdogTimer {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // It is readable, so this does not block; expirations that were missed are one look.
        if let Err(error) = self.timer.wait() {
            tracing::debug!(%error, "the watchdog's timer cannot be read");
        }
        self.watchdog.tick();
        let now = self.begun.elapsed();
        self.devices.iter().for_each(|device| device.look_at_early_kicks(now));
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.timer, EventSet::IN)) {
            tracing::error!("the PF is not watched: {error:?}");
        }
    }
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
