// SPDX-License-Identifier: Apache-2.0
//! Ports 0x510 to 0x51b: "fw_cfg", by which firmware of virtual machines learns what machine it is in.
//!
//! | port | access | meaning |
//! | --- | --- | --- |
//! | 0x510 | 16-bit write | select a key, from its first byte on |
//! | 0x511 | 8-bit read | the next byte; 0 behind the last and where the key is not there |
//! | 0x514 | 32-bit write, big-endian | high half of the address of a DMA descriptor |
//! | 0x518 | 32-bit write, big-endian | low half; carries it out |
//!
//! SeaBIOS relies on keys that do not exist reading as zeros, by DMA with success. A descriptor, or what it
//! points to, that is not whole in guest RAM is an error in the descriptor, or nothing where there is none.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`items`] | keys, files and their directory, pure |
//! | [`dma`] | a descriptor's fields, pure |
//!
//! Source: QEMU's docs/specs/fw_cfg.rst and hw/nvram/fw_cfg.c.

pub mod dma;
pub mod items;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::bus::{Access, Effect, IoDevice, Width};
use crate::contract::{Saved, StateError};
use dma::{Descriptor, Operation};
pub use items::{FileError, Items, key};

/// Number of ports.
pub const PORTS: u64 = 12;
/// Offsets in [`PORTS`].
const SELECTOR: u64 = 0;
const DATA: u64 = 1;
const DMA_HIGH: u64 = 4;
const DMA_LOW: u64 = 8;
/// What the DMA address registers read as.
const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";
/// Bytes that are copied or cleared at once.
const PIECE: usize = 4096;

/// Where a guest is in the items, as one plain value. The items are the configuration's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwCfgState {
    selector: u16,
    /// Bytes of the item that were read or skipped.
    offset: usize,
    dma_high: u32,
}

impl FwCfgState {
    fn select(&mut self, selector: u16) {
        (self.selector, self.offset) = (selector, 0);
    }
}

/// The device.
pub struct FwCfg {
    items: Items,
    memory: GuestMemoryMmap<()>,
    state: Mutex<FwCfgState>,
}

impl FwCfg {
    /// Offers `items`. `memory` is the RAM that DMA reaches.
    pub fn new(items: Items, memory: GuestMemoryMmap<()>) -> Self {
        Self { items, memory, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, FwCfgState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_byte(&self) -> u8 {
        let mut state = self.lock();
        let byte = self.items.get(state.selector).get(state.offset).copied();
        state.offset = state.offset.saturating_add(1);
        byte.unwrap_or(0)
    }

    /// Carries out the descriptor at `address`, and says in its first four bytes how that went.
    fn dma(&self, address: u64) {
        let mut bytes = [0; dma::SIZE];
        let read = self.memory.read_slice(&mut bytes, GuestAddress(address));
        let done = read.is_ok() && self.transfer(&Descriptor::parse(&bytes));
        let control = if done { 0 } else { dma::ERROR };
        if let Err(error) = self.memory.write_slice(&control.to_be_bytes(), GuestAddress(address)) {
            tracing::debug!("fw_cfg: there is no RAM for a DMA descriptor at {address:#x}: {error}");
        }
    }

    /// Whether it succeeded.
    fn transfer(&self, descriptor: &Descriptor) -> bool {
        let mut state = self.lock();
        if let Some(selector) = descriptor.select {
            state.select(selector);
        }
        let length = descriptor.length as usize;
        let from = state.offset;
        let done = match descriptor.operation {
            Operation::Read => self.copy(self.items.get(state.selector), from, descriptor.address, length),
            Operation::Skip => true,
            Operation::Write => false,
            Operation::None => return true,
        };
        if done {
            state.offset = from.saturating_add(length);
        }
        done
    }

    /// Copies `item` from offset `from` on to memory, zeros behind its end. All or nothing, as far as the place is
    /// concerned.
    fn copy(&self, item: &[u8], from: usize, address: u64, length: usize) -> bool {
        const ZEROS: [u8; PIECE] = [0; PIECE];
        let (mut at, mut left) = (GuestAddress(address), length);
        if !self.memory.check_range(at, length) {
            return false;
        }
        let mut rest = item.get(from..).unwrap_or_default();
        while left > 0 {
            let source = if rest.is_empty() { &ZEROS[..] } else { rest };
            let piece = &source[..source.len().min(left).min(PIECE)];
            if self.memory.write_slice(piece, at).is_err() {
                return false;
            }
            rest = rest.get(piece.len()..).unwrap_or_default();
            left -= piece.len();
            // Inside the range that was checked.
            at = GuestAddress(at.0.wrapping_add(piece.len() as u64));
        }
        true
    }
}

impl Saved for FwCfg {
    type State = FwCfgState;

    fn state(&self) -> FwCfgState {
        self.lock().clone()
    }

    fn set_state(&self, state: FwCfgState) -> Result<(), StateError> {
        *self.lock() = state;
        Ok(())
    }
}

impl IoDevice for FwCfg {
    fn name(&self) -> &str {
        "fw-cfg"
    }

    /// Each byte of the DMA registers is readable at any width; the data port is one byte wide.
    fn read(&self, access: Access) -> u64 {
        match (access.offset, access.width) {
            (DATA, Width::B1) => self.next_byte().into(),
            (DMA_HIGH.., width) => {
                let at = |byte: u64| DMA_SIGNATURE.get((access.offset - DMA_HIGH + byte) as usize).copied();
                (0..width.bytes() as u64)
                    .fold(0, |value, byte| value | u64::from(at(byte).unwrap_or(0xff)) << (8 * byte))
            }
            (_, width) => width.all_ones(),
        }
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        match (access.offset, access.width) {
            (SELECTOR, Width::B2) => self.lock().select(value as u16),
            (DMA_HIGH, Width::B4) => self.lock().dma_high = (value as u32).swap_bytes(),
            (DMA_LOW, Width::B4) => {
                // The register is 0 for the next descriptor, whatever becomes of this one.
                let high = std::mem::take(&mut self.lock().dma_high);
                self.dma(u64::from(high) << 32 | u64::from((value as u32).swap_bytes()));
            }
            _ => {}
        }
        Effect::None
    }
}

#[cfg(test)]
#[path = "fw_cfg_tests.rs"]
mod tests;
