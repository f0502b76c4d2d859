// SPDX-License-Identifier: Apache-2.0
//! One guest access, and what a device may ask for after a write.

/// Width of one access. String and repeated I/O is split into accesses before it gets here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Width {
    /// 1 byte
    B1 = 1,
    /// 2 bytes
    B2 = 2,
    /// 4 bytes
    B4 = 4,
    /// 8 bytes (memory accesses only)
    B8 = 8,
}

impl Width {
    /// The width of `bytes` bytes, if there is such an access.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::B1),
            2 => Some(Self::B2),
            4 => Some(Self::B4),
            8 => Some(Self::B8),
            _ => None,
        }
    }

    /// Number of bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> usize {
        self as usize
    }

    /// The value with all bits of this width set: what a read that nobody claims returns.
    pub const fn all_ones(self) -> u64 {
        match self {
            Self::B8 => u64::MAX,
            narrow => (1 << (8 * narrow as u32)) - 1,
        }
    }

    /// `value` cut to this width.
    pub const fn truncate(self, value: u64) -> u64 {
        value & self.all_ones()
    }
}

/// One access of a guest to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Bytes from the start of the device's range. `offset + width` never exceeds the range.
    pub offset: u64,
    /// Width of the access.
    pub width: Width,
    /// Index of the vCPU that made it, for traces.
    pub vcpu: u16,
}

/// What the exit loop has to do after a write, when no device lock is held any more.
#[must_use = "an effect that nobody performs is lost"]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// Some PCI function decodes other addresses now: rebuild the windows from what all functions say.
    Remap,
    /// The guest asked for a reset of the whole machine.
    Reset,
    /// The guest switched the machine off.
    PowerOff,
}

/// A device on a bus. Total towards the guest: there is no error, a failing read returns all ones.
pub trait IoDevice: Send + Sync {
    /// Name for logs and reports, unique in a machine where it can be.
    fn name(&self) -> &str;
    /// Answers a read. Bits above the access width are ignored by the caller.
    fn read(&self, access: Access) -> u64;
    /// Takes a write; `value` has no bits above the access width.
    fn write(&self, access: Access, value: u64) -> Effect;
}
