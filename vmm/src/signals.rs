// SPDX-License-Identifier: Apache-2.0
//! SIGINT, SIGTERM, SIGHUP and SIGQUIT as events of the main loop instead of sudden ends.
#![forbid(unsafe_code)]

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Waits for signals that end the virtual machine, and calls `on_signal` with each.
pub struct SignalWatch<F> {
    pipe: UnixStream,
    latest: Arc<AtomicUsize>,
    on_signal: F,
}

impl<F: FnMut(i32) + Send> SignalWatch<F> {
    /// Takes over the signals for the life of the process.
    pub fn new(on_signal: F) -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let latest = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            // The number is stored before the byte is written: actions run in the order of registration.
            signal_hook::flag::register_usize(signal, Arc::clone(&latest), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { pipe, latest, on_signal })
    }
}

impl<F: FnMut(i32) + Send> MutEventSubscriber for SignalWatch<F> {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        let mut bytes = [0; 64];
        // Level-triggered: what is left in the pipe wakes the loop again.
        while let Ok(1..) = io::Read::read(&mut self.pipe, &mut bytes) {}
        let signal = self.latest.swap(0, Ordering::Relaxed);
        if signal != 0 {
            (self.on_signal)(signal as i32);
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.pipe, EventSet::IN)) {
            tracing::error!("cannot watch for signals: {error}");
        }
    }
}
