// SPDX-License-Identifier: Apache-2.0
//! Registers of the modern common configuration (virtio 1.4, "Common configuration structure
//! layout"), each accessed with its own width, 64-bit ones as two halves.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::AdminError;
use super::pf_caps::Structure;
use super::pf_error::PfCause;
use crate::bus::Width;
use crate::contract::{Wait, WaitOver};
use crate::function::PciFunction;
use crate::spec::virtio::common as at;

/// Between two looks at a device that resets.
const RESET_POLL: Duration = Duration::from_micros(100);

/// The common configuration of one function.
#[derive(Clone, Debug)]
pub(super) struct CommonConfig {
    function: Arc<dyn PciFunction>,
    place: Structure,
}

impl CommonConfig {
    /// The structure at `place`, which lies inside its BAR and has at least [`at::LEN as u32`] bytes.
    pub(super) fn new(function: Arc<dyn PciFunction>, place: Structure) -> Result<Self, PfCause> {
        if place.length < at::LEN as u32 {
            return Err(PfCause::CommonTooShort { length: place.length });
        }
        Ok(Self { function, place })
    }

    /// BAR and offset of a register.
    pub(super) fn locate(&self, register: u64) -> (u8, u64) {
        (self.place.bar, u64::from(self.place.offset) + register)
    }

    fn read(&self, register: u64, width: Width) -> Result<u64, PfCause> {
        let (bar, offset) = self.locate(register);
        Ok(width.truncate(self.function.region_read(bar, offset, width)?))
    }

    fn write(&self, register: u64, width: Width, value: u64) -> Result<(), PfCause> {
        let (bar, offset) = self.locate(register);
        Ok(self.function.region_write(bar, offset, width, value)?)
    }

    pub(super) fn read16(&self, register: u64) -> Result<u16, PfCause> {
        Ok(self.read(register, Width::B2)? as u16)
    }

    pub(super) fn write16(&self, register: u64, value: u16) -> Result<(), PfCause> {
        self.write(register, Width::B2, value.into())
    }

    pub(super) fn write64(&self, register: u64, value: u64) -> Result<(), PfCause> {
        self.write(register, Width::B4, value & 0xffff_ffff)?;
        self.write(register + 4, Width::B4, value >> 32)
    }

    pub(super) fn status(&self) -> Result<u8, PfCause> {
        Ok(self.read(at::DEVICE_STATUS, Width::B1)? as u8)
    }

    pub(super) fn set_status(&self, status: u8) -> Result<(), PfCause> {
        self.write(at::DEVICE_STATUS, Width::B1, status.into())
    }

    /// Resets the device and waits until it says so.
    pub(super) fn reset(&self, wait: &Wait<'_>) -> Result<(), PfCause> {
        self.set_status(0)?;
        loop {
            let status = self.status()?;
            if status == 0 {
                return Ok(());
            }
            match wait.over() {
                None => thread::sleep(RESET_POLL),
                Some(WaitOver::Timeout) => return Err(PfCause::ResetStuck { status }),
                Some(WaitOver::Cancelled) => return Err(AdminError::Cancelled.into()),
            }
        }
    }

    /// All 64 offered features.
    pub(super) fn device_features(&self) -> Result<u64, PfCause> {
        self.write(at::DEVICE_FEATURE_SELECT, Width::B4, 0)?;
        let low = self.read(at::DEVICE_FEATURE, Width::B4)?;
        self.write(at::DEVICE_FEATURE_SELECT, Width::B4, 1)?;
        let high = self.read(at::DEVICE_FEATURE, Width::B4)?;
        Ok(high << 32 | low)
    }

    /// Chooses features.
    pub(super) fn set_driver_features(&self, features: u64) -> Result<(), PfCause> {
        for (select, word) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.write(at::DRIVER_FEATURE_SELECT, Width::B4, select)?;
            self.write(at::DRIVER_FEATURE, Width::B4, word)?;
        }
        Ok(())
    }
}
