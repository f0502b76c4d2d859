// SPDX-License-Identifier: Apache-2.0
//! The SR-IOV extended capability of a PF (PCI Express Base Specification, "SR-IOV Extended
//! Capability"): how many VFs there can be and are, and enabling them where the function lets its
//! driver do so. It knows no virtio.

use super::pf_error::PfCause;
use crate::bus::Width;
use crate::function::Configuration;

const EXTENDED: u16 = 0x100;
const CAP_SRIOV: u32 = 0x0010;
/// Capabilities that fit: each takes at least 8 bytes.
const MAX_CAPABILITIES: usize = (4096 - 256) / 8;

const CONTROL: u16 = 0x08;
const TOTAL_VFS: u16 = 0x0e;
const NUM_VFS: u16 = 0x10;
const VF_ENABLE: u32 = 1 << 0;
const VF_MSE: u32 = 1 << 3;

/// The capability of one PF.
#[derive(Debug)]
pub(super) struct SrIov<'a> {
    function: &'a dyn Configuration,
    at: u16,
}

impl<'a> SrIov<'a> {
    /// Finds the capability; a list that loops counts as one without it.
    pub(super) fn find(function: &'a dyn Configuration) -> Result<Self, PfCause> {
        let mut at = EXTENDED;
        for _ in 0..MAX_CAPABILITIES {
            let header = function.config_read(at, Width::B4)?;
            if header & 0xffff == CAP_SRIOV {
                // The capability has 64 bytes; one that leaves configuration space is none.
                return if at <= 4096 - 64 { Ok(Self { function, at }) } else { Err(PfCause::NoSrIov) };
            }
            at = (header >> 20) as u16 & 0xffc;
            if header == 0 || header == u32::MAX || at < EXTENDED {
                break;
            }
        }
        Err(PfCause::NoSrIov)
    }

    fn read(&self, register: u16) -> Result<u16, PfCause> {
        Ok(self.function.config_read(self.at + register, Width::B2)? as u16)
    }

    /// VFs that are enabled now; member ids are 1 to this number.
    pub(super) fn active(&self) -> Result<u16, PfCause> {
        let enabled = u32::from(self.read(CONTROL)?) & VF_ENABLE != 0;
        if enabled { self.read(NUM_VFS) } else { Ok(0) }
    }

    /// Enables `count` VFs and their memory BARs. Returns false if just these were enabled before.
    /// PCI Express grants VFs 100 ms before they must answer.
    pub(super) fn enable(&self, count: u16) -> Result<bool, PfCause> {
        let (total, active) = (self.read(TOTAL_VFS)?, self.active()?);
        if count != 0 && active == count {
            return Ok(false);
        }
        // NumVFs is fixed while VF Enable is set.
        if count == 0 || count > total || active != 0 {
            return Err(PfCause::VfCount { asked: count, total, active });
        }
        self.function.config_write(self.at + NUM_VFS, Width::B2, count.into())?;
        let seen = self.read(NUM_VFS)?;
        if seen != count {
            return Err(PfCause::VfReadOnly { asked: count, seen });
        }
        let control = u32::from(self.read(CONTROL)?) | VF_ENABLE | VF_MSE;
        self.function.config_write(self.at + CONTROL, Width::B2, control)?;
        let seen = self.active()?;
        if seen != count {
            return Err(PfCause::VfReadOnly { asked: count, seen });
        }
        Ok(true)
    }

    /// Disables all VFs.
    pub(super) fn disable(&self) -> Result<(), PfCause> {
        let control = u32::from(self.read(CONTROL)?) & !(VF_ENABLE | VF_MSE);
        Ok(self.function.config_write(self.at + CONTROL, Width::B2, control)?)
    }
}
