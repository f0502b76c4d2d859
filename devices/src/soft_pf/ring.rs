// SPDX-License-Identifier: Apache-2.0
//! The device's side of one running queue: takes buffers, and gives them back. Needs the device's lock.

use virtio_queue::{Queue, QueueOwnedT, QueueT};

use super::chain::{Chain, RingError};
use super::disk::Request;
use super::memory::Memory;

/// The device's side of one running queue.
pub(super) struct Ring<'a> {
    /// The queue.
    pub queue: &'a mut Queue,
    /// What its addresses mean.
    pub memory: &'a Memory,
    /// The buffer that [`Self::pop`] took.
    pub chain: &'a mut Chain,
    /// Requests that are to be carried out without the device's lock.
    pub requests: &'a mut Vec<Request>,
    /// What may still be done before the device's lock is let go.
    pub left: Left,
}

/// How many more buffers may be taken, and how many bytes of them copied.
#[derive(Clone, Copy, Default)]
pub(super) struct Left {
    pub buffers: u32,
    pub bytes: u64,
}

impl Ring<'_> {
    /// Takes the next buffer; `false` if there is none.
    pub(super) fn pop(&mut self) -> Result<bool, RingError> {
        // Not `pop_descriptor_chain`: that logs an error each time a driver gets the index wrong.
        let next = self.queue.iter(self.memory).map_err(|_| RingError::Index)?.next();
        let Some(descriptors) = next else { return Ok(false) };
        self.left.buffers = self.left.buffers.saturating_sub(1);
        self.chain.load(descriptors)?;
        Ok(true)
    }

    /// Notes that `bytes` were copied; after too many no further buffer is to be taken.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.left.bytes = self.left.bytes.saturating_sub(bytes);
        if self.left.bytes == 0 {
            self.left.buffers = 0;
        }
    }

    /// The ring itself is not mapped where it should be: counted as [`Chain::fault`] does.
    pub(super) fn fault(&self) -> RingError {
        self.chain.fault(self.queue.avail_ring())
    }

    /// Where the queue stands, for [`Self::rewind`].
    pub(super) fn position(&self) -> u16 {
        self.queue.next_avail()
    }

    /// Puts back the buffers that were taken after the queue stood at `position`.
    pub(super) fn rewind(&mut self, position: u16) {
        self.queue.set_next_avail(position);
    }

    /// Returns the buffer with `written` bytes.
    pub(super) fn complete(&mut self, written: u32) -> Result<(), RingError> {
        self.complete_head(self.chain.head(), written)
    }

    /// Returns the buffer that begins with descriptor `head` with `written` bytes.
    pub(super) fn complete_head(&mut self, head: u16, written: u32) -> Result<(), RingError> {
        let used = self.queue.used_ring();
        self.queue.add_used(self.memory, head, written).map_err(|_| self.chain.fault(used))?;
        self.chain.count_returned();
        Ok(())
    }
}
