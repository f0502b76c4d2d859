// SPDX-License-Identifier: Apache-2.0
//! The driver of a PF that owns a group of VFs: which commands are in use, enabling VFs, and what is
//! asked once for each VF. Bring-up is in `pf_init`, running commands in `queue`.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::backoff::Backoff;
use super::notify::usable_addresses;
use super::notify_bars::NotifyBars;
use super::opcode::{self, qualifier, status};
use super::pf_error::{AtStep, PfCause, PfError};
use super::pf_init::{self, PfDevice};
use super::queue::{PfQueue, QueueRegisters};
use super::sriov::SrIov;
use super::wire::{CommandList, NOTIFY_INFO_LEN, NotifyInfo};
use super::{AdminChannel, AdminError, Command};
use crate::contract::{NotifyAddress, Wait};
use crate::function::{FunctionError, PciFunction};

/// Commands that this driver puts to use if the device has them. The list commands stay in, so that
/// the list can be chosen again without a reset.
const WANTED: u64 = opcode::MASK_LIST | opcode::MASK_LEGACY_ACCESS | opcode::MASK_NOTIFY_INFO;

/// Least time between two negotiations that a refused command causes. LIST_USE stops the commands of
/// all VFs for a moment; no guest may make that happen at will.
const RENEGOTIATION_INTERVAL: Duration = Duration::from_secs(1);

/// What choosing the command list led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiation {
    /// This list is in use.
    Using(CommandList),
    /// The device does not let the list change until its next reset; the earlier list stays in use.
    Kept(CommandList),
    /// No VF is enabled, and without VFs the device has no such group. Negotiate again afterwards.
    Deferred,
}

/// A running PF. Dropping it stops the device, and then disables the VFs that it enabled itself.
#[derive(Debug)]
pub struct PfDriver {
    function: Arc<dyn PciFunction>,
    /// `None` while a thread restarts the device: it is owned then, and no lock is held meanwhile.
    pub(super) device: Mutex<Option<PfDevice>>,
    /// The queue of the latest start.
    pub(super) queue: ArcSwap<PfQueue>,
    /// Opcodes 0 to 63 that were agreed on for the SR-IOV group.
    pub(super) used: AtomicU64,
    /// Opcodes that are put to use where the device has them.
    pub(super) wanted: AtomicU64,
    /// Counts negotiations, so that of several threads that miss an opcode one negotiates.
    generation: AtomicU64,
    /// Held while the list is chosen; when a refused command last caused that.
    negotiating: Mutex<Option<Instant>>,
    /// VFs that this driver enabled; 0 if they are the host's matter.
    pub(super) enabled_vfs: AtomicU16,
}

impl PfDriver {
    /// Brings a PF up, until `deadline` at the latest. It is reset by this, and again on failure.
    pub fn start(function: Arc<dyn PciFunction>, deadline: Instant) -> Result<Self, PfError> {
        let (device, queue) = pf_init::start(Arc::clone(&function), deadline)?;
        Ok(Self {
            function,
            device: Mutex::new(Some(device)),
            queue: ArcSwap::new(queue),
            used: AtomicU64::new(opcode::MASK_LIST),
            wanted: AtomicU64::new(WANTED),
            generation: AtomicU64::new(0),
            negotiating: Mutex::new(None),
            enabled_vfs: AtomicU16::new(0),
        })
    }

    /// The PF.
    pub fn function(&self) -> &Arc<dyn PciFunction> {
        &self.function
    }

    /// The bare admin virtqueue of the latest start; dead for good once the driver restarts. The
    /// driver itself is a channel, too, one that outlives restarts, and negotiates the command list
    /// again when the device has lost it.
    pub fn channel(&self) -> Arc<PfQueue> {
        self.queue.load_full()
    }

    pub(super) fn name(&self) -> &str {
        self.function.name()
    }

    /// VFs that are enabled; their member ids are 1 to this number.
    pub fn active_vfs(&self) -> Result<u16, PfError> {
        SrIov::find(&*self.function).and_then(|sriov| sriov.active()).at(self.name(), "counting VFs")
    }

    /// Enables `count` VFs through the SR-IOV capability, where the function lets its driver do that.
    /// Where it does not, the error names the way: the host's `sriov_numvfs`. SR_IOV was negotiated
    /// before, as the standard demands. VFs may take 100 ms until they answer.
    pub fn enable_vfs(&self, count: u16) -> Result<(), PfError> {
        let enabled = SrIov::find(&*self.function).and_then(|sriov| sriov.enable(count));
        if enabled.at(self.name(), "enabling VFs")? {
            self.enabled_vfs.store(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Opcodes 0 to 63 that this driver uses.
    pub(super) fn in_use(&self) -> u64 {
        self.used.load(Ordering::Acquire) & self.wanted.load(Ordering::Acquire)
    }

    /// Whether `opcode` is in the list in use.
    pub fn supports(&self, opcode: u16) -> bool {
        CommandList::from_word(self.in_use()).contains(opcode)
    }

    /// Whether all four legacy access commands are in use.
    pub fn supports_legacy(&self) -> bool {
        self.in_use() & opcode::MASK_LEGACY_ACCESS == opcode::MASK_LEGACY_ACCESS
    }

    /// Chooses the command list of the SR-IOV group: LIST_QUERY, then LIST_USE with what both sides
    /// know. Run it after start and again once VFs are enabled.
    pub fn negotiate_commands(&self, wait: &Wait<'_>) -> Result<Negotiation, PfError> {
        self.negotiate_on(&self.channel(), wait)
    }

    /// As [`Self::negotiate_commands`], on a queue that may not be in use yet.
    pub(super) fn negotiate_on(&self, queue: &PfQueue, wait: &Wait<'_>) -> Result<Negotiation, PfError> {
        let _one = self.begin_negotiation(wait).at(self.name(), "waiting for another negotiation")?;
        self.negotiate(queue, wait)
    }

    fn begin_negotiation(&self, wait: &Wait<'_>) -> Result<MutexGuard<'_, Option<Instant>>, AdminError> {
        let mut backoff = Backoff::default();
        loop {
            match self.negotiating.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(PoisonError::into_inner(poisoned)),
                Err(TryLockError::WouldBlock) => {}
            }
            if let Some(reason) = wait.over() {
                return Err(reason.into());
            }
            backoff.pause();
        }
    }

    fn negotiate(&self, queue: &PfQueue, wait: &Wait<'_>) -> Result<Negotiation, PfError> {
        let mut bytes = [0; 8];
        match queue.execute(&list_command(opcode::LIST_QUERY, &[]), &mut bytes, wait) {
            // Words that did not come are zero.
            Ok(()) | Err(AdminError::Short { got: 8.., .. }) => {}
            Err(error) => return self.list_refused(error, "LIST_QUERY"),
        }
        let list = CommandList::from_word(choose(u64::from_le_bytes(bytes) & self.wanted.load(Ordering::Acquire)));
        let data = list.encode();
        let data = data.get(..list.encoded_len()).unwrap_or_default();
        if let Err(error) = queue.execute(&list_command(opcode::LIST_USE, data), &mut [], wait) {
            return self.list_refused(error, "LIST_USE");
        }
        self.used.store(list.word(), Ordering::Release);
        self.generation.fetch_add(1, Ordering::Release);
        tracing::debug!(function = self.name(), list = list.word(), "admin commands in use");
        Ok(Negotiation::Using(list))
    }

    /// A refusal that is not a failure: the group does not exist yet, or the list is locked.
    fn list_refused(&self, error: AdminError, step: &'static str) -> Result<Negotiation, PfError> {
        let AdminError::Refused { qualifier, .. } = error else { return Err(error).at(self.name(), step) };
        let no_vfs = || matches!(self.active_vfs(), Ok(0));
        if qualifier == qualifier::INVALID_GROUP || no_vfs() {
            tracing::debug!(function = self.name(), step, %error, "command list is put off until VFs are enabled");
            Ok(Negotiation::Deferred)
        } else if qualifier == qualifier::INVALID_OPCODE {
            tracing::debug!(function = self.name(), step, %error, "command list is locked");
            Ok(Negotiation::Kept(CommandList::from_word(self.used.load(Ordering::Acquire))))
        } else {
            Err(error).at(self.name(), step)
        }
    }

    /// Chooses the list again because `opcode` was `refused`, unless another thread has done so since
    /// `generation` or it has been done too recently.
    fn recover_list(
        &self,
        opcode: u16,
        generation: u64,
        refused: AdminError,
        wait: &Wait<'_>,
    ) -> Result<(), AdminError> {
        let mut last = self.begin_negotiation(wait)?;
        if self.generation.load(Ordering::Acquire) != generation {
            return Ok(());
        }
        if last.is_some_and(|last| last.elapsed() < RENEGOTIATION_INTERVAL) {
            return Err(refused);
        }
        *last = Some(Instant::now());
        match self.negotiate(&self.channel(), wait) {
            Ok(Negotiation::Using(list)) if list.contains(opcode) => Ok(()),
            Err(PfError { cause: PfCause::Admin(error), .. }) => Err(error),
            _ => Err(refused),
        }
    }

    /// Where queue notifications of VF `member` can be stored, best address at the front. Empty
    /// without LEGACY_NOTIFY_INFO: then Common offset 16 takes them. `vf` is that VF, and no address is on a structure
    /// of the VF or of the PF.
    pub fn notify_info(
        &self,
        member: NonZeroU16,
        vf: &dyn PciFunction,
        wait: &Wait<'_>,
    ) -> Result<Vec<NotifyAddress>, PfError> {
        if !self.supports(opcode::LEGACY_NOTIFY_INFO) {
            return Ok(Vec::new());
        }
        let command = Command {
            opcode: opcode::LEGACY_NOTIFY_INFO,
            group_type: opcode::GROUP_SRIOV,
            member_id: u64::from(member.get()),
            data: &[],
        };
        let mut result = [0; NOTIFY_INFO_LEN];
        match self.execute(&command, &mut result, wait) {
            // Entries that did not come count as the end of the list.
            Ok(()) | Err(AdminError::Short { got: 8.., .. }) => {}
            Err(error @ AdminError::Refused { qualifier: qualifier::INVALID_OPCODE, .. }) => {
                tracing::debug!(function = self.name(), member, %error, "no notify addresses");
                return Ok(Vec::new());
            }
            Err(error) => return Err(error).at(self.name(), "LEGACY_NOTIFY_INFO"),
        }
        let bars = |function| NotifyBars::of(function).at(self.name(), "LEGACY_NOTIFY_INFO: looking at BARs");
        let (mut owner, member) = (bars(&*self.function)?, bars(vf)?);
        let QueueRegisters { doorbell_bar, doorbell_offset, .. } = self.channel().registers;
        owner.take(doorbell_bar, doorbell_offset, 2, "the doorbell of the admin virtqueue");
        Ok(usable_addresses(&NotifyInfo::parse(&result), &owner, &member))
    }

    /// Stops the device now and says whether it did. Commands under way end with an error. If the
    /// device does not reset, its DMA memory is never freed.
    pub fn stop(mut self) -> Result<(), PfError> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), PfError> {
        self.queue.load().close("the PF driver was stopped");
        let device = self.device.get_mut().unwrap_or_else(PoisonError::into_inner);
        let stopped = device.as_mut().map_or(Ok(()), PfDevice::stop).at(self.function.name(), "stopping the device");
        // After the reset: VF Enable may not change while a command of the group is outstanding.
        if self.enabled_vfs.swap(0, Ordering::Relaxed) != 0 {
            let disabled = SrIov::find(&*self.function).and_then(|sriov| sriov.disable());
            return stopped.and(disabled.at(self.name(), "disabling VFs"));
        }
        stopped
    }
}

impl Drop for PfDriver {
    fn drop(&mut self) {
        match self.shut_down() {
            // A PF that is gone does nothing any more, as wanted. The end of a failed set-up comes here.
            Ok(()) | Err(PfError { cause: PfCause::Function(FunctionError::Gone { .. }), .. }) => {}
            Err(error) => tracing::warn!(%error, "PF driver did not stop cleanly"),
        }
    }
}

/// A command about the list of commands, which is about the group as a whole.
const fn list_command(opcode: u16, data: &[u8]) -> Command<'_> {
    Command { opcode, group_type: opcode::GROUP_SRIOV, member_id: 0, data }
}

/// What to use of what the device supports and the driver wants. Legacy commands come all four or not at all, and the
/// notify addresses are of no use without them.
pub(super) fn choose(supported: u64) -> u64 {
    let chosen = supported & WANTED;
    if chosen & opcode::MASK_LEGACY_ACCESS == opcode::MASK_LEGACY_ACCESS { chosen } else { chosen & opcode::MASK_LIST }
}

impl AdminChannel for PfDriver {
    /// As [`PfQueue::execute`], but an INVALID_OPCODE to a command in use makes it choose the command
    /// list again and send the command once more.
    fn execute(&self, command: &Command<'_>, result: &mut [u8], wait: &Wait<'_>) -> Result<(), AdminError> {
        let generation = self.generation.load(Ordering::Acquire);
        let refused = match self.queue.load().execute(command, result, wait) {
            Err(error @ AdminError::Refused { status: status::EINVAL, qualifier: qualifier::INVALID_OPCODE }) => error,
            other => return other,
        };
        let lost = command.group_type == opcode::GROUP_SRIOV && self.supports(command.opcode);
        if !lost || command.opcode <= opcode::LIST_USE {
            return Err(refused);
        }
        self.recover_list(command.opcode, generation, refused, wait)?;
        self.channel().execute(command, result, wait)
    }
}

#[cfg(test)]
#[path = "pf_tests.rs"]
mod tests;
