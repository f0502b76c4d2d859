// SPDX-License-Identifier: Apache-2.0
//! The clock's registers at a given time. Pure: it is told what the host's clock shows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::contents::{self, SIZE};
use super::register::*;
use crate::chipset::calendar::DateTime;

/// How long before each second status A says that registers are about to change. This is the
/// MC146818's 244 us of warning and 1984 us of update with a 32 kHz crystal. Old kernels look for the
/// bit's falling edge by polling, and have to get a chance to see it even with slow port accesses.
const UPDATE: Duration = Duration::from_micros(2228);

/// What a guest can compose of two registers, whatever they mean.
const MOST_YEARS: u16 = 255 * 100 + 255;

/// Clock and memory, as one plain value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CmosState {
    pub(super) index: u8,
    /// In rows, which can be saved.
    memory: [[u8; 32]; SIZE / 32],
    /// Guest's time minus host's, in seconds.
    pub(super) offset: i64,
    /// While status B has SET: the time that the guest is composing.
    frozen: Option<DateTime>,
    /// Status C but for its interrupt bit, complete up to `looked`.
    pub(super) flags: u8,
    /// Host time of the last [look](Self::look).
    pub(super) looked: Duration,
}

impl CmosState {
    /// A clock that was never set, `offset` seconds ahead of the host's, with an empty memory.
    pub fn new(offset: i64, clock: Duration) -> Self {
        let mut memory = [[0; 32]; SIZE / 32];
        memory.as_flattened_mut()[usize::from(STATUS_B)] = B_24_HOURS;
        Self { index: 0, memory, offset, frozen: None, flags: 0, looked: clock }
    }

    /// The machine is switched on: no interrupts, a clock that was being set goes on, firmware writes what it knows of
    /// `below_4g` and `above_4g` bytes of RAM. Time, alarm and the rest of the memory are as they were left.
    pub fn power_on(&mut self, below_4g: u64, above_4g: u64, clock: Duration) {
        self.write_status_b(self.status_b() & !B_INTERRUPTS & !B_SQUARE_WAVE & !B_SET, clock);
        (self.index, self.flags, self.looked) = (0, 0, clock);
        let mut memory = [0; SIZE];
        memory.copy_from_slice(self.memory.as_flattened());
        contents::write(&mut memory, below_4g, above_4g);
        self.memory.as_flattened_mut().copy_from_slice(&memory);
    }

    /// Whether a guest can have brought it about.
    pub(super) fn fits(&self) -> bool {
        self.frozen.is_none_or(|time| time.year <= MOST_YEARS)
    }

    fn byte(&self, index: u8) -> u8 {
        self.memory.as_flattened()[usize::from(index) % SIZE]
    }

    fn set_byte(&mut self, index: u8, value: u8) {
        self.memory.as_flattened_mut()[usize::from(index) % SIZE] = value;
    }

    pub(super) fn status_a(&self) -> u8 {
        self.byte(STATUS_A)
    }

    pub(super) fn status_b(&self) -> u8 {
        self.byte(STATUS_B)
    }

    /// Whether seconds pass.
    pub(super) fn ticks(&self) -> bool {
        self.frozen.is_none() && self.divider_runs()
    }

    pub(super) fn divider_runs(&self) -> bool {
        self.status_a() & A_DIVIDER_RESET != A_DIVIDER_RESET
    }

    /// The second, minute or hour of the alarm; `None` is any. A value that is no time never comes.
    pub(super) fn alarm(&self, index: u8) -> Option<u8> {
        let value = self.byte(index);
        if value & ALARM_ANY == ALARM_ANY {
            return None;
        }
        Some(if index == HOUR_ALARM { self.decode_hour(value) } else { self.decode(value) })
    }

    /// The guest's time.
    fn now(&self, clock: Duration) -> DateTime {
        self.frozen.unwrap_or_else(|| DateTime::from_unix(self.guest_seconds(clock)))
    }

    /// Seconds since 1970 as the guest counts them.
    pub(super) fn guest_seconds(&self, clock: Duration) -> i64 {
        unix_seconds(clock).saturating_add(self.offset)
    }

    /// Reads register `index`, below 128.
    pub fn read(&mut self, index: u8, clock: Duration) -> u8 {
        self.look(clock);
        let now = self.now(clock);
        match index {
            SECOND => self.encode(now.second),
            MINUTE => self.encode(now.minute),
            HOUR => self.encode_hour(now.hour),
            WEEKDAY => now.weekday().unwrap_or(1),
            DAY => self.encode(now.day),
            MONTH => self.encode(now.month),
            YEAR => self.encode((now.year % 100) as u8),
            CENTURY => self.encode((now.year / 100) as u8),
            STATUS_A => {
                let update = self.ticks() && until_second(clock) <= UPDATE;
                self.status_a() | if update { A_UPDATE } else { 0 }
            }
            STATUS_C => {
                let interrupt = if self.wants_interrupt() { C_INTERRUPT } else { 0 };
                std::mem::take(&mut self.flags) | interrupt
            }
            STATUS_D => D_VALID,
            other => self.byte(other),
        }
    }

    /// Writes register `index`, below 128.
    pub fn write(&mut self, index: u8, value: u8, clock: Duration) {
        self.look(clock);
        match index {
            STATUS_A => self.set_byte(index, value & !A_UPDATE),
            STATUS_B => self.write_status_b(value, clock),
            // Read-only; the day of the week follows from the date.
            STATUS_C | STATUS_D | WEEKDAY => {}
            SECOND | MINUTE | HOUR | DAY | MONTH | YEAR | CENTURY => self.write_time(index, value, clock),
            other => self.set_byte(other, value),
        }
    }

    fn write_status_b(&mut self, value: u8, clock: Duration) {
        if value & B_SET != 0 {
            self.frozen = Some(self.now(clock));
            // As on the chip: no update ends, so none interrupts.
            self.set_byte(STATUS_B, value & !C_UPDATED);
            return;
        }
        self.set_byte(STATUS_B, value);
        if let Some(wanted) = self.frozen.take() {
            self.set_time(wanted, clock);
        }
    }

    fn write_time(&mut self, index: u8, value: u8, clock: Duration) {
        let mut time = self.now(clock);
        let number = self.decode(value);
        match index {
            SECOND => time.second = number,
            MINUTE => time.minute = number,
            HOUR => time.hour = self.decode_hour(value),
            DAY => time.day = number,
            MONTH => time.month = number,
            YEAR => time.year = time.year / 100 * 100 + u16::from(number),
            _ => time.year = u16::from(number) * 100 + time.year % 100,
        }
        if self.frozen.is_some() {
            self.frozen = Some(time);
        } else {
            self.set_time(time, clock);
        }
    }

    /// A date that does not exist leaves the clock as it was.
    fn set_time(&mut self, wanted: DateTime, clock: Duration) {
        if let Some(seconds) = wanted.to_unix() {
            self.offset = seconds.saturating_sub(unix_seconds(clock));
        }
    }

    fn encode(&self, number: u8) -> u8 {
        if self.status_b() & B_BINARY != 0 { number } else { ((number / 10 % 10) << 4) | (number % 10) }
    }

    fn decode(&self, value: u8) -> u8 {
        // At most 15 * 10 + 15.
        if self.status_b() & B_BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0xf) }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.status_b() & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelve) | if hour >= 12 { AFTERNOON } else { 0 }
    }

    fn decode_hour(&self, value: u8) -> u8 {
        if self.status_b() & B_24_HOURS != 0 {
            return self.decode(value);
        }
        let afternoon = if value & AFTERNOON != 0 { 12 } else { 0 };
        match self.decode(value & !AFTERNOON) {
            hour @ 1..=12 => hour % 12 + afternoon,
            // No hour: refused when the time is set.
            _ => u8::MAX,
        }
    }
}

/// Time to the next whole second.
pub(super) fn until_second(clock: Duration) -> Duration {
    Duration::from_secs(1).saturating_sub(Duration::from_nanos(clock.subsec_nanos().into()))
}

/// Whole seconds of the host's clock.
pub(super) fn unix_seconds(clock: Duration) -> i64 {
    i64::try_from(clock.as_secs()).unwrap_or(i64::MAX)
}
