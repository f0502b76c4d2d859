// SPDX-License-Identifier: Apache-2.0
//! How long accesses took. Pure; its memory does not grow.

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

/// Latencies up to one minute are kept, with two significant digits.
const LONGEST: u64 = 60_000_000_000;
const DIGITS: u8 = 2;

/// Latencies of one kind of access.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    histogram: Option<Histogram<u64>>,
    count: u64,
    max: u64,
}

/// Percentiles, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    /// How many there were.
    pub count: u64,
    /// Half took at most this.
    pub p50: u64,
    /// 90 of 100 took at most this.
    pub p90: u64,
    /// 99 of 100 took at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Latencies {
    /// One more.
    pub(crate) fn add(&mut self, ns: u64) {
        if self.histogram.is_none() {
            self.histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(ns);
        }
        self.count += 1;
        self.max = self.max.max(ns);
    }

    /// What they come to.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.histogram.as_ref().map_or(0, |h| h.value_at_quantile(quantile)).min(self.max);
        Percentiles { count: self.count, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: self.max }
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.percentiles().serialize(serializer)
    }
}
