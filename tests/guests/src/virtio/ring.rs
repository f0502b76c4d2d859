// SPDX-License-Identifier: Apache-2.0
//! The driver's side of a split ring in the legacy layout.

use core::sync::atomic::{Ordering, fence};

/// Largest queue these drivers take.
const MAX_SIZE: usize = 256;
/// Descriptors, available ring, and used ring on the next page, for [`MAX_SIZE`] entries.
const BYTES: usize = 12288;

/// Descriptor flags.
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;

#[repr(C, align(4096))]
struct Pages([u8; BYTES]);

/// A ring in memory of its own.
pub struct Ring {
    pages: *mut Pages,
    size: u16,
    last_used: u16,
}

/// Memory for rings. Each may be taken once.
static mut MEMORY: [Pages; 4] = [const { Pages([0; BYTES]) }; 4];

impl Ring {
    /// The ring that has `slot` of the memory for rings to itself.
    pub fn new(slot: usize) -> Self {
        assert!(slot < 4);
        // SAFETY: in bounds; each driver uses slots of its own.
        let pages = unsafe { (&raw mut MEMORY).cast::<Pages>().add(slot) };
        // SAFETY: as above. Zeroed because a second driver may follow a first.
        unsafe { pages.write_bytes(0, 1) };
        Self { pages, size: 0, last_used: 0 }
    }

    /// Takes the size that the device has.
    pub fn set_size(&mut self, size: u16) -> Result<(), &'static str> {
        if size == 0 || usize::from(size) > MAX_SIZE || !size.is_power_of_two() {
            return Err("queue size is no power of two up to 256");
        }
        self.size = size;
        Ok(())
    }

    /// The guest page number that goes into the queue address register.
    pub fn frame_number(&self) -> u32 {
        (self.pages as usize >> 12) as u32
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= BYTES);
        // SAFETY: inside the pages, as just checked.
        unsafe { self.pages.cast::<u8>().add(offset).cast() }
    }

    fn used_offset(&self) -> usize {
        let size = usize::from(self.size);
        (16 * size + 6 + 2 * size).next_multiple_of(4096)
    }

    /// Writes descriptor `index`.
    pub fn describe(&mut self, index: u16, address: *const u8, length: u32, flags: u16, next: u16) {
        let at = usize::from(index) * 16;
        // SAFETY: `at` checks the bounds; the device reads these after the fence in `publish`.
        unsafe {
            self.at::<u64>(at).write_volatile(address as u64);
            self.at::<u32>(at + 8).write_volatile(length);
            self.at::<u16>(at + 12).write_volatile(flags);
            self.at::<u16>(at + 14).write_volatile(next);
        }
    }

    /// Makes the chain that starts at `head` available.
    pub fn publish(&mut self, head: u16) {
        let base = 16 * usize::from(self.size);
        let index = self.at::<u16>(base + 2);
        // SAFETY: the available ring; `at` checked the bounds.
        unsafe {
            let now = index.read_volatile();
            self.at::<u16>(base + 4 + usize::from(now % self.size) * 2).write_volatile(head);
            fence(Ordering::SeqCst);
            index.write_volatile(now.wrapping_add(1));
        }
        fence(Ordering::SeqCst);
    }

    /// Whether the device has returned a chain that was not taken yet.
    pub fn is_used(&self) -> bool {
        fence(Ordering::SeqCst);
        // SAFETY: the used index; `at` checked the bounds.
        unsafe { self.at::<u16>(self.used_offset() + 2).read_volatile() != self.last_used }
    }

    /// The next returned chain: its head and the bytes written.
    pub fn take_used(&mut self) -> Option<(u32, u32)> {
        if !self.is_used() {
            return None;
        }
        let entry = self.used_offset() + 4 + usize::from(self.last_used % self.size) * 8;
        self.last_used = self.last_used.wrapping_add(1);
        // SAFETY: a used element; `at` checked the bounds.
        unsafe { Some((self.at::<u32>(entry).read_volatile(), self.at::<u32>(entry + 4).read_volatile())) }
    }
}
