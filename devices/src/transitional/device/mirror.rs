// SPDX-License-Identifier: Apache-2.0
//! What the guest did with the legacy registers, for people who look into a running machine: the
//! registers as the cache has them, and features by name. Sends no command.

use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Core, TransitionalDevice};
use crate::spec::virtio::status::NAMES;
use crate::transitional::layout::decode::Register;
use crate::transitional::telemetry::feature_names::feature_names;

/// Between two looks at a lock that a register access holds.
const PAUSE: Duration = Duration::from_micros(200);

/// The legacy registers of one function as the VMM remembers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegisterMirror {
    /// Features the guest was offered; `null` until it asked.
    pub device_features: Option<u32>,
    /// Their names.
    pub device_feature_names: Vec<String>,
    /// Features the guest accepted.
    pub driver_features: u32,
    /// Their names.
    pub driver_feature_names: Vec<String>,
    /// The queue selected last.
    pub queue_select: u16,
    /// The status the guest wrote last.
    pub device_status: u8,
    /// Names of its bits.
    pub device_status_names: Vec<&'static str>,
    /// Vector for configuration changes, as far as it is known.
    pub config_msix_vector: Option<u16>,
    /// Whether the guest has MSI-X on, which moves device configuration from offset 20 to 24.
    pub msix_enabled: bool,
    /// Queues that the guest asked about or set up.
    pub queues: Vec<QueueMirror>,
}

/// The registers of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct QueueMirror {
    /// Its index.
    pub index: u16,
    /// Its page number; 0 is "not set up".
    pub address: u32,
    /// Entries, as far as the guest or the VMM asked.
    pub size: Option<u16>,
}

impl TransitionalDevice {
    /// The registers, unless an access below holds them for longer than `patience`: `None` then.
    pub fn mirror(&self, patience: Duration) -> Option<RegisterMirror> {
        let core = self.lock_within(patience)?;
        let names = |features| feature_names(self.registers.layout().device, features);
        let cache = &core.registers;
        let offered = cache.written(Register::DeviceFeatures);
        let driver_features = cache.written(Register::DriverFeatures).unwrap_or(0);
        let queues = cache.queues().map(|(index, queue)| QueueMirror {
            index,
            address: queue.address.written.unwrap_or(0),
            size: queue.size.written.map(|size| size as u16),
        });
        Some(RegisterMirror {
            device_features: offered,
            device_feature_names: names(offered.unwrap_or(0)),
            driver_features,
            driver_feature_names: names(driver_features),
            queue_select: cache.queue_select(),
            device_status: cache.status(),
            device_status_names: status_names(cache.status()),
            config_msix_vector: cache.known(Register::ConfigVector).map(|vector| vector as u16),
            msix_enabled: core.interrupts.guest_msix(),
            queues: queues.filter(|queue| queue.address != 0 || queue.size.unwrap_or(0) != 0).collect(),
        })
    }

    fn lock_within(&self, patience: Duration) -> Option<MutexGuard<'_, Core>> {
        let start = Instant::now();
        loop {
            match self.core.try_lock() {
                Ok(core) => return Some(core),
                Err(TryLockError::Poisoned(poisoned)) => return Some(PoisonError::into_inner(poisoned)),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return None,
            }
        }
    }
}

/// Names of status bits (virtio 1.3, "Device Status Field").
fn status_names(status: u8) -> Vec<&'static str> {
    NAMES.into_iter().filter(|(bit, _)| status & bit != 0).map(|(_, name)| name).collect()
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
