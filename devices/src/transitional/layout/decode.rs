// SPDX-License-Identifier: Apache-2.0
//! Which register a guest's access to BAR0 is for. Pure and total: any offset, any width.
//!
//! The header has no promise for accesses that are not one whole register, and old drivers make
//! some (a debugging dump of the Windows drivers reads 4 bytes everywhere). The rule is that of the
//! device those drivers were tested with: an access is for the register that *starts* at its offset
//! and for no other; the value is zero-extended or cut. Where no register starts, reads give all
//! ones. The three 4-byte registers can also be read, and two of them written, in parts.

use super::fields::Split;
use super::identity::DeviceType;
use crate::bus::Width;
use crate::spec::virtio::legacy::{self, *};

/// Start of the device configuration while the guest has MSI-X off.
pub const CONFIG_START: u64 = legacy::CONFIG as u64;
/// Start of the device configuration while the guest has MSI-X on.
pub const CONFIG_START_MSIX: u64 = legacy::CONFIG_WITH_MSIX as u64;

/// A register of the legacy header that is read and written by commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// Features 0 to 31 that the device offers; read-only.
    DeviceFeatures,
    /// Features 0 to 31 that the driver accepts.
    DriverFeatures,
    /// Page number of the selected queue, guest address / 4096; 0 is "not set up".
    QueueAddress,
    /// Entries of the selected queue; 0 is "no such queue"; read-only.
    QueueSize,
    /// Which queue the queue registers are about.
    QueueSelect,
    /// Device status; writing 0 resets.
    Status,
    /// MSI-X vector for configuration changes. Only there while MSI-X is on.
    ConfigVector,
    /// MSI-X vector of the selected queue. Only there while MSI-X is on.
    QueueVector,
}

impl Register {
    /// Offset in [`crate::transitional::Area::Common`].
    pub const fn offset(self) -> u8 {
        match self {
            Self::DeviceFeatures => legacy::DEVICE_FEATURES,
            Self::DriverFeatures => legacy::DRIVER_FEATURES,
            Self::QueueAddress => legacy::QUEUE_ADDRESS,
            Self::QueueSize => legacy::QUEUE_SIZE,
            Self::QueueSelect => legacy::QUEUE_SELECT,
            Self::Status => legacy::DEVICE_STATUS,
            Self::ConfigVector => legacy::CONFIG_VECTOR,
            Self::QueueVector => legacy::QUEUE_VECTOR,
        }
    }

    /// Width of the whole register.
    pub const fn width(self) -> Width {
        match self {
            Self::DeviceFeatures | Self::DriverFeatures | Self::QueueAddress => Width::B4,
            Self::QueueSize | Self::QueueSelect | Self::ConfigVector | Self::QueueVector => Width::B2,
            Self::Status => Width::B1,
        }
    }
}

/// Read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The guest reads.
    Read,
    /// The guest writes.
    Write,
}

/// Who answers an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A header register, or its bytes from `skip` on. Reads: the whole register's value, shifted
    /// right by `skip` bytes, zero-extended or cut. Writes with `skip` 0 and at least the register's
    /// width set it to the low bytes; others set a part of it (4-byte registers) or, zero-extended,
    /// all of it (2-byte registers).
    Common {
        /// The register.
        register: Register,
        /// Bytes of the register before the access: 0..=3.
        skip: u8,
    },
    /// Device configuration, cut into fields. Bytes in no piece read as ones and are not written.
    Device(Split),
    /// Interrupt status: read and clear, at any width. Never written.
    Isr,
    /// Queue notify: the value's low 16 bits are a queue index. Never read.
    Notify,
    /// Nobody: a read gives all ones, a write is dropped.
    Nothing,
}

/// The shape of a function's BAR0, fixed when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Device type, for its configuration fields.
    pub device: DeviceType,
    /// Bytes of device configuration that the function has.
    pub config_len: u8,
}

impl Layout {
    /// Finds who answers. `guest_msix` is the MSI-X enable bit that the *guest* sees: it decides
    /// whether the vectors are there and moves the device configuration (virtio 1.3, "Legacy
    /// Interfaces: A Note on PCI Device Layout").
    pub fn decode(&self, offset: u64, width: Width, direction: Direction, guest_msix: bool) -> Target {
        if width == Width::B8 {
            return Target::Nothing;
        }
        let start = if guest_msix { CONFIG_START_MSIX } else { CONFIG_START };
        if offset >= start {
            return self.device_config(offset - start, width);
        }
        // In front of the configuration, so it is a small number.
        let at = offset as u8;
        match (at, direction) {
            (DEVICE_FEATURES..DRIVER_FEATURES, Direction::Read) => part(Register::DeviceFeatures, at, width),
            (DRIVER_FEATURES..QUEUE_ADDRESS, _) => part(Register::DriverFeatures, at, width),
            (QUEUE_ADDRESS..QUEUE_SIZE, Direction::Read) => part(Register::QueueAddress, at, width),
            (QUEUE_ADDRESS..QUEUE_SIZE, Direction::Write) => half(Register::QueueAddress, at, width),
            (QUEUE_SIZE, Direction::Read) => whole(Register::QueueSize),
            (QUEUE_SELECT, _) => whole(Register::QueueSelect),
            (QUEUE_NOTIFY, Direction::Write) => Target::Notify,
            (DEVICE_STATUS, _) => whole(Register::Status),
            (ISR_STATUS, Direction::Read) => Target::Isr,
            (CONFIG_VECTOR, _) => whole(Register::ConfigVector),
            (QUEUE_VECTOR, _) => whole(Register::QueueVector),
            _ => Target::Nothing,
        }
    }

    fn device_config(&self, offset: u64, width: Width) -> Target {
        let split = Split::new(self.device, offset, width, self.config_len);
        if split.pieces().is_empty() { Target::Nothing } else { Target::Device(split) }
    }
}

const fn whole(register: Register) -> Target {
    Target::Common { register, skip: 0 }
}

/// A 4-byte register, or 1 or 2 bytes of it from any byte on. An access that wide may not start in
/// the middle.
const fn part(register: Register, at: u8, width: Width) -> Target {
    let skip = at - register.offset();
    if matches!(width, Width::B4) && skip != 0 {
        return Target::Nothing;
    }
    Target::Common { register, skip }
}

/// The queue address is set by 4 bytes or by two aligned halves: a single byte of it says nothing
/// about where a ring is, and no driver writes one.
const fn half(register: Register, at: u8, width: Width) -> Target {
    let skip = at - register.offset();
    match (width, skip) {
        (Width::B4, 0) | (Width::B2, 0 | 2) => Target::Common { register, skip },
        _ => Target::Nothing,
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
