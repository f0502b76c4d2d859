// SPDX-License-Identifier: Apache-2.0
//! What a virtio device type adds to the transport: features, configuration, and what its queues do.

use std::os::fd::RawFd;

use super::chain::RingError;
use super::ring::Ring;

/// One field of a register structure. A byte array such as `mac` is one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Bytes from the start of the structure.
    pub offset: u8,
    /// Bytes.
    pub len: u8,
}

impl Field {
    /// Shorthand for tables.
    pub(super) const fn at(offset: u8, len: u8) -> Self {
        Self { offset, len }
    }
}

/// The field that an access of `len` bytes at `offset` lies in, if it lies in one (virtio 1.3,
/// "Legacy Interface" commands: an access refers to a single field).
pub(super) fn find_field(fields: &[Field], offset: u8, len: u64) -> Option<Field> {
    let end = u64::from(offset).checked_add(len)?;
    fields.iter().copied().find(|f| len > 0 && offset >= f.offset && end <= u64::from(f.offset) + u64::from(f.len))
}

/// Why a model stopped taking buffers from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// No buffer is left.
    Drained,
    /// Buffers are left, and there is nothing to do with them yet.
    Waiting,
    /// The budget is used up.
    More,
}

/// A device type.
pub(super) trait Model: Send {
    /// Virtio device type: 1 net, 2 block.
    fn device_type(&self) -> u16;
    /// Feature bits of the type, and of the transport where it needs them.
    fn features(&self) -> u64;
    /// Largest size of each queue, administration virtqueues last.
    fn queue_sizes(&self) -> &[u16];
    /// How many of the queues are administration virtqueues.
    fn admin_queues(&self) -> u16 {
        0
    }
    /// Device configuration as it reads now.
    fn config(&self) -> &[u8];
    /// Fields of the device configuration.
    fn fields(&self) -> &'static [Field];
    /// A write through the legacy interface, inside one field. Returns whether something changed.
    fn write_config(&mut self, offset: u8, bytes: &[u8]) -> bool;
    /// Takes buffers of a queue until none is left, nothing is to be done, or the budget is used.
    fn process(&mut self, queue: usize, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError>;
    /// The queue that has work because of what another queue did.
    fn follow_up(&self) -> Option<usize> {
        None
    }
    /// A descriptor that becomes readable when queue 0 has work.
    fn source(&self) -> Option<RawFd> {
        None
    }
    /// The source hung up, and queue 0 found nothing in it: it is none any more.
    fn source_hung_up(&mut self) {}
    /// Drops all state that a device reset drops.
    fn reset(&mut self);
}
