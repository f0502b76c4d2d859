// SPDX-License-Identifier: Apache-2.0
//! Why a configuration space could not be built.

use thiserror::Error;

/// Why a configuration space could not be built. All are mistakes of a device's author, or a VF whose
/// own configuration space is out of the ordinary.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no such BAR, or it is in use (perhaps as the upper half of a 64-bit one).
    #[error("BAR {bar} does not exist or is taken; use a free one of 0 to 5 (64-bit: 0 to 4)")]
    BarTaken {
        /// BAR number.
        bar: u8,
    },
    /// The size is not a power of two or not in the range for the kind.
    #[error("BAR {bar} cannot have {size:#x} bytes; it takes a power of two from {least:#x} to {most:#x}")]
    BarSize {
        /// BAR number.
        bar: u8,
        /// Bytes asked for.
        size: u64,
        /// Smallest size of the kind.
        least: u64,
        /// Largest size of the kind.
        most: u64,
    },
    /// No room for a capability.
    #[error("capability {id:#x} needs {bytes} bytes, and {left} are left; leave out another capability")]
    NoRoom {
        /// Capability id.
        id: u16,
        /// Bytes needed, header included.
        bytes: usize,
        /// Bytes left in its area.
        left: u16,
    },
    /// The list of writable bits is longer than the capability.
    #[error("capability {id:#x} has {body} bytes and a write mask for {writable}")]
    MaskTooLong {
        /// Capability id.
        id: u16,
        /// Bytes in the body.
        body: usize,
        /// Bytes in the mask.
        writable: usize,
    },
}
