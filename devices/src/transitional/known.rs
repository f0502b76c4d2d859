// SPDX-License-Identifier: Apache-2.0
//! Which header registers of the device the VMM knows the value of, so that a guest's read needs no
//! command (hazard H18). Pure; it is told what was read and written, and asks nobody.
//!
//! | register | known | until |
//! | --- | --- | --- |
//! | device features | once read | function reset, failure, modern use |
//! | driver features | once written or read | reset |
//! | queue address | once written or read; 0 after a reset that ended | reset |
//! | queue size | once read, per queue | reset |
//! | queue select | once written | reset |
//! | status | once written with bits that legacy has; 0 after a reset that ended | reset |
//! | vectors | once *read*: a device may refuse the one written (hazard H4) | written, MSI-X on or off |
//!
//! A queue address of 0 may reset the device, and so does a guest's status 0: both end what the last
//! column calls a reset. A failed access, a function out of service, a function-level reset, and any
//! access to the function's modern interface end everything: then the device may be in a state that
//! the legacy interface did not bring it to. Only accesses that pass through this process are seen.
//! Whoever maps a BAR with virtio structures into a guest that keeps its legacy interface has to
//! switch the shadow off.

use super::config_known::ConfigKnown;
use super::decode::Register;
use super::identity::DeviceType;
use super::queue_set::MAX_QUEUES;

/// Status bits that legacy has: ACKNOWLEDGE, DRIVER, DRIVER_OK, FAILED. A device may drop others.
const STATUS_LEGACY: u8 = 0x87;

/// What is known of one queue's registers.
#[derive(Clone, Copy, Debug, Default)]
struct QueueKnown {
    address: Option<u32>,
    size: Option<u16>,
    vector: Option<u16>,
}

/// What is known of one device.
#[derive(Debug)]
pub struct Known {
    enabled: bool,
    /// Number of modern accesses that `self` takes into account.
    modern_uses: u64,
    device_features: Option<u32>,
    driver_features: Option<u32>,
    /// The queue that the device has selected.
    select: Option<u16>,
    status: Option<u8>,
    config_vector: Option<u16>,
    queues: Box<[QueueKnown]>,
    /// Device configuration.
    pub config: ConfigKnown,
}

impl Known {
    /// Nothing is known of a `device`; if not `enabled`, nothing ever will be.
    pub fn new(enabled: bool, device: DeviceType) -> Self {
        Self {
            enabled,
            modern_uses: 0,
            device_features: None,
            driver_features: None,
            select: None,
            status: None,
            config_vector: None,
            queues: vec![QueueKnown::default(); usize::from(MAX_QUEUES)].into_boxed_slice(),
            config: ConfigKnown::new(enabled, device),
        }
    }

    /// To be called before each access: forgets everything if the function is out of service, or if
    /// the modern interface was used since the last call, and says whether it did. `modern_uses` only
    /// ever grows.
    pub fn begin_access(&mut self, faulted: bool, modern_uses: u64) -> bool {
        let forgets = faulted || modern_uses != self.modern_uses;
        if forgets {
            self.modern_uses = modern_uses;
            self.forget();
        }
        forgets
    }

    /// The value that the device would answer, if that is known.
    pub fn get(&self, register: Register) -> Option<u32> {
        match register {
            Register::DeviceFeatures => self.device_features,
            Register::DriverFeatures => self.driver_features,
            Register::QueueSelect => self.select.map(u32::from),
            Register::Status => self.status.map(u32::from),
            Register::ConfigVector => self.config_vector.map(u32::from),
            Register::QueueAddress => self.queue()?.address,
            Register::QueueSize => self.queue()?.size.map(u32::from),
            Register::QueueVector => self.queue()?.vector.map(u32::from),
        }
    }

    /// The device answered `value` for a whole register.
    pub fn read(&mut self, register: Register, value: u32) {
        if !self.enabled {
            return;
        }
        match register {
            Register::DeviceFeatures => self.device_features = Some(value),
            Register::DriverFeatures => self.driver_features = Some(value),
            Register::ConfigVector => self.config_vector = Some(value as u16),
            // The device's own business: forwarded until the guest writes them.
            Register::QueueSelect | Register::Status => {}
            Register::QueueAddress => self.with_queue(|queue| queue.address = Some(value)),
            Register::QueueSize => self.with_queue(|queue| queue.size = Some(value as u16)),
            Register::QueueVector => self.with_queue(|queue| queue.vector = Some(value as u16)),
        }
    }

    /// The device took `value` for a whole register. Not for status 0: see [`Self::reset`].
    pub fn written(&mut self, register: Register, value: u32) {
        if !self.enabled {
            return;
        }
        match register {
            Register::DeviceFeatures | Register::QueueSize => {}
            Register::DriverFeatures => {
                self.driver_features = Some(value);
                self.config.driver_features(value);
            }
            Register::QueueSelect => self.select = Some(value as u16),
            Register::Status => {
                let status = value as u8;
                self.status = (status & !STATUS_LEGACY == 0).then_some(status);
            }
            Register::ConfigVector => self.config_vector = None,
            Register::QueueVector if self.queue().is_none() => self.forget_vectors(),
            Register::QueueVector => self.with_queue(|queue| queue.vector = None),
            Register::QueueAddress if value == 0 => self.forget_state(),
            Register::QueueAddress => self.with_queue(|queue| queue.address = Some(value)),
        }
    }

    /// The device was reset by its status register; `confirmed` if it then read as 0.
    pub fn reset(&mut self, confirmed: bool) {
        if !confirmed {
            return self.forget();
        }
        self.forget_state();
        self.config.restart();
        if self.enabled {
            self.status = Some(0);
            self.queues.fill(QueueKnown { address: Some(0), ..QueueKnown::default() });
        }
    }

    /// The function was reset: by the VMM, or with the machine.
    pub fn power_on(&mut self) {
        self.forget();
        self.config.restart();
    }

    /// MSI-X was switched on or off; the VMM may have used the vectors for itself meanwhile.
    pub fn forget_vectors(&mut self) {
        self.config_vector = None;
        self.queues.iter_mut().for_each(|queue| queue.vector = None);
        self.config.end_run();
    }

    /// Forgets all that a device reset changes.
    pub fn forget_state(&mut self) {
        self.driver_features = None;
        self.select = None;
        self.status = None;
        self.config_vector = None;
        self.queues.fill(QueueKnown::default());
        self.config.forget();
    }

    /// Forgets everything: the device may be in any state.
    pub fn forget(&mut self) {
        self.forget_state();
        self.device_features = None;
        self.config.distrust();
    }

    fn queue(&self) -> Option<&QueueKnown> {
        self.queues.get(usize::from(self.select?))
    }

    fn with_queue(&mut self, change: impl FnOnce(&mut QueueKnown)) {
        if let Some(queue) = self.select.and_then(|select| self.queues.get_mut(usize::from(select))) {
            change(queue);
        }
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
