// SPDX-License-Identifier: Apache-2.0
//! The legacy registers of one function as the VMM has them: a cell for each register, with what the guest
//! wrote and what the device would answer. Pure: it is told what was read and written, and asks nobody.
//!
//! The guest's values filter kicks, restore interrupt vectors and answer for a dead device. The device's
//! values answer reads without a command (hazard H18):
//!
//! | register | what the device would answer is known |
//! | --- | --- |
//! | device features | once read |
//! | driver features | once written or read |
//! | queue address | once written or read; 0 after a reset that ended |
//! | queue size | once read, per queue |
//! | queue select | once written |
//! | status | once written with bits that legacy has; 0 after a reset that ended |
//! | vectors | once *read*: a device may refuse the one written (hazard H4) |
//!
//! It is known until one of the [events](Event) in the table of `cache_events`. Only accesses that pass
//! through this process are seen: each access to the modern interface has to be counted, see
//! [`RegisterCache::begin_access`].

use serde::{Deserialize, Serialize};

use super::config_cache::{ConfigCache, ConfigState};
use super::events::{Event, Fate};
use crate::spec::virtio::status;
use crate::transitional::layout::decode::Register;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::layout::queue_set::MAX_QUEUES;

/// Status bit: a driver is there.
pub(crate) const STATUS_DRIVER: u8 = status::DRIVER;
/// Status bit: the driver is ready.
pub(crate) const STATUS_DRIVER_OK: u8 = status::DRIVER_OK;
/// FEATURES_OK and DEVICE_NEEDS_RESET: not part of legacy, never forwarded. Hardware built for the
/// modern interface might act on them.
pub(crate) const STATUS_MODERN: u8 = status::FEATURES_OK | status::NEEDS_RESET;

/// Status bits that legacy has: ACKNOWLEDGE, DRIVER, DRIVER_OK, FAILED. A device may drop others.
const STATUS_LEGACY: u8 = status::LEGACY;

/// One register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// What the guest wrote last; of a read-only register, what it was told last. `None` is nothing since the
    /// last reset.
    pub written: Option<u32>,
    /// What the device would answer to a read, if that is sure.
    pub device: Option<u32>,
}

impl Cell {
    fn live(&mut self, written: Fate, device: Fate) {
        meet(written, &mut self.written);
        meet(device, &mut self.device);
    }
}

fn meet(fate: Fate, value: &mut Option<u32>) {
    match fate {
        Fate::Keep => {}
        Fate::Forget => *value = None,
        Fate::Zero => *value = Some(0),
    }
}

/// The registers of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueCells {
    /// Page number; 0 is "not set up".
    pub address: Cell,
    /// Entries; 0 is "no such queue". Constant for a device, so a reset keeps what the guest was told.
    pub size: Cell,
    /// MSI-X vector.
    pub vector: Cell,
}

/// All cells, and what is known of several at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cells {
    /// Features the device offers, without those hidden from the guest.
    device_features: Cell,
    /// As the guest wrote them: merged from writes of any width, and not masked.
    driver_features: Cell,
    queue_select: Cell,
    /// Without the bits that are never forwarded.
    status: Cell,
    config_vector: Cell,
    /// [`MAX_QUEUES`] of them.
    queues: Vec<QueueCells>,
    /// Halves of a queue address that came as two 2-byte writes, until both are there.
    address_halves: [Option<u16>; 2],
    /// The device was reset and no driver wrote its status since, by either interface: it is 0.
    status_is_zero: bool,
    /// The device was given DRIVER_OK, and its driver did not write it yet.
    started_early: bool,
}

/// All that a cache holds, to be saved and set again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegisterState {
    cells: Cells,
    config: ConfigState,
}

/// The register cache of one function.
#[derive(Debug)]
pub(crate) struct RegisterCache {
    /// Whether reads of the guest may be answered from here.
    answers: bool,
    /// Number of accesses to the modern interface that the cells take into account.
    modern_uses: u64,
    cells: Cells,
    /// Device configuration.
    pub config: ConfigCache,
}

impl RegisterCache {
    /// Nothing is known of a `device`. With `answers` off, reads of the guest always go to it.
    pub(crate) fn new(answers: bool, device: DeviceType) -> Self {
        let cells = Cells {
            device_features: Cell::default(),
            driver_features: Cell::default(),
            queue_select: Cell::default(),
            status: Cell::default(),
            config_vector: Cell::default(),
            queues: vec![QueueCells::default(); usize::from(MAX_QUEUES)],
            address_halves: [None; 2],
            status_is_zero: false,
            started_early: false,
        };
        Self { answers, modern_uses: 0, cells, config: ConfigCache::new(answers, device) }
    }

    /// All that it holds.
    pub(crate) fn state(&self) -> RegisterState {
        RegisterState { cells: self.cells.clone(), config: self.config.state() }
    }

    /// Goes on from `state`. That may come from anywhere: queues that cannot be are left out. Where the device
    /// is not the one that the state was taken with, or was used since, [`Event::AccessFailed`] has to follow.
    pub(crate) fn set_state(&mut self, state: RegisterState) {
        self.cells = state.cells;
        self.cells.queues.resize(usize::from(MAX_QUEUES), QueueCells::default());
        self.config.set_state(state.config);
    }

    /// To be called before each access: `faulted` if the function is out of service, and how often the modern
    /// interface was used so far, a number that only ever grows.
    pub(crate) fn begin_access(&mut self, faulted: bool, modern_uses: u64) {
        let used = std::mem::replace(&mut self.modern_uses, modern_uses) != modern_uses;
        if faulted {
            self.apply(Event::OutOfService);
        } else if used {
            self.apply(Event::ModernUse);
        }
    }

    /// Forgets what is not sure after `event`.
    pub(crate) fn apply(&mut self, event: Event) {
        let row = event.row();
        let (guest, device, queues, cells) = (row.guest, row.device, row.queues, &mut self.cells);
        cells.device_features.live(Fate::Keep, device.device_features);
        cells.driver_features.live(guest, device.driver_features);
        cells.queue_select.live(guest, device.queue_select);
        cells.status.live(guest, device.status);
        cells.config_vector.live(guest, device.config_vector);
        if guest != Fate::Keep || !queues.keep() {
            for queue in &mut cells.queues {
                queue.address.live(guest, queues.address);
                queue.size.live(Fate::Keep, queues.size);
                queue.vector.live(guest, queues.vector);
            }
        }
        if guest != Fate::Keep {
            cells.address_halves = [None; 2];
            cells.started_early = false;
        }
        if let Some(is_zero) = row.status_is_zero {
            cells.status_is_zero = is_zero;
        }
        self.config.apply(row.mac);
    }

    /// What the device would answer, if that is known and may be told. Ends a run of device configuration.
    pub(crate) fn answer(&mut self, register: Register) -> Option<u32> {
        self.config.end_run();
        self.known(register)
    }

    /// What the device would answer, if that is known and may be told.
    pub(crate) fn known(&self, register: Register) -> Option<u32> {
        // The cells of a queue are the device's only while it surely has that queue selected.
        let is_sure = self.answers && (!is_of_queue(register) || self.cells.queue_select.device.is_some());
        self.cell(register).filter(|_| is_sure)?.device
    }

    /// What the guest wrote last, or was told last of a read-only register; 0 after a reset. Of the selected
    /// queue, for registers of queues.
    pub(crate) fn written(&self, register: Register) -> Option<u32> {
        self.cell(register)?.written
    }

    /// The status that the guest wrote last.
    pub(crate) fn status(&self) -> u8 {
        self.cells.status.written.unwrap_or(0) as u8
    }

    /// The queue that the guest selected last.
    pub(crate) fn queue_select(&self) -> u16 {
        self.cells.queue_select.written.unwrap_or(0) as u16
    }

    /// Whether the guest selected a queue that can be here.
    pub(crate) fn selects_a_queue(&self) -> bool {
        self.queue_select() < MAX_QUEUES
    }

    /// The device was reset and no driver wrote its status since: it must be 0.
    pub(crate) fn status_must_be_zero(&self) -> bool {
        self.cells.status_is_zero
    }

    /// The device was given DRIVER_OK in its driver's place.
    pub(crate) fn start_early(&mut self) {
        self.cells.started_early = true;
    }

    /// Whether the device was given DRIVER_OK, and its driver did not write it yet.
    pub(crate) fn is_started_early(&self) -> bool {
        self.cells.started_early
    }

    /// Whether the device was given DRIVER_OK, by its driver or in its driver's place.
    pub(crate) fn has_driver_ok(&self) -> bool {
        self.cells.started_early || self.status() & STATUS_DRIVER_OK != 0
    }

    /// The status that the guest gets to see when the device's is `status`.
    pub(crate) fn status_for_guest(&self, status: u32) -> u32 {
        if self.cells.started_early { status & !u32::from(STATUS_DRIVER_OK) } else { status }
    }

    /// Indices and registers of all queues.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (u16, &QueueCells)> {
        (0..MAX_QUEUES).zip(&self.cells.queues)
    }

    /// Queues that the guest gave an address.
    pub(crate) fn configured(&self) -> impl Iterator<Item = u16> + '_ {
        self.queues().filter(|(_, queue)| queue.address.written.unwrap_or(0) != 0).map(|(index, _)| index)
    }

    /// The device answered `value` for a whole register.
    pub(crate) fn read(&mut self, register: Register, value: u32) {
        match register {
            // The device's own business: forwarded until the guest writes them.
            Register::QueueSelect | Register::Status => return,
            _ if is_of_queue(register) && self.cells.queue_select.device.is_none() => return,
            _ => {}
        }
        let Some(cell) = self.cell_mut(register) else { return };
        cell.device = Some(value);
        if matches!(register, Register::DeviceFeatures | Register::QueueSize) {
            cell.written = Some(value);
        }
    }

    /// The guest wrote `value`, whether or not the device takes it.
    pub(crate) fn guest_wrote(&mut self, register: Register, value: u32) {
        match register {
            Register::QueueSelect => self.cells.address_halves = [None; 2],
            Register::Status => {
                self.cells.status_is_zero = false;
                self.cells.started_early &= value as u8 & STATUS_DRIVER_OK == 0;
            }
            _ => {}
        }
        if let Some(cell) = self.cell_mut(register) {
            cell.written = Some(value);
        }
    }

    /// The device took `value` for a whole register. Not for status 0: see [`Event::ResetEnded`].
    pub(crate) fn device_took(&mut self, register: Register, value: u32) {
        match register {
            Register::DeviceFeatures | Register::QueueSize => return,
            Register::QueueAddress if value == 0 => return self.apply(Event::QueueAddressZero),
            Register::DriverFeatures if self.config.may_change_by_queue(value) => self.apply(Event::MacAddressByQueue),
            _ => {}
        }
        let is_sure = !is_of_queue(register) || self.cells.queue_select.device.is_some();
        let device = match register {
            Register::ConfigVector | Register::QueueVector => None,
            Register::Status => Some(value).filter(|value| value & !u32::from(STATUS_LEGACY) == 0),
            _ => Some(value),
        };
        if let Some(cell) = self.cell_mut(register) {
            cell.device = device.filter(|_| is_sure);
        }
    }

    /// Takes `value`, a part of `bytes` bytes of the driver features from byte `skip` on, and returns
    /// the whole. Bytes past the register's end are dropped.
    pub(crate) fn merge_driver_features(&mut self, skip: u8, bytes: usize, value: u32) -> u32 {
        let ones = if bytes >= 4 { u32::MAX } else { (1 << (8 * bytes)) - 1 };
        let shift = 8 * u32::from(skip.min(3));
        let before = self.cells.driver_features.written.unwrap_or(0);
        let merged = before & !(ones << shift) | (value & ones) << shift;
        self.cells.driver_features.written = Some(merged);
        merged
    }

    /// Takes half a queue address, 0 the low one; returns the whole when both halves are there.
    pub(crate) fn merge_address_half(&mut self, half: usize, value: u16) -> Option<u32> {
        *self.cells.address_halves.get_mut(half)? = Some(value);
        let [Some(low), Some(high)] = self.cells.address_halves else { return None };
        self.cells.address_halves = [None; 2];
        Some(u32::from(high) << 16 | u32::from(low))
    }

    fn cell(&self, register: Register) -> Option<&Cell> {
        let cells = &self.cells;
        let queue = || cells.queues.get(usize::from(self.queue_select()));
        Some(match register {
            Register::DeviceFeatures => &cells.device_features,
            Register::DriverFeatures => &cells.driver_features,
            Register::QueueSelect => &cells.queue_select,
            Register::Status => &cells.status,
            Register::ConfigVector => &cells.config_vector,
            Register::QueueAddress => &queue()?.address,
            Register::QueueSize => &queue()?.size,
            Register::QueueVector => &queue()?.vector,
        })
    }

    fn cell_mut(&mut self, register: Register) -> Option<&mut Cell> {
        let selected = usize::from(self.queue_select());
        let cells = &mut self.cells;
        let queues = &mut cells.queues;
        Some(match register {
            Register::DeviceFeatures => &mut cells.device_features,
            Register::DriverFeatures => &mut cells.driver_features,
            Register::QueueSelect => &mut cells.queue_select,
            Register::Status => &mut cells.status,
            Register::ConfigVector => &mut cells.config_vector,
            Register::QueueAddress => &mut queues.get_mut(selected)?.address,
            Register::QueueSize => &mut queues.get_mut(selected)?.size,
            Register::QueueVector => &mut queues.get_mut(selected)?.vector,
        })
    }
}

/// Whether `register` is one of the selected queue's.
const fn is_of_queue(register: Register) -> bool {
    matches!(register, Register::QueueAddress | Register::QueueSize | Register::QueueVector)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
