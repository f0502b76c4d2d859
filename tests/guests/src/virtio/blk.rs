// SPDX-License-Identifier: Apache-2.0
//! A legacy disk driver: one request at a time.

use super::ring::{NEXT, Ring, WRITE};
use super::transport::{ACKNOWLEDGE, DRIVER, DRIVER_OK};
use super::{Interrupts, Transport};
use crate::mem::zeros;

const FLUSH_FEATURE: u32 = 1 << 9;

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read = 0,
    Write = 1,
    Flush = 4,
}

/// What a driver has not written yet when it uses its queue for the first time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// DRIVER_OK, as in Linux before 3.19.
    DriverOkLast,
    /// Features neither, as in Linux 2.6.27.
    FeaturesLast,
    /// Nothing but the reset, as firmware does.
    NoStatus,
}

/// A disk.
pub struct Disk {
    pub transport: Transport,
    ring: Ring,
    pub sectors: u64,
}

impl Disk {
    /// Brings up the `index`-th disk.
    pub fn open(index: usize, interrupts: Interrupts) -> Result<Self, &'static str> {
        let transport = Transport::open(2, index, interrupts)?;
        transport.set_features(transport.features() & FLUSH_FEATURE);
        let mut ring = Ring::new(index * 2);
        transport.set_up_queue(0, &mut ring)?;
        transport.set_status(ACKNOWLEDGE | DRIVER | DRIVER_OK);
        let sectors = (0..8).fold(0, |sum, byte| sum | u64::from(transport.config(byte)) << (8 * byte));
        Ok(Self { transport, ring, sectors })
    }

    /// Brings up a disk that can be asked before DRIVER_OK, in the order of a kernel of that time. The rest of the
    /// order is left to [`Self::ready`].
    pub fn open_early(interrupts: Interrupts, order: Order) -> Result<Self, &'static str> {
        let transport = Transport::open(2, 0, interrupts)?;
        match order {
            Order::DriverOkLast => transport.set_features(transport.features() & FLUSH_FEATURE),
            Order::FeaturesLast => {}
            Order::NoStatus => transport.reset(),
        }
        let mut ring = Ring::new(0);
        transport.set_up_queue(0, &mut ring)?;
        Ok(Self { transport, ring, sectors: 1 })
    }

    /// What follows the probe of kernels of that time.
    pub fn ready(&self, order: Order) {
        if order != Order::DriverOkLast {
            self.transport.set_features(self.transport.features() & FLUSH_FEATURE);
        }
        self.transport.set_status(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    }

    /// Page of the ring.
    pub fn ring_frame(&self) -> u32 {
        self.ring.frame_number()
    }

    /// Runs one request. Returns the status byte: 0 is success.
    pub fn request(&mut self, operation: Operation, sector: u64, data: &mut [u8]) -> Result<u8, &'static str> {
        let mut header = zeros::<16>();
        header[..4].copy_from_slice(&(operation as u32).to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        let status = [0xffu8];
        self.ring.describe(0, header.as_ptr(), 16, NEXT, if data.is_empty() { 2 } else { 1 });
        let direction = if operation == Operation::Read { WRITE } else { 0 };
        self.ring.describe(1, data.as_ptr(), data.len() as u32, NEXT | direction, 2);
        self.ring.describe(2, status.as_ptr(), 1, WRITE, 0);
        self.ring.publish(0);
        self.transport.kick(0);
        let ring = &self.ring;
        self.transport.wait(|| ring.is_used())?;
        match self.ring.take_used() {
            // SAFETY: written by the device behind the compiler's back, so read as such.
            Some((0, _)) => Ok(unsafe { core::ptr::read_volatile(status.as_ptr()) }),
            _ => Err("the device returned a chain it was not given"),
        }
    }
}
