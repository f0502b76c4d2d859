// SPDX-License-Identifier: Apache-2.0
//! The PF as a virtio device: a whole device of its type, with an administration virtqueue behind its own queues.

use std::os::fd::RawFd;

use super::chain::RingError;
use super::commands::{Commands, MAX_REQUEST, Request};
use super::device::feature;
use super::model::{Field, Model, Progress};
use super::quirks::{Quirks, SharedQuirks};
use super::ring::Ring;
use crate::admin::wire::{MAX_RESULT, REPLY_LEN, ReplyHeader};

const ADMIN_QUEUE_SIZE: u16 = 64;

/// The PF's device type.
pub(super) struct PfModel {
    /// What the PF is besides owning a group.
    inner: Box<dyn Model>,
    /// Sizes of `inner`'s queues, and of the administration virtqueue.
    queue_sizes: Vec<u16>,
    commands: Commands,
    quirks: SharedQuirks,
    request: Vec<u8>,
}

impl PfModel {
    /// A PF that is an `inner` and carries out `commands`.
    pub(super) fn new(inner: Box<dyn Model>, commands: Commands, quirks: SharedQuirks) -> Self {
        let queue_sizes = inner.queue_sizes().iter().copied().chain([ADMIN_QUEUE_SIZE]).collect();
        Self { inner, queue_sizes, commands, quirks, request: vec![0; MAX_REQUEST] }
    }

    /// Index of the administration virtqueue.
    fn admin_queue(&self) -> usize {
        self.queue_sizes.len() - 1
    }

    fn run_commands(&mut self, ring: &mut Ring<'_>) -> Result<Progress, RingError> {
        self.commands.begin_series();
        let quirks = self.quirks.load();
        while ring.left.buffers > 0 {
            if !ring.pop()? {
                return Ok(Progress::Drained);
            }
            if quirks.reply.hang {
                continue;
            }
            let written = self.run_command(ring, &quirks)?;
            ring.complete(written)?;
        }
        Ok(Progress::More)
    }

    /// Runs the command in the buffer; returns how many bytes were written.
    fn run_command(&mut self, ring: &Ring<'_>, quirks: &Quirks) -> Result<u32, RingError> {
        let len = ring.chain.read(ring.memory, 0, &mut self.request)?;
        let request =
            Request { bytes: self.request.get(..len).unwrap_or_default(), writable: ring.chain.writable_len() };
        let mut result = [0; MAX_RESULT];
        let (header, len) = match self.commands.execute(&request, quirks, &mut result) {
            Ok(len) => (ReplyHeader::OK, len),
            Err(header) => (header, 0),
        };
        if quirks.reply.empty {
            return Ok(0);
        }
        let mut reply = [0; REPLY_LEN + MAX_RESULT];
        reply[..REPLY_LEN].copy_from_slice(&header.encode());
        reply[REPLY_LEN..REPLY_LEN + len].copy_from_slice(&result[..len]);
        Ok(ring.chain.write(ring.memory, 0, &reply[..REPLY_LEN + len])? as u32)
    }
}

impl Model for PfModel {
    fn device_type(&self) -> u16 {
        self.inner.device_type()
    }

    fn features(&self) -> u64 {
        self.inner.features() | feature::SR_IOV | feature::ADMIN_VQ
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn admin_queues(&self) -> u16 {
        1
    }

    fn config(&self) -> &[u8] {
        self.inner.config()
    }

    fn fields(&self) -> &'static [Field] {
        self.inner.fields()
    }

    fn write_config(&mut self, offset: u8, bytes: &[u8]) -> bool {
        self.inner.write_config(offset, bytes)
    }

    fn process(&mut self, queue: usize, ring: &mut Ring<'_>, features: u64) -> Result<Progress, RingError> {
        match queue {
            _ if queue != self.admin_queue() => self.inner.process(queue, ring, features),
            _ if features & feature::ADMIN_VQ != 0 => self.run_commands(ring),
            _ => Ok(Progress::Waiting),
        }
    }

    fn follow_up(&self) -> Option<usize> {
        self.inner.follow_up()
    }

    fn source(&self) -> Option<RawFd> {
        self.inner.source()
    }

    fn source_hung_up(&mut self) {
        self.inner.source_hung_up();
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.commands.reset();
    }
}
