// SPDX-License-Identifier: Apache-2.0
//! A PF that is lost under its driver (hazard H27): how that is noticed, and how the PF restarts. The watchdog tells
//! those who use the VFs.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::AdminError;
use super::backoff;
use super::opcode;
use super::pf::{Negotiation, PfDriver};
use super::pf_error::{AtStep, PfCause, PfError};
use super::pf_init::PfDevice;
use crate::contract::Wait;

/// What PCI Express grants a VF between VF Enable and its first answer.
const VF_READY: Duration = Duration::from_millis(100);

const RESTARTED: &str = "the PF driver was restarted";
const VFS_GONE: &str = "the VFs were disabled behind the PF's driver";

impl PfDriver {
    /// Looks whether the PF is still what this driver started, and the VFs that it enabled still are.
    /// Two or three register reads; waits for nothing. If something is wrong, every command fails from
    /// now on, until [`Self::restart`].
    ///
    /// # Errors
    /// [`AdminError::Dead`] with what was found.
    pub fn check(&self) -> Result<(), AdminError> {
        let queue = self.channel();
        queue.check_device()?;
        let ours = self.enabled_vfs.load(Ordering::Relaxed);
        if ours != 0 && self.active_vfs().ok() != Some(ours) {
            queue.die(VFS_GONE);
        }
        queue.dead().map_or(Ok(()), |reason| Err(AdminError::Dead(reason)))
    }

    /// Starts over with a PF that was reset, or came back: resets it, brings its admin virtqueue up in
    /// fresh memory, enables the VFs again that this driver had enabled, and chooses the command list.
    /// Commands under way fail. Then commands work again, on the same driver; the VFs are as after
    /// power-on, and their notify addresses may be others.
    ///
    /// No lock is held while this waits. It can be called again after it failed.
    ///
    /// # Errors
    /// The step that failed; [`PfCause::Restarting`] if another thread is at it;
    /// [`PfCause::VfsGone`] if the VFs were the host's and are not there.
    pub fn restart(&self, wait: &Wait<'_>) -> Result<(), PfError> {
        let owned = self.own_device().take();
        let Some(mut device) = owned else { return Err(PfCause::Restarting).at(self.name(), "restarting") };
        self.channel().close(RESTARTED);
        let outcome = self.start_over(&mut device, wait);
        *self.own_device() = Some(device);
        outcome
    }

    fn own_device(&self) -> MutexGuard<'_, Option<PfDevice>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_over(&self, device: &mut PfDevice, wait: &Wait<'_>) -> Result<(), PfError> {
        let had_legacy = self.supports_legacy();
        let queue = device.restart(wait)?;
        self.bring_vfs_back(wait)?;
        let negotiated = self.negotiate_on(&queue, wait)?;
        if had_legacy && negotiated == Negotiation::Deferred {
            return Err(PfCause::VfsGone).at(self.name(), "choosing the command list");
        }
        let list = match negotiated {
            Negotiation::Using(list) | Negotiation::Kept(list) => list.word(),
            Negotiation::Deferred => opcode::MASK_LIST,
        };
        self.used.store(list, Ordering::Release);
        // Now that commands will work.
        self.queue.store(queue);
        tracing::info!(function = self.name(), "PF driver was restarted");
        Ok(())
    }

    fn bring_vfs_back(&self, wait: &Wait<'_>) -> Result<(), PfError> {
        let count = self.enabled_vfs.load(Ordering::Relaxed);
        if count == 0 || self.active_vfs()? == count {
            return Ok(());
        }
        self.enable_vfs(count)?;
        backoff::sleep(VF_READY, wait)
            .map_or(Ok(()), |over| Err(AdminError::from(over)))
            .at(self.name(), "waiting for the VFs")
    }
}

#[cfg(test)]
#[path = "pf_restart_tests.rs"]
mod tests;
