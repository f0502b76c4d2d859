// SPDX-License-Identifier: Apache-2.0
//! One buffer of a virtqueue as two byte streams: what the driver wrote, then what the device
//! writes. How the driver cut it into descriptors does not show. Touches memory only through
//! [`Memory`], so an address outside of what is mapped is an error and nothing else.

use std::sync::Arc;

use thiserror::Error;
use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress};

use super::figures::Figures;
use super::memory::Memory;

/// Most descriptors of one buffer. Nobody has a use for more, and the device copies them.
const MAX_DESCRIPTORS: usize = 1024;

/// What a driver did that ends the life of a queue until the next reset.
#[derive(Debug, Error)]
pub(super) enum RingError {
    /// The chain ends at an index outside the table, in a loop, or in a broken indirect table.
    #[error("a descriptor chain is broken, too long, or loops")]
    Chain,
    /// Virtio 1.3, 2.7.4.2: device-writable descriptors come after all device-readable ones.
    #[error("a device-readable descriptor follows a device-writable one")]
    Order,
    /// A ring or a buffer is not in the memory mapped for DMA.
    #[error("an address of the queue is not mapped for DMA")]
    Unmapped,
    /// The available index is further ahead than the queue is long.
    #[error("the available index moved by more than the queue size")]
    Index,
    /// The buffer has no room for the answer's fixed part, or more room than a request can have.
    #[error("a buffer is too small or too large for its request")]
    Size,
}

/// A piece of one stream: first address and bytes.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: GuestAddress,
    len: u32,
}

/// One buffer. Reused for all buffers of a device, so that nothing is allocated in the long run.
#[derive(Default)]
pub(super) struct Chain {
    head: u16,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
    figures: Arc<Figures>,
}

impl Chain {
    /// An empty one, whose uses are counted in `figures`.
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self { figures, ..Self::default() }
    }

    /// Takes the buffer that `descriptors` make.
    pub(super) fn load(&mut self, descriptors: DescriptorChain<&Memory>) -> Result<(), RingError> {
        self.head = descriptors.head_index();
        self.readable.clear();
        self.writable.clear();
        let mut open = true;
        for descriptor in descriptors {
            if self.readable.len() + self.writable.len() == MAX_DESCRIPTORS {
                return Err(RingError::Chain);
            }
            open = descriptor.has_next();
            if descriptor.addr().0.checked_add(descriptor.len().into()).is_none() {
                return Err(self.fault(descriptor.addr().0));
            }
            let segment = Segment { address: descriptor.addr(), len: descriptor.len() };
            if descriptor.is_write_only() {
                self.writable.push(segment);
            } else if self.writable.is_empty() {
                self.readable.push(segment);
            } else {
                return Err(RingError::Order);
            }
        }
        // The iterator just stops at a broken link, so the last descriptor says whether it was one.
        if open { Err(RingError::Chain) } else { Ok(()) }
    }

    /// Counts an access to `address` that found nothing mapped, and makes the error of it.
    pub(super) fn fault(&self, address: u64) -> RingError {
        self.figures.count_dma_fault(address);
        RingError::Unmapped
    }

    /// Counts a buffer that went back to the driver.
    pub(super) fn count_returned(&self) {
        self.figures.count_buffer();
    }

    /// Takes what was loaded out of it, to be used for longer than until the next buffer.
    pub(super) fn detach(&mut self) -> Self {
        let figures = Arc::clone(&self.figures);
        std::mem::replace(self, Self::new(figures))
    }

    /// Index of the first descriptor, which names the buffer.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// Whether some of the buffer is between address `first` and `last`.
    pub(super) fn touches(&self, first: u64, last: u64) -> bool {
        // Cannot wrap: `load` saw that.
        let touches = |s: &Segment| s.address.0 <= last && s.address.0.saturating_add(u64::from(s.len)) > first;
        self.readable.iter().chain(&self.writable).any(touches)
    }

    /// Bytes the driver wrote.
    pub(super) fn readable_len(&self) -> u64 {
        self.readable.iter().map(|s| u64::from(s.len)).sum()
    }

    /// Bytes the device can write.
    pub(super) fn writable_len(&self) -> u64 {
        self.writable.iter().map(|s| u64::from(s.len)).sum()
    }

    /// The pieces of `len` bytes from `offset` of the readable stream; less if it is shorter.
    pub(super) fn readable(&self, offset: u64, len: u64) -> impl Iterator<Item = (GuestAddress, usize)> + use<'_> {
        pieces(&self.readable, offset, len)
    }

    /// The pieces of `len` bytes from `offset` of the writable stream; less if it is shorter.
    pub(super) fn writable(&self, offset: u64, len: u64) -> impl Iterator<Item = (GuestAddress, usize)> + use<'_> {
        pieces(&self.writable, offset, len)
    }

    /// Fills `out` from `offset` of the readable stream; returns how many bytes there were.
    pub(super) fn read(&self, memory: &Memory, offset: u64, out: &mut [u8]) -> Result<usize, RingError> {
        let mut done = 0;
        for (address, len) in self.readable(offset, out.len() as u64) {
            let part = out.get_mut(done..done + len).ok_or(RingError::Size)?;
            memory.read_slice(part, address).map_err(|_| self.fault(address.0))?;
            done += len;
        }
        Ok(done)
    }

    /// Writes `bytes` at `offset` of the writable stream; what does not fit is dropped. Returns how
    /// many bytes were written.
    pub(super) fn write(&self, memory: &Memory, offset: u64, bytes: &[u8]) -> Result<usize, RingError> {
        let mut done = 0;
        for (address, len) in self.writable(offset, bytes.len() as u64) {
            let part = bytes.get(done..done + len).ok_or(RingError::Size)?;
            memory.write_slice(part, address).map_err(|_| self.fault(address.0))?;
            done += len;
        }
        Ok(done)
    }
}

fn pieces(segments: &[Segment], offset: u64, len: u64) -> impl Iterator<Item = (GuestAddress, usize)> + use<'_> {
    let (mut skip, mut left) = (offset, len);
    segments.iter().filter_map(move |segment| {
        let have = u64::from(segment.len);
        let from = skip.min(have);
        skip -= from;
        let take = (have - from).min(left);
        left -= take;
        // Cannot wrap: `load` saw that the whole segment does not.
        (take > 0).then(|| (GuestAddress(segment.address.0.wrapping_add(from)), take as usize))
    })
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
