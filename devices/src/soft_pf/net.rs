// SPDX-License-Identifier: Apache-2.0
//! Network device with one queue pair and a control queue (virtio 1.3, 5.1), on a tap device or on
//! the loopback host.

use std::os::fd::RawFd;

use super::chain::RingError;
use super::device::feature;
use super::model::{Field, Model, Progress};
use super::net_filter::{self, F_CTRL_RX, F_CTRL_VLAN, F_CTRL_VQ, ReceiveFilter};
use super::ring::Ring;
use super::wire::{self, NetBackend, Received, Wire};

const RX: usize = 0;
const TX: usize = 1;
const CONTROL: usize = 2;
const QUEUE_SIZES: [u16; 3] = [RX_BUFFERS, 256, 64];
const RX_BUFFERS: u16 = 256;

pub(super) const F_CSUM: u64 = 1 << 0;
pub(super) const F_MAC: u64 = 1 << 5;
const F_HOST_TSO4: u64 = 1 << 11;
const F_HOST_TSO6: u64 = 1 << 12;
const F_MRG_RXBUF: u64 = 1 << 15;
pub(super) const F_STATUS: u64 = 1 << 16;

/// mac, status
pub(super) const FIELDS: [Field; 2] = [Field::at(0, 6), Field::at(6, 2)];
const LINK_UP: u16 = 1;

/// `virtio_net_hdr` without and with `num_buffers` (virtio 1.3, 5.1.6.1).
const HEADER_LEN: usize = 10;
const HEADER_LEN_MERGEABLE: usize = 12;
/// A segmentation offload frame with its headers; anything longer is not a frame.
const MAX_FRAME: usize = 65536 + 64;
/// A network device.
pub(super) struct Net {
    wire: Wire,
    power_on_mac: [u8; 6],
    config: [u8; 8],
    filter: ReceiveFilter,
    /// One frame of the tap device, with the tap's header where it has one.
    frame: Vec<u8>,
    /// Nothing more comes from the wire.
    wire_ended: bool,
}

impl Net {
    /// A device with its link up.
    pub(super) fn new(backend: NetBackend, mac: [u8; 6]) -> Self {
        let frame = vec![0; HEADER_LEN + MAX_FRAME];
        Self {
            wire: Wire::new(backend),
            power_on_mac: mac,
            config: config(mac, LINK_UP),
            filter: ReceiveFilter::new(),
            frame,
            wire_ended: false,
        }
    }

    /// Bytes of the header in front of each frame. A legacy driver has the short one unless it
    /// accepted mergeable buffers; VERSION_1 always means the long one.
    fn header_len(features: u64) -> usize {
        if features & (feature::VERSION_1 | F_MRG_RXBUF) != 0 { HEADER_LEN_MERGEABLE } else { HEADER_LEN }
    }

    fn transmit(&mut self, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError> {
        while ring.left.buffers > 0 {
            if !ring.pop()? {
                return Ok(Progress::Drained);
            }
            let header_len = Self::header_len(features) as u64;
            let frame_len = ring.chain.readable_len().saturating_sub(header_len) as usize;
            // What is no frame is dropped, as a wire would.
            if frame_len > 0 && frame_len <= MAX_FRAME {
                // The tap's header goes where the short virtio header fits: they are the same.
                let mut header = [0; HEADER_LEN];
                ring.chain.read(ring.memory, 0, &mut header)?;
                if features & F_CSUM == 0 {
                    header.fill(0);
                }
                self.frame[..HEADER_LEN].copy_from_slice(&header);
                let room = &mut self.frame[HEADER_LEN..HEADER_LEN + frame_len];
                ring.chain.read(ring.memory, header_len, room)?;
                self.wire.send(&self.frame[..HEADER_LEN + frame_len]);
                ring.spend(frame_len as u64);
            }
            ring.complete(0)?;
        }
        Ok(Progress::More)
    }

    fn receive(&mut self, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError> {
        while ring.left.buffers > 0 {
            // Look for a buffer before taking a frame, so that frames wait where they are.
            let position = ring.position();
            if !ring.pop()? {
                return Ok(Progress::Drained);
            }
            ring.rewind(position);
            let frame_len = match self.next_frame() {
                Received::Frame(len) => {
                    ring.spend(len as u64);
                    len
                }
                Received::NoFrame => continue,
                Received::Nothing | Received::Ended => return Ok(Progress::Waiting),
            };
            // A frame that is not wanted costs its look for a buffer, so a flood of them does not hold
            // the lock either.
            if self.is_wanted(frame_len, features) {
                self.deliver(frame_len, ring, features)?;
            }
        }
        Ok(Progress::More)
    }

    fn is_wanted(&self, frame_len: usize, features: u64) -> bool {
        let frame = self.frame.get(HEADER_LEN..HEADER_LEN + frame_len);
        frame.is_some_and(|frame| self.filter.accepts(frame, &self.config[..6], features))
    }

    /// Puts the next frame into `frame`, after a header.
    fn next_frame(&mut self) -> Received {
        if self.wire_ended {
            return Received::Ended;
        }
        let received = self.wire.receive(&mut self.frame);
        self.wire_ended = received == Received::Ended;
        received
    }

    /// Writes header and frame into one buffer, or into several if the driver merges them. A frame
    /// that does not fit is dropped and the buffers stay where they are.
    fn deliver(&mut self, frame_len: usize, ring: &mut Ring<'_>, features: u64) -> Result<(), RingError> {
        let header_len = Self::header_len(features);
        let total = header_len as u64 + frame_len as u64;
        let most = if features & F_MRG_RXBUF == 0 { 1 } else { RX_BUFFERS };
        // The header says how many buffers there are, so they are counted before it is written.
        let position = ring.position();
        let buffers = count_buffers(ring, header_len as u64, total, most)?;
        ring.rewind(position);
        let Some(buffers) = buffers else { return Ok(()) };

        let mut packet = [0; HEADER_LEN_MERGEABLE];
        packet[..HEADER_LEN].copy_from_slice(&self.frame[..HEADER_LEN]);
        packet[HEADER_LEN..].copy_from_slice(&buffers.to_le_bytes());
        let header = &packet[..header_len];
        let mut frame = &self.frame[HEADER_LEN..HEADER_LEN + frame_len];
        for index in 0..buffers {
            // The driver may have changed the ring since it was counted; then the frame is cut.
            if !ring.pop()? {
                return Ok(());
            }
            let mut written = if index == 0 { ring.chain.write(ring.memory, 0, header)? } else { 0 };
            let body = ring.chain.write(ring.memory, written as u64, frame)?;
            frame = frame.get(body..).unwrap_or(&[]);
            written += body;
            ring.complete(written as u32)?;
        }
        Ok(())
    }

    /// Carries out the command in the buffer; returns the bytes written.
    fn control(&mut self, ring: &Ring<'_>, features: u64) -> Result<u32, RingError> {
        let len = ring.chain.readable_len().min(net_filter::MAX_COMMAND as u64 + 1);
        let mut command = vec![0; len as usize];
        ring.chain.read(ring.memory, 0, &mut command)?;
        let ack = match command.len() > net_filter::MAX_COMMAND {
            true => net_filter::ERR,
            false => self.filter.command(&command, features),
        };
        Ok(ring.chain.write(ring.memory, 0, &[ack])? as u32)
    }
}

/// How many of the next buffers take `total` bytes, the first of which holds the header whole; `None`
/// if there are not that many, or more than `most`.
fn count_buffers(ring: &mut Ring<'_>, header_len: u64, total: u64, most: u16) -> Result<Option<u16>, RingError> {
    let mut room = 0;
    for index in 0..most {
        if !ring.pop()? {
            return Ok(None);
        }
        let len = ring.chain.writable_len();
        if len == 0 || (index == 0 && len < header_len) {
            return Err(RingError::Size);
        }
        room += len;
        if room >= total {
            return Ok(Some(index + 1));
        }
    }
    Ok(None)
}

fn config(mac: [u8; 6], status: u16) -> [u8; 8] {
    let [s0, s1] = status.to_le_bytes();
    let [a, b, c, d, e, f] = mac;
    [a, b, c, d, e, f, s0, s1]
}

impl Model for Net {
    fn device_type(&self) -> u16 {
        1
    }

    fn features(&self) -> u64 {
        let offload = if self.wire.has_header() { F_CSUM | F_HOST_TSO4 | F_HOST_TSO6 } else { 0 };
        offload | F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN | feature::EVENT_IDX
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    /// The MAC address is writable for legacy drivers (virtio 1.3, 5.1.4.1).
    fn write_config(&mut self, offset: u8, bytes: &[u8]) -> bool {
        let start = usize::from(offset);
        match self.config[..6].get_mut(start..start + bytes.len()) {
            Some(mac) => {
                mac.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    fn process(&mut self, queue: usize, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError> {
        match queue {
            RX => self.receive(ring, features),
            TX => self.transmit(ring, features),
            CONTROL => {
                while ring.left.buffers > 0 {
                    if !ring.pop()? {
                        return Ok(Progress::Drained);
                    }
                    let written = self.control(ring, features)?;
                    ring.complete(written)?;
                }
                Ok(Progress::More)
            }
            _ => Ok(Progress::Waiting),
        }
    }

    fn follow_up(&self) -> Option<usize> {
        self.wire.has_answers().then_some(RX)
    }

    fn source(&self) -> Option<RawFd> {
        self.wire.descriptor().filter(|_| !self.wire_ended)
    }

    fn source_hung_up(&mut self) {
        self.wire_ended = wire::ended("it hung up") == Received::Ended;
    }

    fn reset(&mut self) {
        self.config = config(self.power_on_mac, LINK_UP);
        self.filter = ReceiveFilter::new();
        self.wire.reset();
    }
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
