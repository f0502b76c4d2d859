// SPDX-License-Identifier: Apache-2.0
//! The guest's accesses to BAR0, register by register. Decides nothing about where an access goes:
//! [`Layout::decode`](crate::transitional::layout::decode::Layout::decode) did.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use crate::bus::Width;
use crate::contract::{Area, QUEUE_NOTIFY};
use crate::transitional::below::back_end::Denied;
use crate::transitional::device::{Core, TransitionalDevice};
use crate::transitional::kicks::notifier::Kick;
use crate::transitional::layout::decode::{CONFIG_START, Direction, Register, Target};
use crate::transitional::layout::fields::{Piece, Split};
use crate::transitional::registers::cache::{STATUS_DRIVER, STATUS_DRIVER_OK, STATUS_MODERN};
use crate::transitional::registers::events::Event;

impl TransitionalDevice {
    /// A guest's read. All ones where there is no answer. `seen` gets to know which register it is for.
    #[inline]
    pub(in crate::transitional) fn bar0_read(&self, offset: u64, width: Width, seen: impl FnOnce(&Target)) -> u64 {
        self.stats.reads.add();
        // Below the device configuration MSI-X decides nothing, so what needs no register access
        // gets by without the lock.
        if offset < CONFIG_START {
            let target = self.layout.decode(offset, width, Direction::Read, false);
            let answer = match target {
                Target::Isr => Some(self.read_isr()),
                Target::Notify | Target::Nothing => Some(width.all_ones()),
                Target::Common { .. } | Target::Device(_) => None,
            };
            if let Some(answer) = answer {
                self.stats.by_register.count(&target, Direction::Read);
                seen(&target);
                return answer;
            }
        }
        let mut core = self.lock_for_access();
        let target = self.layout.decode(offset, width, Direction::Read, core.guest_msix);
        self.stats.by_register.count(&target, Direction::Read);
        seen(&target);
        match target {
            Target::Common { register, skip } => match self.answer_register(&mut core, register) {
                Some(value) => width.truncate(u64::from(value) >> (8 * skip)),
                None => width.all_ones(),
            },
            Target::Device(split) => self.read_device(&mut core, &split, width),
            Target::Isr => self.read_isr(),
            Target::Notify | Target::Nothing => width.all_ones(),
        }
    }

    /// A guest's write. It is complete when this returns: port writes are not posted. `seen` gets to know which
    /// register it is for.
    #[inline]
    pub(in crate::transitional) fn bar0_write(
        &self,
        offset: u64,
        width: Width,
        value: u64,
        seen: impl FnOnce(&Target),
    ) {
        self.stats.writes.add();
        if offset < CONFIG_START {
            let target = self.layout.decode(offset, width, Direction::Write, false);
            if matches!(target, Target::Notify | Target::Isr | Target::Nothing) {
                self.stats.by_register.count(&target, Direction::Write);
                seen(&target);
                if target == Target::Notify {
                    self.kick(value as u16);
                }
                return;
            }
        }
        let mut core = self.lock_for_access();
        let target = self.layout.decode(offset, width, Direction::Write, core.guest_msix);
        self.stats.by_register.count(&target, Direction::Write);
        seen(&target);
        match target {
            Target::Common { register, skip } => {
                core.cache.config.end_run();
                self.write_register(&mut core, register, Written { skip, width, value: value as u32 });
            }
            Target::Device(split) => {
                core.cache.apply(Event::ConfigWritten);
                self.write_device(&split, value as u32);
            }
            Target::Isr | Target::Notify | Target::Nothing => {}
        }
        self.publish(&core);
    }

    /// The lock, with nothing in the cache that may have become wrong since it was held last.
    pub(in crate::transitional) fn lock_for_access(&self) -> MutexGuard<'_, Core> {
        let mut core = self.lock();
        // A mapped BAR is used without our seeing it, so each access may come after such a use.
        let modern_uses = match self.direct.load(Ordering::Acquire) {
            true => self.modern_uses.fetch_add(1, Ordering::AcqRel).wrapping_add(1),
            false => self.modern_uses.load(Ordering::Acquire),
        };
        core.cache.begin_access(self.faults.is_faulted(), modern_uses);
        core
    }

    fn read_isr(&self) -> u64 {
        self.stats.isr_reads.add();
        self.front.take_isr().into()
    }

    fn kick(&self, queue: u16) {
        match self.notifier.kick(queue) {
            Kick::Done => {}
            Kick::Command => {
                let _core = self.lock();
                self.kick_by_command(queue);
            }
            Kick::Start => self.start_and_ring(queue),
        }
    }

    /// The caller holds the function's lock.
    pub(in crate::transitional) fn kick_by_command(&self, queue: u16) {
        self.stats.kicks_commanded.add();
        let _ = self.back_end.write_area(Area::Common, QUEUE_NOTIFY, Width::B2, queue.into());
    }

    /// From the cache if it knows the register, else from the device.
    fn answer_register(&self, core: &mut Core, register: Register) -> Option<u32> {
        if let Some(value) = core.cache.answer(register) {
            self.stats.shadow_reads.add();
            return Some(value);
        }
        match self.read_register(core, register) {
            // A dead device must not read as 0xff: Linux 3.4 stops the whole guest if the status is
            // not 0 after a driver reset it and left (conformance item F25).
            None if register == Register::Status => Some(core.cache.status().into()),
            Some(status) if register == Register::Status && status & 0xff != 0 && core.cache.status_must_be_zero() => {
                self.reset_did_not_hold(core, status);
                Some(0)
            }
            answer => answer,
        }
    }

    /// Reads a whole register of the device; features without those that the guest may not see.
    fn read_register(&self, core: &mut Core, register: Register) -> Option<u32> {
        let Some(value) = self.back_end.read(register) else {
            core.cache.apply(Event::AccessFailed);
            return None;
        };
        let value = match register {
            Register::DeviceFeatures => value & !self.hidden_features,
            Register::Status => core.status_for_guest(value as u8).into(),
            _ => register.width().truncate(value.into()) as u32,
        };
        core.cache.read(register, value);
        Some(value)
    }

    /// Writes a whole register of the device. What a failed write did is not known.
    fn write_whole(&self, core: &mut Core, register: Register, value: u32) -> bool {
        let done = self.back_end.write(register, value);
        if done {
            core.cache.device_took(register, value);
        } else {
            core.cache.apply(Event::AccessFailed);
        }
        done
    }

    fn write_register(&self, core: &mut Core, register: Register, written: Written) {
        match register {
            Register::DeviceFeatures | Register::QueueSize => {}
            Register::DriverFeatures => self.write_features(core, written),
            Register::QueueAddress => {
                let whole = match written.width {
                    Width::B2 => core.cache.merge_address_half(usize::from(written.skip / 2), written.value as u16),
                    _ => Some(written.value),
                };
                if let Some(pfn) = whole {
                    self.write_queue_address(core, pfn);
                }
            }
            Register::QueueSelect => {
                let queue = u32::from(written.value as u16);
                core.cache.guest_wrote(register, queue);
                self.write_whole(core, register, queue);
            }
            Register::Status => self.write_status(core, written.value as u8),
            Register::ConfigVector | Register::QueueVector => {
                let vector = u32::from(written.value as u16);
                core.cache.guest_wrote(register, vector);
                self.write_whole(core, register, vector);
            }
        }
    }

    /// Never forwards a feature that the guest was not offered (hazard H32).
    fn write_features(&self, core: &mut Core, written: Written) {
        let features = core.cache.merge_driver_features(written.skip, written.width.bytes(), written.value);
        let offered = core.cache.written(Register::DeviceFeatures);
        let offered = offered.or_else(|| self.read_register(core, Register::DeviceFeatures));
        if self.write_whole(core, Register::DriverFeatures, features & offered.unwrap_or(!self.hidden_features)) {
            self.notifier.features_written();
        }
    }

    /// A non-zero address sets the selected queue up, 0 takes it down.
    fn write_queue_address(&self, core: &mut Core, pfn: u32) {
        let queue = core.cache.queue_select();
        if pfn == 0 {
            self.notifier.queue_gone(queue);
            core.cache.guest_wrote(Register::QueueAddress, 0);
            // Some devices take this for a reset of all of the device.
            core.config_armed = false;
            self.early_start_may_be_lost(core);
            self.write_whole(core, Register::QueueAddress, 0);
            return;
        }
        if !self.selected_queue_exists(core) {
            return;
        }
        core.bus_master.expect_dma();
        self.apply_bus_master(core);
        self.arm_queue(core, queue);
        if self.write_whole(core, Register::QueueAddress, pfn) {
            core.cache.guest_wrote(Register::QueueAddress, pfn);
            self.notifier.queue_ready(queue);
        }
    }

    /// Whether the device has the selected queue; asks it if the guest did not.
    fn selected_queue_exists(&self, core: &mut Core) -> bool {
        if !core.cache.selects_a_queue() {
            return false;
        }
        let size = core.cache.written(Register::QueueSize);
        size.or_else(|| self.read_register(core, Register::QueueSize)).is_some_and(|size| size != 0)
    }

    fn write_status(&self, core: &mut Core, value: u8) {
        if value == 0 {
            return self.reset_device(core);
        }
        let status = value & !STATUS_MODERN;
        if status == 0 {
            // Only bits that legacy does not have. Forwarding what is left would be a reset.
            return;
        }
        if status & STATUS_DRIVER != 0 {
            core.bus_master.expect_dma();
            self.apply_bus_master(core);
        }
        if status & STATUS_DRIVER_OK != 0 {
            self.arm_config(core);
        }
        core.cache.guest_wrote(Register::Status, status.into());
        core.started_early &= status & STATUS_DRIVER_OK == 0;
        let below = if self.keeps_early_start(core) { status | STATUS_DRIVER_OK } else { status };
        if self.back_end.write(Register::Status, below.into()) {
            core.cache.device_took(Register::Status, status.into());
            self.status_reached_device(below);
        } else {
            core.cache.apply(Event::AccessFailed);
        }
    }

    /// Bytes in no piece, or in one that failed, read as ones.
    fn read_device(&self, core: &mut Core, split: &Split, width: Width) -> u64 {
        let mut value = width.all_ones();
        let mut asked = false;
        for piece in split.pieces() {
            let known = core.cache.config.get(piece);
            asked |= known.is_none();
            if let Some(part) = known.or_else(|| self.read_field(core, piece)) {
                let shift = 8 * u32::from(piece.position);
                value = value & !(piece.width.all_ones() << shift) | piece.width.truncate(part.into()) << shift;
            }
        }
        if !asked {
            self.stats.shadow_reads.add();
        }
        value
    }

    /// Reads a piece of a field from the device, and what the guest will ask for next along with it.
    fn read_field(&self, core: &mut Core, piece: &Piece) -> Option<u32> {
        let room = self.layout.device.rest_of_field(piece.offset);
        let room = room.min(self.layout.config_len.saturating_sub(piece.offset));
        let config = &mut core.cache.config;
        let width = config.width_to_read(piece, room);
        if width != piece.width {
            match self.back_end.read_area(Area::Device, piece.offset, width) {
                Ok(value) => {
                    config.read(piece, width, value);
                    return Some(value);
                }
                Err(Denied::Refused) => config.refused_run(),
                Err(_) => return None,
            }
        }
        let value = self.read_piece(piece)?;
        config.read(piece, piece.width, value);
        Some(value)
    }

    /// A device may be stricter about arrays than the standard and refuse several bytes at once; then
    /// they are read one by one.
    fn read_piece(&self, piece: &Piece) -> Option<u32> {
        match self.back_end.read_area(Area::Device, piece.offset, piece.width) {
            Ok(value) => Some(value),
            Err(Denied::Refused) if piece.width != Width::B1 => {
                let mut value = 0;
                for byte in 0..piece.width.bytes() as u8 {
                    let offset = piece.offset.checked_add(byte)?;
                    let part = self.back_end.read_area(Area::Device, offset, Width::B1).ok()?;
                    value |= (part & 0xff) << (8 * byte);
                }
                Some(value)
            }
            Err(_) => None,
        }
    }

    fn write_device(&self, split: &Split, value: u32) {
        for piece in split.pieces() {
            let part = piece.width.truncate(u64::from(value) >> (8 * piece.position)) as u32;
            let result = self.back_end.write_area(Area::Device, piece.offset, piece.width, part);
            if result == Err(Denied::Refused) && piece.width != Width::B1 {
                self.write_bytes(piece, part);
            }
        }
    }

    fn write_bytes(&self, piece: &Piece, value: u32) {
        for byte in 0..piece.width.bytes() as u8 {
            let part = value >> (8 * byte) & 0xff;
            let Some(offset) = piece.offset.checked_add(byte) else { return };
            if self.back_end.write_area(Area::Device, offset, Width::B1, part).is_err() {
                return;
            }
        }
    }
}

/// A write to a header register: how much of it, and from which byte on.
#[derive(Clone, Copy)]
struct Written {
    skip: u8,
    width: Width,
    value: u32,
}

#[cfg(test)]
#[path = "bar0_tests.rs"]
mod tests;
