// SPDX-License-Identifier: Apache-2.0
//! A request on its way from a queue to the host and back: taken, and given back, under the device's lock, carried out
//! without it.

use super::disk::Request;

/// A request that was taken.
pub(super) struct Job {
    /// Index of the queue it came from.
    pub queue: usize,
    /// When it was taken, see [`super::in_flight::InFlight::begin_epoch`].
    pub epoch: u64,
    pub request: Request,
}
