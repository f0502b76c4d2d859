// SPDX-License-Identifier: Apache-2.0
//! What makes the [register cache](super::cache) wrong: one table with a row for each event and a
//! column for each cell. Pure, and the only place that says what an event ends.
//!
//! What one read or write of a register says about that register itself is not here but in
//! [`RegisterCache::read`](super::cache::RegisterCache::read) and `written`.

/// Something after which the device may have other values than those that were read or written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest reset the device, and its status read 0 afterwards.
    ResetEnded,
    /// The guest reset the device, and nobody saw that end.
    ResetUnconfirmed,
    /// The function was reset: by the VMM, or with the machine.
    FunctionReset,
    /// A queue got address 0: some devices reset all of themselves then.
    QueueAddressZero,
    /// COMMAND changed: well-known devices drop DRIVER_OK when they lose bus mastering.
    CommandChanged,
    /// MSI-X control was written: the VMM may have used the vectors for itself meanwhile (hazard H1).
    MsixControlWritten,
    /// An access failed: what it did is not known.
    AccessFailed,
    /// The function is out of service.
    OutOfService,
    /// The modern interface was used, which can do anything to the device (hazard H36).
    ModernUse,
    /// Device configuration was written.
    ConfigWritten,
    /// The driver accepted CTRL_MAC_ADDR: it can change the MAC address through a queue.
    MacAddressByQueue,
}

/// What becomes of a cell's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays.
    Keep,
    /// It is not known any more.
    Forget,
    /// It is 0 now, which is known.
    Zero,
}

/// What becomes of the MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacFate {
    /// It stays.
    Keep,
    /// It is not known, until it is read again.
    Forget,
    /// It is not known, and a value that is read may change at any time.
    Distrust,
    /// It is not known until it is read again, and then only writes of the guest change it.
    Trust,
}

/// What an event does. Every event also ends a run of device configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What the guest wrote: into all registers that it can write.
    pub guest: Fate,
    /// Whether the device's status has to be 0 until somebody writes it; `None` is as before.
    pub status_is_zero: Option<bool>,
    /// Values of the device, by register.
    pub device: DeviceFates,
    /// Values of the device for each queue, by register.
    pub queues: QueueFates,
    /// The MAC address in device configuration.
    pub mac: MacFate,
}

/// What becomes of the device's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceFates {
    pub device_features: Fate,
    pub driver_features: Fate,
    pub queue_select: Fate,
    pub status: Fate,
    pub config_vector: Fate,
}

/// What becomes of each queue's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFates {
    pub address: Fate,
    pub size: Fate,
    pub vector: Fate,
}

impl Event {
    /// The table.
    #[rustfmt::skip]
    pub(crate) const fn row(self) -> Row {
        use Fate::{Forget as F, Keep as K, Zero as Z};
        // Which queue a reset selects is not said. Features are constant, but a function that failed may be
        // another one when it is back. Only the guest's reset ends its own values.
        //                              guest  status_is_0   device's features
        //                                                   offered
        //                                                   |  driver's
        //                                                   |  |  queue address, size, select
        //                                                   |  |  |  |  |  status
        //                                                   |  |  |  |  |  |  config vector
        //                                                   |  |  |  |  |  |  |  queue vector
        let (guest, status_is_zero, device, mac) = match self {
            Self::ResetEnded         => (F, Some(true),  [K, F, Z, F, F, Z, F, F], MacFate::Trust),
            Self::ResetUnconfirmed   => (F, Some(true),  [F, F, F, F, F, F, F, F], MacFate::Distrust),
            Self::FunctionReset      => (K, None,        [F, F, F, F, F, F, F, F], MacFate::Trust),
            Self::QueueAddressZero   => (K, None,        [K, F, F, F, F, F, F, F], MacFate::Forget),
            Self::CommandChanged     => (K, None,        [K, F, F, F, F, F, F, F], MacFate::Forget),
            Self::MsixControlWritten => (K, None,        [K, K, K, K, K, K, F, F], MacFate::Keep),
            Self::AccessFailed       => (K, None,        [F, F, F, F, F, F, F, F], MacFate::Distrust),
            Self::OutOfService       => (K, None,        [F, F, F, F, F, F, F, F], MacFate::Distrust),
            Self::ModernUse          => (K, Some(false), [F, F, F, F, F, F, F, F], MacFate::Distrust),
            Self::ConfigWritten      => (K, None,        [K, K, K, K, K, K, K, K], MacFate::Forget),
            Self::MacAddressByQueue  => (K, None,        [K, K, K, K, K, K, K, K], MacFate::Distrust),
        };
        let [device_features, driver_features, address, size, queue_select, status, config_vector, vector] = device;
        let device = DeviceFates { device_features, driver_features, queue_select, status, config_vector };
        Row { guest, status_is_zero, device, queues: QueueFates { address, size, vector }, mac }
    }
}

impl QueueFates {
    /// Whether each queue's cells stay as they are.
    pub(crate) const fn keep(&self) -> bool {
        matches!((self.address, self.size, self.vector), (Fate::Keep, Fate::Keep, Fate::Keep))
    }
}
