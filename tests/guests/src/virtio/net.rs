// SPDX-License-Identifier: Apache-2.0
//! A legacy network driver with one receive and one transmit buffer.

use super::ring::{NEXT, Ring, WRITE};
use super::transport::{ACKNOWLEDGE, DRIVER, DRIVER_OK};
use super::{Interrupts, Transport};

const MAC_FEATURE: u32 = 1 << 5;
/// Length of the header before a frame where MRG_RXBUF was not negotiated.
pub const HEADER: usize = 10;
const BUFFER: usize = 2048;

/// A network card.
pub struct Card {
    pub transport: Transport,
    receive: Ring,
    transmit: Ring,
    pub mac: [u8; 6],
    buffers: *mut [[u8; BUFFER]; 2],
}

static mut BUFFERS: [[u8; BUFFER]; 2] = [[0; BUFFER]; 2];

impl Card {
    /// Brings up the first card. The receive buffer is posted and kicked before DRIVER_OK, as
    /// drivers before Linux 3.18 do.
    pub fn open(interrupts: Interrupts) -> Result<Self, &'static str> {
        let transport = Transport::open(1, 0, interrupts)?;
        transport.set_features(transport.features() & MAC_FEATURE);
        let mut mac = [0; 6];
        for (offset, byte) in mac.iter_mut().enumerate() {
            *byte = transport.config(offset as u16);
        }
        let (mut receive, mut transmit) = (Ring::new(2), Ring::new(3));
        transport.set_up_queue(0, &mut receive)?;
        transport.set_up_queue(1, &mut transmit)?;
        let mut card = Self { transport, receive, transmit, mac, buffers: &raw mut BUFFERS };
        card.post();
        card.transport.set_status(ACKNOWLEDGE | DRIVER | DRIVER_OK);
        Ok(card)
    }

    fn buffer(&self, index: usize) -> *mut u8 {
        assert!(index < 2);
        // SAFETY: in bounds; no reference is made.
        unsafe { self.buffers.cast::<[u8; BUFFER]>().add(index).cast() }
    }

    /// Gives the receive buffer to the device: header and frame apart, as old drivers lay it out.
    fn post(&mut self) {
        let buffer = self.buffer(0);
        self.receive.describe(0, buffer, HEADER as u32, NEXT | WRITE, 1);
        // SAFETY: inside the buffer.
        self.receive.describe(1, unsafe { buffer.add(HEADER) }, (BUFFER - HEADER) as u32, WRITE, 0);
        self.receive.publish(0);
        self.transport.kick(0);
    }

    /// Sends one Ethernet frame and waits until the device has taken it.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), &'static str> {
        let buffer = self.buffer(1);
        // SAFETY: a frame of these tests is far shorter than the buffer; the device does not own it now.
        unsafe {
            buffer.write_bytes(0, HEADER);
            core::ptr::copy_nonoverlapping(frame.as_ptr(), buffer.add(HEADER), frame.len().min(BUFFER - HEADER));
        }
        self.transmit.describe(0, buffer, HEADER as u32, NEXT, 1);
        // SAFETY: inside the buffer.
        self.transmit.describe(1, unsafe { buffer.add(HEADER) }, frame.len() as u32, 0, 0);
        self.transmit.publish(0);
        self.transport.kick(1);
        let ring = &self.transmit;
        self.transport.wait(|| ring.is_used())?;
        self.transmit.take_used();
        Ok(())
    }

    /// Waits for a frame, copies it out and posts the buffer again. Returns its length.
    pub fn receive(&mut self, frame: &mut [u8]) -> Result<usize, &'static str> {
        let ring = &self.receive;
        self.transport.wait(|| ring.is_used())?;
        let (_, written) = self.receive.take_used().ok_or("no frame")?;
        let length = (written as usize).checked_sub(HEADER).ok_or("a frame shorter than its header")?.min(frame.len());
        for (offset, byte) in frame[..length].iter_mut().enumerate() {
            // SAFETY: inside the buffer, which the device has given back.
            *byte = unsafe { self.buffer(0).add(HEADER + offset).read_volatile() };
        }
        self.post();
        Ok(length)
    }
}
