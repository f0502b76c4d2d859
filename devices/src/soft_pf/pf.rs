// SPDX-License-Identifier: Apache-2.0
//! The physical function. A doorbell is answered on the thread that rings it: an administration
//! command is done when the write returns, and costs no hop to another thread.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use super::SoftPfError;
use super::commands::Commands;
use super::function::Function;
use super::layout::{self, OWNER_DOORBELLS, is_doorbell, modern_device_id};
use super::pf_model::PfModel;
use super::quirks::SharedQuirks;
use super::sriov::{self, EnabledVfs, Vfs};
use super::vf::Vf;
use crate::bus::Width;
use crate::function::{DmaRegion, KickLink, PciFunction, Region, Result};

/// Turns of a queue for one doorbell. Each buffer has its own doorbell, so whoever adds buffers
/// while this thread works rings again and finds the rest.
const TURNS: usize = 4;

/// The physical function.
pub(super) struct Pf {
    function: Function,
    vfs: Vec<Arc<Vf>>,
    sriov_capability: u16,
    enabled: Arc<EnabledVfs>,
    /// What the SR-IOV registers meant after the last write. Held while VFs come and go.
    sriov: Mutex<Vfs>,
}

impl Pf {
    /// A PF with these VFs, none of them enabled.
    pub(super) fn new(name: String, vfs: Vec<Arc<Vf>>, quirks: SharedQuirks) -> std::result::Result<Self, SoftPfError> {
        let enabled = Arc::new(EnabledVfs::default());
        let commands = Commands::new(vfs.clone(), enabled.clone(), quirks.clone());
        let function = Function::new(name, Box::new(PfModel::new(commands, quirks)))?;
        let vf_type = vfs.first().map_or(1, |vf| vf.function.device().model.device_type());
        let capability = sriov::add(&mut function.config().space, vfs.len() as u16, modern_device_id(vf_type))?;
        function.present.store(true, Ordering::Release);
        Ok(Self { function, vfs, sriov_capability: capability, enabled, sriov: Mutex::default() })
    }

    fn sriov(&self) -> MutexGuard<'_, Vfs> {
        self.sriov.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes VFs exist, and decode, as the SR-IOV registers say now.
    fn settle_vfs(&self) {
        let mut sriov = self.sriov();
        let after =
            sriov::settle(&mut self.function.config().space, self.sriov_capability, self.vfs.len() as u16, *sriov);
        let before = std::mem::replace(&mut *sriov, after);
        // Commands see fewer VFs before VFs go, and more after they came.
        self.enabled.set(after.enabled.min(before.enabled));
        for (index, vf) in (0..).zip(&self.vfs) {
            let (was, is) = (index < before.enabled, index < after.enabled);
            if was != is {
                vf.set_present(is);
            }
            vf.set_decoded(is && after.memory);
        }
        self.enabled.set(after.enabled);
    }

    /// Function level reset: the VFs go too.
    fn reset_function(&self) {
        self.function.reset();
        self.function.decoded.store(false, Ordering::Release);
        self.settle_vfs();
    }

    /// Disables all VFs, then enables the first `count`.
    pub(super) fn write_num_vfs(&self, count: u16) -> Result<()> {
        let writes = sriov::enable_writes(self.sriov_capability, count);
        writes.into_iter().try_for_each(|(offset, value)| self.config_write(offset, Width::B2, value.into()))
    }

    /// The device is taken out: all functions are gone.
    pub(super) fn remove(&self) {
        self.reset_function();
        self.function.present.store(false, Ordering::Release);
    }

    fn doorbell(&self, queue: u16) {
        for _ in 0..TURNS {
            let mut device = self.function.device();
            let memory = self.function.dma.load();
            if !device.service(queue.into(), &memory, false).again {
                break;
            }
        }
    }
}

impl fmt::Debug for Pf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pf").field("name", &self.function.name).field("vfs", &self.vfs.len()).finish_non_exhaustive()
    }
}

impl PciFunction for Pf {
    fn name(&self) -> &str {
        &self.function.name
    }

    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.function.config_read(offset, width)
    }

    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let write = self.function.config_write(offset, width, value)?;
        if write.function_reset {
            self.reset_function();
            return Ok(());
        }
        self.function.decoded.store(self.function.memory_enabled(), Ordering::Release);
        if offset >= self.sriov_capability {
            self.settle_vfs();
        }
        if write.bus_master_on {
            let queues = self.function.device().queues.len() as u16;
            (0..queues).for_each(|queue| self.doorbell(queue));
        }
        Ok(())
    }

    fn region(&self, bar: u8) -> Option<Region> {
        layout::region(bar)
    }

    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.function.region_read(bar, offset, width)
    }

    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if self.function.region_write(bar, offset, width, value)? {
            if is_doorbell(offset) {
                self.doorbell(value as u16);
            } else if let Some(vf) = owner_doorbell(offset).and_then(|index| self.vfs.get(index)) {
                vf.kick(value as u16);
            }
        }
        Ok(())
    }

    fn msix_vectors(&self) -> u16 {
        self.function.msix_vectors()
    }

    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.function.set_msix(events)
    }

    fn disable_msix(&self) -> Result<()> {
        self.function.disable_msix()
    }

    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.function.dma_map(region)
    }

    fn dma_unmap(&self, iova: u64) -> Result<()> {
        self.function.dma_unmap(iova)
    }

    fn reset(&self) -> Result<()> {
        self.reset_function();
        Ok(())
    }

    fn link_ioeventfd(&self, _bar: u8, _offset: u64, _value: u16, _event: &EventFd) -> Result<Box<dyn KickLink>> {
        Err(self.function.unsupported("an ioeventfd"))
    }
}

/// The VF, from 0, whose doorbell is at `offset` of the PF's register BAR.
fn owner_doorbell(offset: u64) -> Option<usize> {
    let index = offset.checked_sub(OWNER_DOORBELLS)?;
    index.is_multiple_of(2).then(|| usize::try_from(index / 2).ok())?
}

#[cfg(test)]
#[path = "pf_tests.rs"]
mod tests;
