// SPDX-License-Identifier: Apache-2.0
//! The physical function. A doorbell of the administration virtqueue is answered on the thread that rings it: a
//! command is done when the write returns, and costs no hop to another thread. Its other queues have a thread.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use super::SoftPfError;
use super::commands::Commands;
use super::event_loop::Endpoint;
use super::figures::Figures;
use super::function::{Function, HasFunction, QUIET_LIMIT};
use super::layout::{self, OWNER_DOORBELLS, modern_device_id};
use super::model::Model;
use super::pf_model::PfModel;
use super::quirks::SharedQuirks;
use super::report::{self, CommandCounts, SoftPfReport};
use super::sriov::{self, EnabledVfs, Vfs};
use super::threaded::{BarWrite, Threaded};
use super::vf::Vf;
use crate::bus::Width;
use crate::function::{Bars, Configuration, KickLink, Lifetime, Region, Result};

/// Turns of the administration virtqueue for one doorbell; the function's thread does the rest.
const TURNS: usize = 4;

/// The physical function.
pub(super) struct Pf {
    pub threaded: Arc<Threaded>,
    vfs: Vec<Arc<Vf>>,
    admin_queue: u16,
    commands: Arc<CommandCounts>,
    sriov_capability: u16,
    enabled: Arc<EnabledVfs>,
    /// What the SR-IOV registers meant after the last write. Held while VFs come and go.
    sriov: Mutex<Vfs>,
}

impl Pf {
    /// A PF of the type of `model` with these VFs, none of them enabled.
    pub(super) fn new(
        model: Box<dyn Model>,
        figures: Arc<Figures>,
        vfs: Vec<Arc<Vf>>,
        quirks: SharedQuirks,
        endpoint: Endpoint,
    ) -> std::result::Result<Self, SoftPfError> {
        let enabled = Arc::new(EnabledVfs::default());
        let commands = Commands::new(vfs.clone(), enabled.clone());
        let counts = commands.counts();
        let admin_queue = model.queue_sizes().len() as u16;
        let vf_type = vfs.first().map_or(model.device_type(), |vf| vf.threaded.function.device_type());
        let model = Box::new(PfModel::new(model, commands, quirks.clone()));
        let threaded = Arc::new(Threaded::new(model, figures, quirks, endpoint)?);
        let (total, vf_device_id) = (vfs.len() as u16, modern_device_id(vf_type));
        let capability = sriov::add(&mut threaded.function.config().space, total, vf_device_id)?;
        threaded.function.present.store(true, Ordering::Release);
        let sriov = Mutex::default();
        Ok(Self { threaded, vfs, admin_queue, commands: counts, sriov_capability: capability, enabled, sriov })
    }

    fn sriov(&self) -> MutexGuard<'_, Vfs> {
        self.sriov.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes VFs exist, and decode, as the SR-IOV registers say now.
    fn settle_vfs(&self) {
        let mut sriov = self.sriov();
        let total = self.vfs.len() as u16;
        let after = sriov::settle(&mut self.threaded.function.config().space, self.sriov_capability, total, *sriov);
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
        if after.enabled < before.enabled {
            let deadline = Instant::now() + QUIET_LIMIT;
            self.vfs.iter().for_each(|vf| vf.await_reset(deadline));
        }
    }

    /// Function level reset: the VFs go too.
    fn reset_function(&self) {
        self.threaded.reset_function();
        self.threaded.function.decoded.store(false, Ordering::Release);
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
        self.threaded.function.present.store(false, Ordering::Release);
    }

    /// What PF and VFs are, for all that concerns both.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Threaded>> {
        self.vfs.iter().map(|vf| &vf.threaded).chain([&self.threaded])
    }

    /// What PF and VFs did.
    pub(super) fn report(&self) -> SoftPfReport {
        SoftPfReport {
            pf: report::function(&self.threaded.function),
            commands: self.commands.report(),
            vfs: self.vfs.iter().map(|vf| report::function(&vf.threaded.function)).collect(),
        }
    }

    fn doorbell(&self, queue: u16) {
        if queue != self.admin_queue {
            return self.threaded.kick(queue);
        }
        let function = &self.threaded.function;
        for _ in 0..TURNS {
            let mut device = function.device();
            let memory = function.dma.load();
            if !device.service(queue.into(), &memory, false).again {
                return;
            }
        }
        self.threaded.kick(queue);
    }
}

impl fmt::Debug for Pf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.threaded.function.name();
        f.debug_struct("Pf").field("name", &name).field("vfs", &self.vfs.len()).finish_non_exhaustive()
    }
}

impl HasFunction for Pf {
    fn function(&self) -> &Function {
        &self.threaded.function
    }
}

impl Configuration for Pf {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.threaded.function.check_present()?;
        self.threaded.function.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let function = &self.threaded.function;
        function.check_present()?;
        let write = function.config_write(offset, width, value)?;
        if write.function_reset {
            self.reset_function();
            return Ok(());
        }
        function.decoded.store(function.memory_enabled(), Ordering::Release);
        if usize::from(offset) + width.bytes() > usize::from(self.sriov_capability) {
            self.settle_vfs();
        }
        if write.bus_master_on {
            self.doorbell(self.admin_queue);
            self.threaded.kick_all();
        }
        Ok(())
    }
}

impl Bars for Pf {
    fn region(&self, bar: u8) -> Option<Region> {
        layout::region(bar)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.threaded.function.region_read(bar, offset, width)
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        match self.threaded.region_write(bar, offset, width, value)? {
            BarWrite::Register => {}
            BarWrite::Doorbell(queue) => self.doorbell(queue),
            BarWrite::Beyond => {
                if let Some(vf) = owner_doorbell(offset).and_then(|index| self.vfs.get(index)) {
                    vf.kick(value as u16);
                }
            }
        }
        Ok(())
    }
    fn link_ioeventfd(&self, _bar: u8, _offset: u64, _value: u16, _event: &EventFd) -> Result<Box<dyn KickLink>> {
        Err(self.threaded.function.unsupported("an ioeventfd"))
    }
}

impl Lifetime for Pf {
    fn reset(&self) -> Result<()> {
        self.reset_function();
        Ok(())
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
