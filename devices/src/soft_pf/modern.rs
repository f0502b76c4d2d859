// SPDX-License-Identifier: Apache-2.0
//! The modern common configuration over a [`VirtioDevice`] (virtio 1.3, 4.1.4.3). Registers only:
//! a kick is not a register, and is not here.

use super::device::{VirtioDevice, feature, status};
use super::queue::Setup;
use crate::bus::Width;
use crate::spec::virtio::common as at;

/// Bits `select * 32 ..` of `features`; 0 for words that do not exist.
fn feature_word(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// `old` with its word `high` replaced.
fn with_half(old: u64, high: bool, value: u32) -> u64 {
    if high { old & 0xffff_ffff | u64::from(value) << 32 } else { old & !0xffff_ffff | u64::from(value) }
}

impl VirtioDevice {
    /// Reads the common configuration. Nothing in it has a side effect, so any part of it may be
    /// read in any width; 0 outside.
    pub(super) fn common_read(&self, offset: u64, width: Width) -> u64 {
        let image = self.common_image();
        let bytes = usize::try_from(offset).ok().and_then(|start| image.get(start..start.checked_add(width.bytes())?));
        bytes.map_or(0, |bytes| bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn common_image(&self) -> [u8; at::LEN] {
        let mut image = [0; at::LEN];
        let mut put = |offset: u64, bytes: &[u8]| {
            let offset = offset as usize;
            image[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        let select = &self.modern;
        put(at::DEVICE_FEATURE_SELECT, &select.device_feature.to_le_bytes());
        put(at::DEVICE_FEATURE, &feature_word(self.offered(), select.device_feature).to_le_bytes());
        put(at::DRIVER_FEATURE_SELECT, &select.driver_feature.to_le_bytes());
        put(at::DRIVER_FEATURE, &feature_word(self.common.driver_features, select.driver_feature).to_le_bytes());
        put(at::CONFIG_MSIX_VECTOR, &self.common.config_vector.to_le_bytes());
        put(at::NUM_QUEUES, &self.data_queues().to_le_bytes());
        put(at::DEVICE_STATUS, &[self.shown_status()]);
        put(at::CONFIG_GENERATION, &[self.common.generation]);
        put(at::QUEUE_SELECT, &select.queue.to_le_bytes());
        if let Some(queue) = self.queues.get(usize::from(select.queue)) {
            put(at::QUEUE_SIZE, &queue.size.to_le_bytes());
            put(at::QUEUE_MSIX_VECTOR, &queue.vector.to_le_bytes());
            put(at::QUEUE_ENABLE, &u16::from(queue.setup() == Setup::Modern).to_le_bytes());
            put(at::QUEUE_NOTIFY_OFF, &select.queue.to_le_bytes());
            put(at::QUEUE_DESC, &queue.addresses.desc.to_le_bytes());
            put(at::QUEUE_DRIVER, &queue.addresses.driver.to_le_bytes());
            put(at::QUEUE_DEVICE, &queue.addresses.device.to_le_bytes());
        }
        if self.negotiated(feature::ADMIN_VQ) {
            put(at::ADMIN_QUEUE_INDEX, &self.data_queues().to_le_bytes());
            put(at::ADMIN_QUEUE_NUM, &self.model.admin_queues().to_le_bytes());
        }
        image
    }

    fn data_queues(&self) -> u16 {
        (self.queues.len() as u16).saturating_sub(self.model.admin_queues())
    }

    /// Whether the modern driver has this feature and FEATURES_OK.
    fn negotiated(&self, feature: u64) -> bool {
        self.common.status & status::FEATURES_OK != 0 && self.common.driver_features & feature != 0
    }

    /// Writes a field in its own width, or half of a 64-bit field. Other writes have no effect: the
    /// standard leaves no driver a reason for them.
    pub(super) fn common_write(&mut self, offset: u64, width: Width, value: u64) {
        match (offset, width) {
            (at::QUEUE_DESC..at::ADMIN_QUEUE_INDEX, Width::B4) => self.write_address(offset, value as u32),
            (at::QUEUE_DESC | at::QUEUE_DRIVER | at::QUEUE_DEVICE, Width::B8) => {
                self.write_address(offset, value as u32);
                self.write_address(offset + 4, (value >> 32) as u32);
            }
            (at::DEVICE_FEATURE_SELECT, Width::B4) => self.modern.device_feature = value as u32,
            (at::DRIVER_FEATURE_SELECT, Width::B4) => self.modern.driver_feature = value as u32,
            (at::DRIVER_FEATURE, Width::B4) => self.write_features(value as u32),
            (at::CONFIG_MSIX_VECTOR, Width::B2) => self.common.config_vector = self.checked_vector(value as u16),
            (at::DEVICE_STATUS, Width::B1) => self.write_status(value as u8),
            (at::QUEUE_SELECT, Width::B2) => self.modern.queue = value as u16,
            (at::QUEUE_SIZE..at::QUEUE_NOTIFY_OFF, Width::B2) => self.write_queue(offset, value as u16),
            _ => {}
        }
    }

    fn write_features(&mut self, value: u32) {
        // Fixed once FEATURES_OK is set (virtio 1.3, 2.2.1).
        if self.common.status & status::FEATURES_OK == 0 && self.modern.driver_feature < 2 {
            self.common.driver_features =
                with_half(self.common.driver_features, self.modern.driver_feature == 1, value);
        }
    }

    /// Sets status bits; a bit that is set stays until 0 is written, which resets.
    fn write_status(&mut self, value: u8) {
        if value == 0 {
            return self.reset();
        }
        if self.is_settling() {
            return;
        }
        let mut new = self.common.status | value & !status::NEEDS_RESET;
        let acceptable =
            self.common.driver_features & feature::VERSION_1 != 0 && self.common.driver_features & !self.offered() == 0;
        if self.common.status & status::FEATURES_OK == 0 && !acceptable {
            new &= !status::FEATURES_OK;
        }
        if new & status::FEATURES_OK == 0 {
            new &= !status::DRIVER_OK;
        }
        self.common.status = new;
    }

    fn write_queue(&mut self, offset: u64, value: u16) {
        let vector = self.checked_vector(value);
        let ready = self.common.status & status::FEATURES_OK != 0;
        let Some(queue) = self.queues.get_mut(usize::from(self.modern.queue)) else { return };
        match offset {
            at::QUEUE_SIZE => queue.set_size(value),
            at::QUEUE_MSIX_VECTOR => queue.vector = vector,
            // Only 1 has a meaning; a queue is disabled by a reset.
            at::QUEUE_ENABLE if value == 1 && ready => queue.enable(),
            _ => {}
        }
    }

    fn write_address(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.queues.get_mut(usize::from(self.modern.queue)) else { return };
        if queue.setup() != Setup::Disabled {
            return;
        }
        let (field, high) = match offset & !7 {
            at::QUEUE_DESC => (&mut queue.addresses.desc, offset & 7),
            at::QUEUE_DRIVER => (&mut queue.addresses.driver, offset & 7),
            at::QUEUE_DEVICE => (&mut queue.addresses.device, offset & 7),
            _ => return,
        };
        match high {
            0 => *field = with_half(*field, false, value),
            4 => *field = with_half(*field, true, value),
            _ => {}
        }
    }

    /// Reads device configuration; 0 outside.
    pub(super) fn config_read(&self, offset: u64, width: Width) -> u64 {
        let config = self.model.config();
        let byte = |index: u64| -> u64 {
            let at = offset.checked_add(index).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| config.get(at)).map_or(0, |byte| u64::from(*byte))
        };
        (0..width.bytes() as u64).rev().fold(0, |value, index| value << 8 | byte(index))
    }
}

#[cfg(test)]
#[path = "modern_tests.rs"]
mod tests;
