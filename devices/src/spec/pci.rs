// SPDX-License-Identifier: Apache-2.0
//! Configuration space of a type 0 function (PCI Local Bus 3.0, chapter 6), and what its capabilities are known by.

use bitflags::bitflags;

/// Bytes of one function's configuration space, extended space included (PCI Express Base, 7.2).
pub const CONFIG_SPACE_SIZE: usize = 4096;

// Offsets of header registers, in bytes (PCI 3.0, figure 6-1).

/// Vendor id, 2 bytes.
pub const VENDOR_ID: u16 = 0x00;
/// Device id, 2 bytes.
pub const DEVICE_ID: u16 = 0x02;
/// COMMAND, 2 bytes, see [`Command`].
pub const COMMAND: u16 = 0x04;
/// STATUS, 2 bytes, see [`status`].
pub const STATUS: u16 = 0x06;
/// Revision id, 1 byte, and the class code behind it, 3 bytes.
pub const REVISION_ID: u16 = 0x08;
/// Cache line size, 1 byte.
pub const CACHE_LINE_SIZE: u16 = 0x0c;
/// Header type, 1 byte: 0 an ordinary function, 1 and 2 bridges; bit 7: the device has more functions.
pub const HEADER_TYPE: u16 = 0x0e;
/// The first of six base address registers, 4 bytes each.
pub const BAR0: u16 = 0x10;
/// End of the base address registers.
pub const BARS_END: u16 = 0x28;
/// Subsystem vendor id, 2 bytes, and the subsystem id behind it, 2 bytes.
pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2c;
/// Expansion ROM base address, 4 bytes: bits 31 to 11, and bit 0, which lets the ROM be read.
pub const EXPANSION_ROM: u16 = 0x30;
/// Offset of the first capability, 1 byte.
pub const CAPABILITIES_POINTER: u16 = 0x34;
/// Interrupt line, 1 byte: used by software only.
pub const INTERRUPT_LINE: u16 = 0x3c;
/// Interrupt pin, 1 byte: 0 none, 1 INTA.
pub const INTERRUPT_PIN: u16 = 0x3d;
/// End of the header: capabilities are behind it.
pub const HEADER_END: u16 = 0x40;

bitflags! {
    /// The COMMAND bits that this machine's functions have (PCI 3.0, 6.2.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Command: u16 {
        /// Decodes I/O BARs.
        const IO = 1 << 0;
        /// Decodes memory BARs.
        const MEMORY = 1 << 1;
        /// May start DMA and send MSIs.
        const BUS_MASTER = 1 << 2;
        /// Parity error response; kept, without effect.
        const PARITY = 1 << 6;
        /// SERR# enable; kept, without effect.
        const SERR = 1 << 8;
        /// Keeps INTx released.
        const INTX_DISABLE = 1 << 10;
    }
}

/// STATUS bits (PCI 3.0, 6.2.3).
pub mod status {
    /// An INTx is pending, whether or not COMMAND lets it out.
    pub const INTERRUPT: u8 = 1 << 3;
    /// There is a capability list.
    pub const CAPABILITIES: u8 = 1 << 4;
}

/// The MSI-X capability (PCI 3.0, 6.8.2).
pub mod msix {
    /// Offset of message control, header included.
    pub const CONTROL: u16 = 2;
    /// Message control: enabled.
    pub const ENABLE: u16 = 1 << 15;
    /// Message control: all vectors are masked.
    pub const FUNCTION_MASK: u16 = 1 << 14;
}

/// The PCI Express capability (PCI Express Base, 7.8). Offsets are from its header on.
pub mod express {
    /// Bytes of version 2.
    pub const LEN: usize = 60;
    /// Capabilities register: version 2.
    pub const VERSION_2: u16 = 2;
    /// Device capabilities, 4 bytes.
    pub const DEVICE_CAPABILITIES: u16 = 4;
    /// Device capabilities: role-based error reporting.
    pub const ROLE_BASED_ERRORS: u32 = 1 << 15;
    /// Device capabilities: function level reset.
    pub const FLR_CAPABLE: u32 = 1 << 28;
    /// Device control, 2 bytes.
    pub const DEVICE_CONTROL: u16 = 8;
    /// Device control: initiate function level reset. Reads as 0.
    pub const INITIATE_FLR: u16 = 1 << 15;
}

/// Capability ids (PCI Code and ID Assignment Specification).
pub mod id {
    /// Power management.
    pub const POWER_MANAGEMENT: u8 = 0x01;
    /// Vital product data.
    pub const VITAL_PRODUCT_DATA: u8 = 0x03;
    /// Slot identification, of bridges.
    pub const SLOT: u8 = 0x04;
    /// MSI.
    pub const MSI: u8 = 0x05;
    /// CompactPCI hot swap.
    pub const HOT_SWAP: u8 = 0x06;
    /// Hot plug, of bridges.
    pub const HOT_PLUG: u8 = 0x0c;
    /// Advanced features: a reset for functions without PCI Express.
    pub const ADVANCED_FEATURES: u8 = 0x13;
    /// Enhanced allocation: BARs at fixed addresses.
    pub const ENHANCED_ALLOCATION: u8 = 0x14;
    /// Vendor-specific; virtio uses it.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
    /// Extended capability: SR-IOV.
    pub const EXTENDED_SRIOV: u16 = 0x0010;
}
