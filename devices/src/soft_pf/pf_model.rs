// SPDX-License-Identifier: Apache-2.0
//! The PF as a virtio device: a network device whose link is down, and an administration virtqueue.
//! The data queues are there for class drivers that insist on having them.

use super::chain::{Ring, RingError};
use super::commands::{Commands, MAX_REQUEST, Request};
use super::device::feature;
use super::model::{Field, Model, Progress};
use super::net::{F_MAC, F_STATUS, FIELDS};
use super::quirks::SharedQuirks;
use crate::admin::wire::{MAX_RESULT, REPLY_LEN, ReplyHeader};

const RX: usize = 0;
const QUEUE_SIZES: [u16; 3] = [64, 64, 64];
/// Index of the administration virtqueue.
pub(super) const ADMIN: usize = 2;
/// Locally administered address, and link status down.
const CONFIG: [u8; 8] = [0x52, 0x54, 0x00, 0xca, 0xfe, 0x00, 0, 0];

/// The PF's device type.
pub(super) struct PfModel {
    commands: Commands,
    quirks: SharedQuirks,
    request: Vec<u8>,
}

impl PfModel {
    /// A PF that carries out `commands`.
    pub(super) fn new(commands: Commands, quirks: SharedQuirks) -> Self {
        Self { commands, quirks, request: vec![0; MAX_REQUEST] }
    }

    fn run_commands(&mut self, ring: &mut Ring<'_>) -> Result<Progress, RingError> {
        while ring.budget > 0 {
            if !ring.pop()? {
                return Ok(Progress::Drained);
            }
            if self.quirks.load().hang {
                continue;
            }
            let written = self.run_command(ring)?;
            ring.complete(written)?;
        }
        Ok(Progress::More)
    }

    /// Runs the command in the buffer; returns how many bytes were written.
    fn run_command(&mut self, ring: &Ring<'_>) -> Result<u32, RingError> {
        let len = ring.chain.read(ring.memory, 0, &mut self.request)?;
        let request =
            Request { bytes: self.request.get(..len).unwrap_or_default(), writable: ring.chain.writable_len() };
        let mut result = [0; MAX_RESULT];
        let (header, len) = match self.commands.execute(&request, &mut result) {
            Ok(len) => (ReplyHeader::OK, len),
            Err(header) => (header, 0),
        };
        if self.quirks.load().empty_replies {
            return Ok(0);
        }
        let mut reply = [0; REPLY_LEN + MAX_RESULT];
        reply[..REPLY_LEN].copy_from_slice(&header.encode());
        reply[REPLY_LEN..].copy_from_slice(&result);
        Ok(ring.chain.write(ring.memory, 0, &reply[..REPLY_LEN + len])? as u32)
    }
}

impl Model for PfModel {
    fn device_type(&self) -> u16 {
        1
    }

    fn features(&self) -> u64 {
        F_MAC | F_STATUS | feature::SR_IOV | feature::ADMIN_VQ
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUE_SIZES
    }

    fn admin_queues(&self) -> u16 {
        1
    }

    fn config(&self) -> &[u8] {
        &CONFIG
    }

    fn fields(&self) -> &'static [Field] {
        &FIELDS
    }

    fn write_config(&mut self, _offset: u8, _bytes: &[u8]) -> bool {
        false
    }

    fn process(&mut self, queue: usize, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError> {
        match queue {
            ADMIN if features & feature::ADMIN_VQ != 0 => self.run_commands(ring),
            // Nothing is ever received, and what is sent is lost, as on a link that is down.
            RX | ADMIN => Ok(Progress::Waiting),
            _ => {
                while ring.budget > 0 {
                    if !ring.pop()? {
                        return Ok(Progress::Drained);
                    }
                    ring.complete(0)?;
                }
                Ok(Progress::More)
            }
        }
    }

    fn reset(&mut self) {
        self.commands.reset();
    }
}
