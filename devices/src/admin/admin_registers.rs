// SPDX-License-Identifier: Apache-2.0
//! Legacy registers of one VF, each access one admin command to the PF. Opcode and width follow from
//! the access; group and member are fixed at construction and no access can change them.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use super::opcode::{qualifier, status};
use super::stats::Recorder;
use super::wire::{LegacyRead, LegacyWrite};
use super::{AdminChannel, AdminError, AdminStats, Command, opcode};
use crate::contract::{Answer, Area, LegacyRegisters, NotifyAddress, RegisterError, Wait, Width};

/// Bytes of the legacy common configuration, with both MSI-X vectors (virtio 1.4, "Legacy Interfaces:
/// A Note on PCI Device Layout").
const COMMON_LEN: u16 = 24;
/// Bytes of device configuration that the 8-bit offset of a command reaches.
const DEVICE_LEN: u16 = 256;

/// The legacy registers of VF `member` of the PF behind a channel.
pub struct AdminRegisters {
    channel: Arc<dyn AdminChannel>,
    member: NonZeroU16,
    notify: Box<[NotifyAddress]>,
    recorder: Recorder,
}

impl fmt::Debug for AdminRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminRegisters")
            .field("member", &self.member)
            .field("notify", &self.notify)
            .finish_non_exhaustive()
    }
}

impl AdminRegisters {
    /// Registers of the VF with SR-IOV number `member` (1..=NumVFs). `notify` has the usable addresses
    /// of the device's LEGACY_NOTIFY_INFO, best first.
    pub fn new(
        channel: Arc<dyn AdminChannel>,
        member: NonZeroU16,
        notify: impl IntoIterator<Item = NotifyAddress>,
    ) -> Self {
        Self { channel, member, notify: notify.into_iter().collect(), recorder: Recorder::new() }
    }

    /// Counts, errors and latencies so far.
    pub fn stats(&self) -> AdminStats {
        self.recorder.snapshot(self.member.get())
    }

    fn execute(
        &self,
        opcode: u16,
        area: Area,
        offset: u8,
        data: &[u8],
        result: &mut [u8],
        wait: &Wait<'_>,
    ) -> Result<(), RegisterError> {
        let member_id = u64::from(self.member.get());
        let command = Command { opcode, group_type: opcode::GROUP_SRIOV, member_id, data };
        let begun = Instant::now();
        let outcome = self.channel.execute(&command, result, wait);
        self.recorder.record(opcode, area, offset, begun.elapsed(), &outcome);
        outcome.map_err(|error| explain(error, area, offset, data.len().max(result.len())))
    }
}

/// What a failed command means for the access that it carried in `len` bytes. A member or group
/// that the PF does not know has lost its place, whatever the status beside it.
fn explain(error: AdminError, area: Area, offset: u8, len: usize) -> RegisterError {
    match error {
        AdminError::Refused { status, qualifier } => {
            let answer = Answer { status, qualifier };
            match (status, qualifier) {
                (_, qualifier::INVALID_GROUP | qualifier::INVALID_MEMBER) => RegisterError::Gone(answer),
                (status::EAGAIN | status::ENOMEM, _) => RegisterError::Busy(answer),
                _ => RegisterError::Refused(answer),
            }
        }
        AdminError::Timeout => RegisterError::Timeout,
        AdminError::Cancelled => RegisterError::Cancelled,
        AdminError::Short { got, wanted } => RegisterError::Short { got, wanted },
        AdminError::Full => RegisterError::Full,
        AdminError::TooLong { .. } => RegisterError::NoSuchRegister { area, offset, width: len },
        AdminError::Dead(reason) => RegisterError::Dead(reason),
    }
}

/// The number of bytes, if the access is one that a command can carry.
fn checked_width(area: Area, offset: u8, width: Width) -> Result<usize, RegisterError> {
    let len = match area {
        Area::Common => COMMON_LEN,
        Area::Device => DEVICE_LEN,
    };
    let bytes = width.bytes();
    if bytes > 4 || usize::from(offset) + bytes > usize::from(len) {
        return Err(RegisterError::NoSuchRegister { area, offset, width: bytes });
    }
    Ok(bytes)
}

impl LegacyRegisters for AdminRegisters {
    fn read(&self, area: Area, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError> {
        let bytes = checked_width(area, offset, width)?;
        let opcode = match area {
            Area::Common => opcode::LEGACY_COMMON_CFG_READ,
            Area::Device => opcode::LEGACY_DEV_CFG_READ,
        };
        let mut value = [0; 4];
        let result = value.get_mut(..bytes).unwrap_or_default();
        self.execute(opcode, area, offset, &LegacyRead { offset }.encode(), result, wait)?;
        Ok(u32::from_le_bytes(value))
    }

    fn write(&self, area: Area, offset: u8, width: Width, value: u32, wait: &Wait<'_>) -> Result<(), RegisterError> {
        let bytes = checked_width(area, offset, width)?;
        let opcode = match area {
            Area::Common => opcode::LEGACY_COMMON_CFG_WRITE,
            Area::Device => opcode::LEGACY_DEV_CFG_WRITE,
        };
        let value = value.to_le_bytes();
        let write = LegacyWrite { offset, data: value.get(..bytes).unwrap_or_default() };
        let no_register = RegisterError::NoSuchRegister { area, offset, width: bytes };
        let (data, len) = write.encode().ok_or(no_register)?;
        self.execute(opcode, area, offset, data.get(..len).unwrap_or_default(), &mut [], wait)
    }

    fn notify_addresses(&self) -> &[NotifyAddress] {
        &self.notify
    }
}

#[cfg(test)]
#[path = "admin_registers_tests.rs"]
mod tests;
