// SPDX-License-Identifier: Apache-2.0
//! The legacy registers: what the guest's reads are answered with, and what its writes make of the device.
//! Owns no state but what it is made of; the [cache](RegisterCache) is its caller's, under the caller's lock.
//!
//! It touches the registers below and nothing else. What a write means for kicks, interrupts and DMA is
//! said to [`Consequences`].
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | `cache` | header registers: what the guest wrote, and what the device would answer | yes |
//! | `config_cache` | the same of device configuration | yes |
//! | `events` | what makes the cache wrong: one table | yes |
//! | `device_config` | accesses to device configuration | |

pub(super) mod cache;
pub(super) mod config_cache;
mod device_config;
pub(super) mod events;

use std::sync::Arc;

use crate::contract::{Area, Width};
use crate::spec::virtio::legacy::QUEUE_NOTIFY;
use crate::transitional::below::back_end::BackEnd;
use crate::transitional::layout::decode::{Direction, Layout, Register, Target};
use crate::transitional::telemetry::stats::DeviceCounter;
use cache::{RegisterCache, STATUS_DRIVER_OK, STATUS_MODERN};
use events::Event;

/// What a write of the guest means for the rest of the function, in the order of the calls.
pub(super) trait Consequences {
    /// `queue` gets an address next. It is selected, and has to have its vector and DMA before that.
    fn queue_address_comes(&mut self, queue: u16);
    /// The device has the address of `queue`.
    fn queue_ready(&mut self, queue: u16);
    /// `queue` loses its address next. Some devices reset all of themselves at that.
    fn queue_address_goes(&mut self, queue: u16, started_early: bool);
    /// The device has the features that the driver accepts.
    fn features_written(&mut self);
    /// The guest writes `status` next, which is not 0.
    fn status_comes(&mut self, status: u8);
    /// Whether the device has DRIVER_OK.
    fn is_started(&self) -> bool;
    /// The device has `status`.
    fn status_reached_device(&mut self, status: u8);
}

/// What is left to do after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Wrote {
    /// Nothing.
    All,
    /// The guest wrote status 0: a reset, of which nothing is done yet.
    Reset,
}

/// The device had read 0 after its reset, and now its status is this one though nobody wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResetDidNotHold(pub u32);

/// A write of the guest: to how much of a register, and from which byte on.
#[derive(Clone, Copy, Debug)]
struct Written {
    skip: u8,
    width: Width,
    value: u32,
}

/// The legacy registers of one function.
pub(super) struct Registers {
    layout: Layout,
    hidden_features: u32,
    back_end: Arc<BackEnd>,
}

impl Registers {
    /// The registers behind `back_end`; the guest never sees or accepts `hidden_features`.
    pub(super) fn new(layout: Layout, hidden_features: u32, back_end: Arc<BackEnd>) -> Self {
        Self { layout, hidden_features, back_end }
    }

    /// The shape of BAR0.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Which register an access is for, see [`Layout::decode`].
    #[inline]
    pub(super) fn decode(&self, offset: u64, width: Width, direction: Direction, guest_msix: bool) -> Target {
        self.layout.decode(offset, width, direction, guest_msix)
    }

    /// To be called before each access: forgets what may have become wrong since the last one, see
    /// [`RegisterCache::begin_access`].
    pub(super) fn begin_access(&self, cache: &mut RegisterCache, modern_uses: u64) {
        cache.begin_access(self.back_end.faults().is_faulted(), modern_uses);
    }

    /// Answers a read of a header register or of device configuration; all ones where there is no answer.
    pub(super) fn read(
        &self,
        cache: &mut RegisterCache,
        target: &Target,
        width: Width,
    ) -> Result<u64, ResetDidNotHold> {
        Ok(match *target {
            Target::Common { register, skip } => match self.answer(cache, register)? {
                Some(value) => width.truncate(u64::from(value) >> (8 * skip)),
                None => width.all_ones(),
            },
            Target::Device(split) => self.read_config(cache, &split, width),
            Target::Isr | Target::Notify | Target::Nothing => width.all_ones(),
        })
    }

    /// Carries out a write to a header register or to device configuration.
    pub(super) fn write(
        &self,
        cache: &mut RegisterCache,
        target: &Target,
        width: Width,
        value: u32,
        then: &mut impl Consequences,
    ) -> Wrote {
        match *target {
            Target::Common { register, skip } => {
                cache.config.end_run();
                return self.write_register(cache, register, Written { skip, width, value }, then);
            }
            Target::Device(split) => {
                cache.apply(Event::ConfigWritten);
                self.write_config(&split, value);
            }
            Target::Isr | Target::Notify | Target::Nothing => {}
        }
        Wrote::All
    }

    /// Kicks `queue` by a register write.
    pub(super) fn kick(&self, queue: u16) {
        self.back_end.stats().add(DeviceCounter::KicksCommanded);
        let _ = self.back_end.write_area(Area::Common, QUEUE_NOTIFY, Width::B2, queue.into());
    }

    /// Gives the device DRIVER_OK in its driver's place; returns the status that it has then.
    pub(super) fn start_early(&self, cache: &mut RegisterCache) -> Option<u8> {
        let status = cache.status() | STATUS_DRIVER_OK;
        if !self.back_end.write(Register::Status, status.into()) {
            cache.apply(Event::AccessFailed);
            return None;
        }
        cache.start_early();
        Some(status)
    }

    /// From the cache if it knows the register, else from the device.
    fn answer(&self, cache: &mut RegisterCache, register: Register) -> Result<Option<u32>, ResetDidNotHold> {
        if let Some(value) = cache.answer(register) {
            self.back_end.stats().add(DeviceCounter::ShadowReads);
            return Ok(Some(value));
        }
        match self.read_register(cache, register) {
            // A dead device must not read as 0xff: Linux 3.4 stops the whole guest if the status is
            // not 0 after a driver reset it and left (conformance item F25).
            None if register == Register::Status => Ok(Some(cache.status().into())),
            Some(status) if register == Register::Status && status & 0xff != 0 && cache.status_must_be_zero() => {
                Err(ResetDidNotHold(status))
            }
            answer => Ok(answer),
        }
    }

    /// Reads a whole register of the device, as the guest may see it.
    fn read_register(&self, cache: &mut RegisterCache, register: Register) -> Option<u32> {
        let Some(value) = self.back_end.read(register) else {
            cache.apply(Event::AccessFailed);
            return None;
        };
        let value = register.width().truncate(value.into()) as u32;
        let value = match register {
            Register::DeviceFeatures => value & !self.hidden_features,
            Register::Status => cache.status_for_guest(value),
            _ => value,
        };
        cache.read(register, value);
        Some(value)
    }

    /// Writes a whole register of the device. What a failed write did is not known.
    fn write_whole(&self, cache: &mut RegisterCache, register: Register, value: u32) -> bool {
        let done = self.back_end.write(register, value);
        if done {
            cache.device_took(register, value);
        } else {
            cache.apply(Event::AccessFailed);
        }
        done
    }

    fn write_register(
        &self,
        cache: &mut RegisterCache,
        register: Register,
        written: Written,
        then: &mut impl Consequences,
    ) -> Wrote {
        match register {
            Register::DeviceFeatures | Register::QueueSize => {}
            Register::DriverFeatures => self.write_features(cache, written, then),
            Register::QueueAddress => {
                let whole = match written.width {
                    Width::B2 => cache.merge_address_half(usize::from(written.skip / 2), written.value as u16),
                    _ => Some(written.value),
                };
                if let Some(address) = whole {
                    self.write_queue_address(cache, address, then);
                }
            }
            Register::QueueSelect | Register::ConfigVector | Register::QueueVector => {
                let value = u32::from(written.value as u16);
                cache.guest_wrote(register, value);
                self.write_whole(cache, register, value);
            }
            Register::Status => return self.write_status(cache, written.value as u8, then),
        }
        Wrote::All
    }

    /// Never forwards a feature that the guest was not offered (hazard H32).
    fn write_features(&self, cache: &mut RegisterCache, written: Written, then: &mut impl Consequences) {
        let features = cache.merge_driver_features(written.skip, written.width.bytes(), written.value);
        let offered = cache.written(Register::DeviceFeatures);
        let offered = offered.or_else(|| self.read_register(cache, Register::DeviceFeatures));
        if self.write_whole(cache, Register::DriverFeatures, features & offered.unwrap_or(!self.hidden_features)) {
            then.features_written();
        }
    }

    /// A non-zero address sets the selected queue up, 0 takes it down.
    fn write_queue_address(&self, cache: &mut RegisterCache, address: u32, then: &mut impl Consequences) {
        let queue = cache.queue_select();
        if address == 0 {
            cache.guest_wrote(Register::QueueAddress, 0);
            then.queue_address_goes(queue, cache.is_started_early());
            self.write_whole(cache, Register::QueueAddress, 0);
            return;
        }
        if !self.selected_queue_exists(cache) {
            return;
        }
        then.queue_address_comes(queue);
        if self.write_whole(cache, Register::QueueAddress, address) {
            cache.guest_wrote(Register::QueueAddress, address);
            then.queue_ready(queue);
        }
    }

    /// Whether the device has the selected queue; asks it if the guest did not.
    fn selected_queue_exists(&self, cache: &mut RegisterCache) -> bool {
        if !cache.selects_a_queue() {
            return false;
        }
        let size = cache.written(Register::QueueSize);
        size.or_else(|| self.read_register(cache, Register::QueueSize)).is_some_and(|size| size != 0)
    }

    fn write_status(&self, cache: &mut RegisterCache, value: u8, then: &mut impl Consequences) -> Wrote {
        if value == 0 {
            return Wrote::Reset;
        }
        let status = value & !STATUS_MODERN;
        if status == 0 {
            // Only bits that legacy does not have. Forwarding what is left would be a reset.
            return Wrote::All;
        }
        then.status_comes(status);
        cache.guest_wrote(Register::Status, status.into());
        let keeps_start = cache.is_started_early() && then.is_started();
        let below = if keeps_start { status | STATUS_DRIVER_OK } else { status };
        if self.back_end.write(Register::Status, below.into()) {
            cache.device_took(Register::Status, status.into());
            then.status_reached_device(below);
        } else {
            cache.apply(Event::AccessFailed);
        }
        Wrote::All
    }
}

#[cfg(test)]
#[path = "registers_tests.rs"]
mod tests;
