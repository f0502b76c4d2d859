// SPDX-License-Identifier: Apache-2.0
//! The guest's accesses to BAR0: who answers, with or without the function's lock. What a register then does is
//! the [registers'](crate::transitional::registers::Registers) business.

use super::TransitionalDevice;
use super::consequences::Others;
use crate::bus::Width;
use crate::transitional::kicks::Kick;
use crate::transitional::layout::decode::{CONFIG_START, Direction, Target};
use crate::transitional::registers::{ResetDidNotHold, Wrote};
use crate::transitional::telemetry::stats::DeviceCounter;

impl TransitionalDevice {
    /// A guest's read. All ones where there is no answer. `seen` gets to know which register it is for.
    #[inline]
    pub(super) fn bar0_read(&self, offset: u64, width: Width, seen: impl FnOnce(&Target)) -> u64 {
        let stats = self.back_end.stats();
        stats.add(DeviceCounter::Reads);
        // What needs no register access is answered without the lock.
        let decoded = self.decoded_without_lock(offset, width, Direction::Read);
        if let Some(target) = decoded {
            let answer = match target {
                Target::Isr => Some(self.interrupts.take_isr().into()),
                Target::Notify | Target::Nothing => Some(width.all_ones()),
                Target::Common { .. } | Target::Device(_) => None,
            };
            if let Some(answer) = answer {
                stats.by_register().count(&target, Direction::Read);
                seen(&target);
                return answer;
            }
        }
        let mut core = self.lock_for_access();
        let decode = || self.registers.decode(offset, width, Direction::Read, core.interrupts.guest_msix());
        let target = decoded.unwrap_or_else(decode);
        stats.by_register().count(&target, Direction::Read);
        seen(&target);
        match self.registers.read(&mut core.registers, &target, width) {
            Ok(value) => value,
            // The guest gets to see 0, which is what it waits for.
            Err(ResetDidNotHold(status)) => {
                self.reset_did_not_hold(&mut core, status);
                0
            }
        }
    }

    /// A guest's write. It is complete when this returns: port writes are not posted. `seen` gets to know which
    /// register it is for.
    #[inline]
    pub(super) fn bar0_write(&self, offset: u64, width: Width, value: u64, seen: impl FnOnce(&Target)) {
        let stats = self.back_end.stats();
        stats.add(DeviceCounter::Writes);
        let decoded = self.decoded_without_lock(offset, width, Direction::Write);
        if let Some(target) = decoded
            && matches!(target, Target::Notify | Target::Isr | Target::Nothing)
        {
            stats.by_register().count(&target, Direction::Write);
            seen(&target);
            if target == Target::Notify {
                self.kick(value as u16);
            }
            return;
        }
        let mut core = self.lock_for_access();
        let decode = || self.registers.decode(offset, width, Direction::Write, core.interrupts.guest_msix());
        let target = decoded.unwrap_or_else(decode);
        stats.by_register().count(&target, Direction::Write);
        seen(&target);
        let (cache, mut others) = Others::of(self, &mut core);
        match self.registers.write(cache, &target, width, value as u32, &mut others) {
            Wrote::All => {}
            Wrote::Reset => self.reset_device(&mut core),
        }
        self.publish(&core);
    }

    /// Below the device configuration MSI-X decides nothing.
    #[inline]
    fn decoded_without_lock(&self, offset: u64, width: Width, direction: Direction) -> Option<Target> {
        (offset < CONFIG_START).then(|| self.registers.decode(offset, width, direction, false))
    }

    fn kick(&self, queue: u16) {
        match self.kicks.kick(queue) {
            Kick::Done => {}
            Kick::Command => {
                let _core = self.lock();
                self.registers.kick(queue);
            }
            Kick::Start => self.start_and_ring(queue),
        }
    }

    /// A kick for `queue` that the device has to be started for. Another vCPU may have done so, or have reset the
    /// device, since that was found.
    fn start_and_ring(&self, queue: u16) {
        let mut core = self.lock_for_access();
        if !self.kicks.is_configured(queue) {
            return;
        }
        if !self.kicks.is_started() {
            self.interrupts.arm_config(&mut core.interrupts);
            match self.registers.start_early(&mut core.registers) {
                Some(status) => {
                    self.back_end.stats().add(DeviceCounter::EarlyStarts);
                    self.status_reached_device(status);
                }
                // The guest's own DRIVER_OK may do better.
                None => self.kicks.remember(queue),
            }
        }
        self.ring(queue);
    }

    /// The caller holds the function's lock.
    pub(super) fn ring(&self, queue: u16) {
        if self.kicks.ring(queue) == Kick::Command {
            self.registers.kick(queue);
        }
    }
}

#[cfg(test)]
#[path = "bar0_tests.rs"]
mod tests;
