// SPDX-License-Identifier: Apache-2.0
//! A limit for how often one source says something: a place in the program, and the device that it is about. It is for
//! the life of the process, as a guest that resets itself would start again with each boot. What is left out is counted,
//! and told before the next message of that source.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Queue;

/// Messages of one source at once.
const BURST: u32 = 50;
/// After those, one in this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// Sources that are told apart; what comes from more is counted by its place in the program alone.
const SOURCES: usize = 1024;
/// Bytes of a device's name that count: the guest has no say in it, a server of functions may.
const NAME: usize = 64;

/// The limit. Debugging messages have none: who asks for them wants them all.
pub(super) struct RateLimit {
    sources: Mutex<HashMap<Source, Bucket>>,
    queue: Queue,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Source {
    place: Identifier,
    device: Option<String>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: u32,
    refilled: Instant,
    left_out: u64,
}

impl Bucket {
    /// Whether one more may go, and how many did not since one went.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.refilled).as_millis() / INTERVAL.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out = self.left_out.saturating_add(1);
                None
            }
        }
    }
}

impl RateLimit {
    /// What it has to say goes into `queue`.
    pub(super) fn new(queue: Queue) -> Self {
        Self { sources: Mutex::default(), queue }
    }

    /// Whether a message of `source` may go, and how many did not since one went.
    fn take(&self, source: Source, now: Instant) -> Option<u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match sources.len() < SOURCES || sources.contains_key(&source) {
            true => source,
            false => Source { device: None, ..source },
        };
        sources.entry(key).or_insert(Bucket { left: BURST, refilled: now, left_out: 0 }).take(now)
    }
}

/// Looks for the field `device`.
#[derive(Default)]
struct Device(Option<String>);

impl Device {
    fn found(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "device" {
            let mut name = value.to_string();
            name.truncate(name.floor_char_boundary(NAME));
            self.0 = Some(name);
        }
    }
}

impl Visit for Device {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.found(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.found(field, format_args!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut device = Device::default();
        event.record(&mut device);
        let source = Source { place: metadata.callsite(), device: device.0 };
        let about = source.device.as_ref().map_or_else(String::new, |device| format!(" about {device}"));
        let Some(left_out) = self.take(source, Instant::now()) else { return false };
        if left_out != 0 {
            let place = metadata.target();
            self.queue.say(&format!("{left_out} messages like the next one{about} were left out ({place})"));
        }
        true
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
