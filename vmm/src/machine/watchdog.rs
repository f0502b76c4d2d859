// SPDX-License-Identifier: Apache-2.0
//! The thread of a PF's watchdog, and its clock. What the watchdog does is in `devices::admin`. It reads registers of
//! the PF, and a PF of another process takes its time for each, up to the function's deadline: nobody but this thread
//! waits for that while the machine runs.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devices::admin::PfWatchdog;
use devices::contract::threads::{self, ThreadKind};
use devices::function::PciFunction;
use devices::transitional::TransitionalDevice;

use super::SetupError;

/// Between two looks at the PF.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of a watch waits for a look that is under way.
const PATIENCE: Duration = Duration::from_millis(500);

/// A PF that is looked after. Dropping it ends the watch. A PF that does not answer a look that is under way is given
/// up then: its driver does not wait for it either.
pub(super) struct PfWatch {
    function: Arc<dyn PciFunction>,
    /// Nothing is sent: the thread ends when it is gone.
    stop: Option<Sender<()>>,
    /// Nothing comes: the thread has it for as long as it runs.
    ended: Receiver<()>,
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
        let (runs, ended) = mpsc::channel();
        let function = Arc::clone(watchdog.function());
        let begun = Instant::now();
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                devices.iter().for_each(|device| device.look_at_early_kicks(begun.elapsed()));
                watchdog.tick();
            }
            // Waits for an attempt to start the PF over.
            drop(watchdog);
            drop::<Sender<()>>(runs);
        };
        let failed = |source| SetupError::System { what: "start the thread of the PF's watchdog", source };
        let thread = threads::spawn(ThreadKind::PfWatch, "pf-watch", run).map_err(failed)?;
        Ok(Self { function, stop: Some(stop), ended, thread: Some(thread) })
    }

    /// The last look has begun, and nobody waits for it yet.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
    }
}

impl Drop for PfWatch {
    fn drop(&mut self) {
        self.stop();
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(pf = self.function.name(), "the PF does not answer: it is given up");
            self.function.give_up();
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a PF's watchdog panicked");
        }
    }
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
