// SPDX-License-Identifier: Apache-2.0
//! A virtual function. Its modern interface is in its BAR, its legacy interface is what the PF's
//! administration commands do to it. Queues are processed by its own thread.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use super::device::VirtioDevice;
use super::function::{Function, HasFunction};
use super::layout::{self, REGISTER_BAR, is_doorbell};
use super::legacy::NoSuchField;
use super::threaded::{BarWrite, Threaded};
use super::worker;
use crate::bus::Width;
use crate::function::{Bars, Configuration, FunctionError, KickLink, Lifetime, Region, Result};

/// Why a command for a VF is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberError {
    /// The access does not lie inside one field.
    NoSuchField,
    /// The VF is not free, or a reset of it has not ended.
    Busy,
}

impl From<NoSuchField> for MemberError {
    fn from(_: NoSuchField) -> Self {
        Self::NoSuchField
    }
}

/// Result of a legacy access, within the patience that the caller has.
pub(super) type Legacy = std::result::Result<(), MemberError>;

/// A virtual function.
pub(super) struct Vf {
    pub threaded: Arc<Threaded>,
}

impl Vf {
    /// Makes the VF appear or disappear; either way it is as after power-on.
    /// When it disappears, what it has under way is still to be waited for.
    pub(super) fn set_present(&self, present: bool) {
        if present {
            self.threaded.begin_reset();
        }
        self.threaded.function.present.store(present, Ordering::Release);
        if !present {
            self.threaded.begin_reset();
        }
    }

    /// Waits for what it has under way, since it disappeared.
    pub(super) fn await_reset(&self, deadline: Instant) {
        let function = &self.threaded.function;
        if function.in_flight.wait(deadline) {
            return;
        }
        function.in_flight.give_up();
        tracing::warn!(
            function = function.name(),
            "the host's storage does not answer: the VF is gone, its pending requests keep their memory"
        );
    }

    /// VF Memory Space Enable.
    pub(super) fn set_decoded(&self, decoded: bool) {
        self.threaded.function.decoded.store(decoded, Ordering::Release);
    }

    /// The driver kicked a queue: cheap, and safe on any thread.
    pub(super) fn kick(&self, queue: u16) {
        self.threaded.kick(queue);
    }

    /// Reads configuration space, present or not.
    pub(super) fn read_config(&self, offset: u16, width: Width) -> Result<u32> {
        self.threaded.function.config_read(offset, width)
    }

    /// Writes configuration space, present or not.
    pub(super) fn write_config(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let write = self.threaded.function.config_write(offset, width, value)?;
        if write.function_reset {
            self.threaded.reset_function();
        } else if write.bus_master_on {
            self.threaded.kick_all();
        }
        Ok(())
    }

    /// LEGACY_COMMON_CFG_READ.
    pub(super) fn legacy_read(&self, offset: u8, out: &mut [u8], patience: Duration) -> Legacy {
        Ok(self.device(patience)?.legacy_read(offset, out)?)
    }

    /// LEGACY_COMMON_CFG_WRITE. A reset is complete, and no DMA is made any more, when it returns; while the host still
    /// works on something it is [`MemberError::Busy`], and the same write asks again.
    pub(super) fn legacy_write(&self, offset: u8, bytes: &[u8], patience: Duration) -> Legacy {
        let quirks = self.threaded.quirks.load();
        let (write, settling) = {
            let mut device = self.device(patience)?;
            let write = device.legacy_write(offset, bytes, &quirks)?;
            self.threaded.set_live(device.is_live());
            (write, device.is_settling())
        };
        if settling {
            if !self.threaded.function.in_flight.wait(Instant::now() + patience) {
                return Err(MemberError::Busy);
            }
            self.threaded.settle();
        }
        write.kick.into_iter().for_each(|queue| self.kick(queue));
        Ok(())
    }

    /// LEGACY_DEV_CFG_READ.
    pub(super) fn legacy_config_read(&self, offset: u8, out: &mut [u8], patience: Duration) -> Legacy {
        Ok(self.device(patience)?.legacy_config_read(offset, out)?)
    }

    /// LEGACY_DEV_CFG_WRITE.
    pub(super) fn legacy_config_write(&self, offset: u8, bytes: &[u8], patience: Duration) -> Legacy {
        Ok(self.device(patience)?.legacy_config_write(offset, bytes)?)
    }

    fn device(&self, patience: Duration) -> std::result::Result<MutexGuard<'_, VirtioDevice>, MemberError> {
        self.threaded.function.device_within(patience).ok_or(MemberError::Busy)
    }
}

impl fmt::Debug for Vf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vf").field("name", &self.threaded.function.name()).finish_non_exhaustive()
    }
}

impl HasFunction for Vf {
    fn function(&self) -> &Function {
        &self.threaded.function
    }
}

impl Configuration for Vf {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        self.threaded.function.check_present()?;
        self.read_config(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        self.threaded.function.check_present()?;
        self.write_config(offset, width, value)
    }
}

impl Bars for Vf {
    fn region(&self, bar: u8) -> Option<Region> {
        layout::region(bar)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.threaded.function.region_read(bar, offset, width)
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if let BarWrite::Doorbell(queue) = self.threaded.region_write(bar, offset, width, value)? {
            self.kick(queue);
        }
        Ok(())
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        self.threaded.function.check_present()?;
        if bar != REGISTER_BAR || !is_doorbell(offset) {
            return Err(self.threaded.function.unsupported("an ioeventfd at an address that is not a doorbell"));
        }
        worker::link(&self.threaded, value, event)
    }
}

impl Lifetime for Vf {
    fn reset(&self) -> Result<()> {
        self.threaded.function.check_present()?;
        if self.threaded.reset_function() {
            return Ok(());
        }
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "the host's storage does not answer");
        Err(FunctionError::Io { name: self.threaded.function.name().to_owned(), what: "end a reset", source })
    }
}
