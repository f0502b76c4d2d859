// SPDX-License-Identifier: Apache-2.0
//! What a transitional function says it is, derived from the modern id of the VF below it. Pure.
//!
//! Source: virtio 1.3, "PCI Device Discovery" and "Legacy Interfaces: A Note on PCI Device
//! Discovery". Old drivers want revision 0 and find the device type in the subsystem id; the drivers
//! for Windows want the subsystem vendor to be 0x1af4 as well.

use serde::Serialize;

use crate::pci::{Identity, Subsystem};
pub use crate::spec::virtio::VENDOR_ID as VIRTIO_VENDOR_ID;

/// A modern function has device id 0x1040 + virtio device type.
const MODERN_BASE: u16 = 0x1040;
/// 0x40 or more (virtio 1.3, 4.1.2.1); the one that other machines show.
const MODERN_SUBSYSTEM_ID: u16 = 0x1100;

/// The device types that have a transitional PCI id, by virtio device type number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum DeviceType {
    /// Network card.
    Net = 1,
    /// Disk.
    Block = 2,
    /// Console.
    Console = 3,
    /// Entropy source.
    Entropy = 4,
    /// Memory balloon (the traditional one).
    Balloon = 5,
    /// SCSI host.
    Scsi = 8,
    /// 9P transport.
    NineP = 9,
}

impl DeviceType {
    /// Every type, for tables and tests.
    pub const ALL: [Self; 7] =
        [Self::Net, Self::Block, Self::Console, Self::Entropy, Self::Balloon, Self::Scsi, Self::NineP];

    /// As reports and the API write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Block => "block",
            Self::Console => "console",
            Self::Entropy => "entropy",
            Self::Balloon => "balloon",
            Self::Scsi => "scsi",
            Self::NineP => "ninep",
        }
    }

    /// The type behind a modern PCI device id (0x1041..), if it has a transitional one.
    pub fn from_modern_id(device_id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|t| MODERN_BASE + *t as u16 == device_id)
    }

    /// PCI device id of the transitional function. The numbers follow no rule.
    pub const fn transitional_id(self) -> u16 {
        match self {
            Self::Net => 0x1000,
            Self::Block => 0x1001,
            Self::Balloon => 0x1002,
            Self::Console => 0x1003,
            Self::Scsi => 0x1004,
            Self::Entropy => 0x1005,
            Self::NineP => 0x1009,
        }
    }

    /// Class code in register order: programming interface, subclass, base class.
    const fn class_code(self) -> [u8; 3] {
        match self {
            Self::Net => [0x00, 0x00, 0x02],
            Self::Block | Self::Scsi => [0x00, 0x00, 0x01],
            Self::Console => [0x00, 0x80, 0x07],
            Self::Balloon | Self::Entropy => [0x00, 0xff, 0x00],
            Self::NineP => [0x00, 0x02, 0x00],
        }
    }

    /// Bytes of BAR0: 24 bytes of header and vectors, and the device configuration, rounded up to a
    /// power of two. At least 64, so that MTU and the number of queue pairs of a network card lie
    /// inside also when MSI-X is on.
    pub const fn bar0_size(self) -> u16 {
        match self {
            Self::Block => 128,
            _ => 64,
        }
    }

    /// The identity registers of a function with the modern interface alone (virtio 1.3, 4.1.2.1): any
    /// revision but 0, and a subsystem id that is no device type, so that legacy drivers leave it alone: some look at
    /// the subsystem id only.
    pub const fn modern_identity(self) -> Identity {
        let subsystem = Subsystem { vendor_id: VIRTIO_VENDOR_ID, id: MODERN_SUBSYSTEM_ID };
        Identity { device_id: MODERN_BASE + self as u16, revision_id: 1, subsystem, ..self.identity() }
    }

    /// The identity registers of the transitional function.
    pub const fn identity(self) -> Identity {
        Identity {
            vendor_id: VIRTIO_VENDOR_ID,
            device_id: self.transitional_id(),
            revision_id: 0,
            class_code: self.class_code(),
            subsystem: Subsystem { vendor_id: VIRTIO_VENDOR_ID, id: self as u16 },
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
