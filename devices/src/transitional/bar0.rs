// SPDX-License-Identifier: Apache-2.0
//! The guest's accesses to BAR0, register by register. Decides nothing about where an access goes:
//! [`Layout::decode`](super::decode::Layout::decode) did.

use super::back_end::Denied;
use super::decode::{CONFIG_START, Direction, Register, Target};
use super::device::{Core, TransitionalDevice};
use super::fields::{Piece, Split};
use super::notify::Kick;
use super::registers::Area;
use super::shadow::{STATUS_DRIVER, STATUS_DRIVER_OK, STATUS_MODERN};
use crate::bus::Width;

/// Offset of queue notify in [`Area::Common`].
const NOTIFY: u8 = 16;

impl TransitionalDevice {
    /// A guest's read. All ones where there is no answer.
    pub(super) fn bar0_read(&self, offset: u64, width: Width) -> u64 {
        self.stats.reads.add();
        // Below the device configuration MSI-X decides nothing, so what needs no register access
        // gets by without the lock.
        if offset < CONFIG_START {
            match self.layout.decode(offset, width, Direction::Read, false) {
                Target::Isr => return self.read_isr(),
                Target::Notify | Target::Nothing => return width.all_ones(),
                Target::Common { .. } | Target::Device(_) => {}
            }
        }
        let mut core = self.lock();
        match self.layout.decode(offset, width, Direction::Read, core.guest_msix) {
            Target::Common { register, skip } => match self.read_register(&mut core, register) {
                Some(value) => width.truncate(u64::from(value) >> (8 * skip)),
                None => width.all_ones(),
            },
            Target::Device(split) => self.read_device(&split, width),
            Target::Isr => self.read_isr(),
            Target::Notify | Target::Nothing => width.all_ones(),
        }
    }

    /// A guest's write. It is complete when this returns: port writes are not posted.
    pub(super) fn bar0_write(&self, offset: u64, width: Width, value: u64) {
        self.stats.writes.add();
        if offset < CONFIG_START {
            match self.layout.decode(offset, width, Direction::Write, false) {
                Target::Notify => return self.kick(value as u16),
                Target::Isr | Target::Nothing => return,
                Target::Common { .. } | Target::Device(_) => {}
            }
        }
        let mut core = self.lock();
        match self.layout.decode(offset, width, Direction::Write, core.guest_msix) {
            Target::Common { register, skip } => {
                self.write_register(&mut core, register, Written { skip, width, value: value as u32 });
            }
            Target::Device(split) => self.write_device(&split, value as u32),
            Target::Isr | Target::Notify | Target::Nothing => {}
        }
        self.publish(&core);
    }

    fn read_isr(&self) -> u64 {
        self.stats.isr_reads.add();
        self.front.take_isr().into()
    }

    fn kick(&self, queue: u16) {
        if self.notifier.kick(queue) == Kick::Command {
            let _core = self.lock();
            self.kick_by_command(queue);
        }
    }

    /// The caller holds the function's lock.
    fn kick_by_command(&self, queue: u16) {
        self.stats.kicks_commanded.add();
        let _ = self.back_end.write_area(Area::Common, NOTIFY, Width::B2, queue.into());
    }

    fn read_register(&self, core: &mut Core, register: Register) -> Option<u32> {
        match register {
            Register::DeviceFeatures => self.read_features(core),
            Register::QueueSize => {
                let size = self.back_end.read(register)?;
                if let Some(queue) = core.shadow.selected() {
                    queue.size = Some(size as u16);
                }
                Some(size)
            }
            // A dead device must not read as 0xff: Linux 3.4 stops the whole guest if the status is
            // not 0 after a driver reset it and left (conformance item F25).
            Register::Status => self.back_end.read(register).or(Some(core.shadow.status.into())),
            Register::DriverFeatures
            | Register::QueueAddress
            | Register::QueueSelect
            | Register::ConfigVector
            | Register::QueueVector => self.back_end.read(register),
        }
    }

    fn read_features(&self, core: &mut Core) -> Option<u32> {
        let features = self.back_end.read(Register::DeviceFeatures)? & !self.hidden_features;
        core.shadow.offered = Some(features);
        Some(features)
    }

    fn write_register(&self, core: &mut Core, register: Register, written: Written) {
        match register {
            Register::DeviceFeatures | Register::QueueSize => {}
            Register::DriverFeatures => self.write_features(core, written),
            Register::QueueAddress => {
                let whole = match written.width {
                    Width::B2 => core.shadow.merge_pfn_half(usize::from(written.skip / 2), written.value as u16),
                    _ => Some(written.value),
                };
                if let Some(pfn) = whole {
                    self.write_queue_address(core, pfn);
                }
            }
            Register::QueueSelect => {
                core.shadow.queue_select = written.value as u16;
                core.shadow.pfn_halves = [None; 2];
                self.back_end.write(register, (written.value as u16).into());
            }
            Register::Status => self.write_status(core, written.value as u8),
            Register::ConfigVector | Register::QueueVector => {
                self.back_end.write(register, (written.value as u16).into());
            }
        }
    }

    /// Never forwards a feature that the guest was not offered (hazard H32).
    fn write_features(&self, core: &mut Core, written: Written) {
        let features = core.shadow.merge_driver_features(written.skip, written.width.bytes(), written.value);
        let offered = core.shadow.offered.or_else(|| self.read_features(core)).unwrap_or(!self.hidden_features);
        self.back_end.write(Register::DriverFeatures, features & offered);
    }

    /// A non-zero address sets the selected queue up, 0 takes it down.
    fn write_queue_address(&self, core: &mut Core, pfn: u32) {
        let queue = core.shadow.queue_select;
        if pfn == 0 {
            self.notifier.queue_gone(queue);
            if let Some(state) = core.shadow.selected() {
                state.pfn = 0;
            }
            // Some devices take this for a reset of all of the device.
            core.config_armed = false;
            self.back_end.write(Register::QueueAddress, 0);
            return;
        }
        if !self.selected_queue_exists(core) {
            return;
        }
        core.bus_master.expect_dma();
        self.apply_bus_master(core);
        self.arm_selected_queue(core);
        if self.back_end.write(Register::QueueAddress, pfn) {
            if let Some(state) = core.shadow.selected() {
                state.pfn = pfn;
            }
            self.notifier.queue_ready(queue);
        }
    }

    /// Whether the device has the selected queue; asks it if the guest did not.
    fn selected_queue_exists(&self, core: &mut Core) -> bool {
        let known = core.shadow.selected().map(|queue| queue.size);
        match known {
            None => false,
            Some(Some(size)) => size != 0,
            Some(None) => self.read_register(core, Register::QueueSize).is_some_and(|size| size != 0),
        }
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
        core.shadow.status = status;
        if self.back_end.write(Register::Status, status.into()) {
            for queue in self.notifier.set_driver_ok(status & STATUS_DRIVER_OK != 0) {
                self.stats.kicks_replayed.add();
                if self.notifier.ring(queue) == Kick::Command {
                    self.kick_by_command(queue);
                }
            }
        }
    }

    /// Bytes in no piece, or in one that failed, read as ones.
    fn read_device(&self, split: &Split, width: Width) -> u64 {
        let mut value = width.all_ones();
        for piece in split.pieces() {
            if let Some(part) = self.read_piece(piece) {
                let shift = 8 * u32::from(piece.position);
                value = value & !(piece.width.all_ones() << shift) | piece.width.truncate(part.into()) << shift;
            }
        }
        value
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
