// SPDX-License-Identifier: Apache-2.0
//! The thread of a PF's watchdog, and its clock. What the watchdog does is `devices::admin`'s. It reads registers of
//! the PF, and a PF of another process takes its time for each, up to the function's deadline: nobody but this thread
//! waits for that while the machine runs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use devices::admin::PfWatchdog;
use devices::transitional::TransitionalDevice;

use super::SetupError;

/// Between two looks at the PF.
const INTERVAL: Duration = Duration::from_secs(1);

/// A PF that is looked after. Dropping it ends the watch, and waits for a look that is under way.
pub(super) struct PfWatch {
    /// Nothing is sent: the thread ends when it is gone.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PfWatch {
    /// `devices` are those of the PF's VFs.
    pub(super) fn start(watchdog: PfWatchdog, devices: Vec<Arc<TransitionalDevice>>) -> Result<Self, SetupError> {
        Self::with_interval(watchdog, devices, INTERVAL)
    }

    fn with_interval(
        mut watchdog: PfWatchdog,
        devices: Vec<Arc<TransitionalDevice>>,
        interval: Duration,
    ) -> Result<Self, SetupError> {
        let (stop, stopped) = mpsc::channel();
        let begun = Instant::now();
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                devices.iter().for_each(|device| device.look_at_early_kicks(begun.elapsed()));
                watchdog.tick();
            }
        };
        let failed = |source| SetupError::System { what: "start the thread of the PF's watchdog", source };
        let thread = thread::Builder::new().name("pf-watch".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for PfWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a PF's watchdog panicked");
        }
    }
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
