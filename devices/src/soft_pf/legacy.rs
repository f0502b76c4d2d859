// SPDX-License-Identifier: Apache-2.0
//! The legacy registers over a [`VirtioDevice`], as the legacy administration commands reach them
//! (virtio 1.3, "Legacy Interface" commands; register layout: "Legacy Interfaces: A Note on PCI
//! Device Layout"). A refused access changes nothing.

use super::device::{VirtioDevice, status};
use super::model::{Field, find_field};
use super::queue::NO_VECTOR;
use super::quirks::Quirks;
use crate::contract::{Area, REGISTER_NAMES, register_index};
use crate::spec::virtio::legacy as at;

/// Registers of the common part. The last two are there while MSI-X is enabled.
const COMMON: [Field; 10] = [
    Field::at(at::DEVICE_FEATURES, 4),
    Field::at(at::DRIVER_FEATURES, 4),
    Field::at(at::QUEUE_ADDRESS, 4),
    Field::at(at::QUEUE_SIZE, 2),
    Field::at(at::QUEUE_SELECT, 2),
    Field::at(at::QUEUE_NOTIFY, 2),
    Field::at(at::DEVICE_STATUS, 1),
    Field::at(at::ISR_STATUS, 1),
    Field::at(at::CONFIG_VECTOR, 2),
    Field::at(at::QUEUE_VECTOR, 2),
];
const WITHOUT_MSIX: usize = 8;
const _: () = assert!(COMMON.len() + 1 == REGISTER_NAMES.len());

/// The access does not lie inside one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSuchField;

/// What a write asks of the function besides what it did to the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LegacyWrite {
    /// The driver kicked this queue.
    pub kick: Option<u16>,
}

impl VirtioDevice {
    fn legacy_field(&self, offset: u8, len: u64) -> Result<Field, NoSuchField> {
        let known = if self.msix_enabled() { COMMON.len() } else { WITHOUT_MSIX };
        // Registers are in the order in which they are named: one of them can be it.
        let at = register_index(Area::Common, offset);
        find_field(COMMON[..known].get(at..=at).unwrap_or_default(), offset, len).ok_or(NoSuchField)
    }

    /// Reads `out.len()` bytes of the common part. Reading the ISR clears it.
    pub(super) fn legacy_read(&mut self, offset: u8, out: &mut [u8]) -> Result<(), NoSuchField> {
        let field = self.legacy_field(offset, out.len() as u64)?;
        let value = if field.offset == at::ISR_STATUS { self.take_isr().into() } else { self.legacy_value(field) };
        let bytes = value.to_le_bytes();
        let skip = usize::from(offset - field.offset);
        out.iter_mut().zip(bytes.iter().skip(skip)).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// A register's value, but for the ISR.
    fn legacy_value(&self, field: Field) -> u32 {
        let queue = self.queues.get(usize::from(self.legacy_queue));
        match field.offset {
            at::DEVICE_FEATURES => self.offered_legacy(),
            at::DRIVER_FEATURES => self.common.driver_features as u32,
            at::QUEUE_ADDRESS => queue.map_or(0, |q| q.pfn()),
            at::QUEUE_SIZE => queue.map_or(0, |q| q.max_size().into()),
            at::QUEUE_SELECT => self.legacy_queue.into(),
            at::DEVICE_STATUS => (self.shown_status() & (status::LEGACY | status::NEEDS_RESET)).into(),
            at::CONFIG_VECTOR => self.common.config_vector.into(),
            at::QUEUE_VECTOR => queue.map_or(NO_VECTOR, |q| q.vector).into(),
            _ => 0,
        }
    }

    /// Writes bytes of the common part; bytes of the same field that are not written keep their
    /// value. Of `quirks` those count that change what a register does.
    pub(super) fn legacy_write(
        &mut self,
        offset: u8,
        bytes: &[u8],
        quirks: &Quirks,
    ) -> Result<LegacyWrite, NoSuchField> {
        let field = self.legacy_field(offset, bytes.len() as u64)?;
        let mut merged = self.legacy_value(field).to_le_bytes();
        let skip = usize::from(offset - field.offset);
        merged.iter_mut().skip(skip).zip(bytes).for_each(|(to, from)| *to = *from);
        let value = u32::from_le_bytes(merged);
        let vector = self.checked_vector(value as u16);
        let vector = if quirks.vf.vectors_kept.is_some_and(|kept| vector >= kept) { NO_VECTOR } else { vector };
        let offered = self.offered_legacy();
        let settling = self.is_settling();
        let queue = self.queues.get_mut(usize::from(self.legacy_queue));
        match field.offset {
            // Bits from 32 on are not there for a legacy driver, whoever set them before.
            at::DRIVER_FEATURES => self.common.driver_features = (value & offered).into(),
            at::QUEUE_ADDRESS if value == 0 && quirks.vf.pfn_zero_resets => self.reset(),
            at::QUEUE_ADDRESS => {
                queue.into_iter().for_each(|q| q.set_pfn(value));
                self.queue_restarts();
            }
            at::QUEUE_SELECT => self.legacy_queue = value as u16,
            at::QUEUE_NOTIFY => return Ok(LegacyWrite { kick: Some(value as u16) }),
            at::DEVICE_STATUS if value == 0 => self.reset(),
            at::DEVICE_STATUS if settling => {}
            at::DEVICE_STATUS => {
                self.common.status = self.common.status & !status::LEGACY | value as u8 & status::LEGACY
            }
            at::CONFIG_VECTOR => self.common.config_vector = vector,
            at::QUEUE_VECTOR => queue.into_iter().for_each(|q| q.vector = vector),
            _ => {}
        }
        Ok(LegacyWrite::default())
    }

    /// Reads `out.len()` bytes of the device configuration.
    pub(super) fn legacy_config_read(&self, offset: u8, out: &mut [u8]) -> Result<(), NoSuchField> {
        find_field(self.model.fields(), offset, out.len() as u64).ok_or(NoSuchField)?;
        let start = usize::from(offset);
        let bytes = self.model.config().get(start..start + out.len()).ok_or(NoSuchField)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes bytes of the device configuration; fields that cannot be written stay as they are.
    pub(super) fn legacy_config_write(&mut self, offset: u8, bytes: &[u8]) -> Result<(), NoSuchField> {
        find_field(self.model.fields(), offset, bytes.len() as u64).ok_or(NoSuchField)?;
        if self.model.write_config(offset, bytes) {
            // The driver changed it itself and needs no interrupt.
            self.common.generation = self.common.generation.wrapping_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "legacy_tests.rs"]
mod tests;
