// SPDX-License-Identifier: Apache-2.0
//! One legacy register field of one device, whoever keeps it.

use super::access::Width;
use super::area::Area;
use super::register_error::RegisterError;
use super::wait::Wait;

/// Where a 16-bit store of a queue index kicks that queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyAddress {
    /// In a BAR of the VF itself.
    Member {
        /// BAR number, 1..=5.
        bar: u8,
        /// Bytes into the BAR; even, and inside.
        offset: u64,
    },
    /// In a BAR of the PF. Never handed to a guest: the page may hold other VFs' doorbells.
    Owner {
        /// BAR number, 0..=5.
        bar: u8,
        /// Bytes into the BAR; even, and inside.
        offset: u64,
    },
}

/// Reads and writes legacy register fields of one device. Callers pass accesses that lie inside one
/// field, and one access at a time for each device.
pub trait LegacyRegisters: Send + Sync {
    /// Reads a field or a part of it.
    fn read(&self, area: Area, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError>;
    /// Writes a field or a part of it. The device has acted on it when this returns.
    fn write(&self, area: Area, offset: u8, width: Width, value: u32, wait: &Wait<'_>) -> Result<(), RegisterError>;
    /// Where to store a queue index to kick that queue, in the device's order of preference. The
    /// earliest that can be reached counts; without one, a kick is a write to Common offset 16.
    fn notify_addresses(&self) -> &[NotifyAddress];
    /// Bytes of device configuration that can be reached, whatever the device has; `None` is all of them.
    fn config_reach(&self) -> Option<u8> {
        None
    }
}
