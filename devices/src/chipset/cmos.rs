// SPDX-License-Identifier: Apache-2.0
//! Ports 0x70 and 0x71: an MC146818 real-time clock and 128 bytes of battery-backed memory, with what
//! a PC's firmware keeps in them. The clock shows the host's UTC time, plus what the guest has set.
//!
//! There is no interrupt: alarm, periodic and update interrupts can be enabled and never come. Their
//! flags in status C are 0, but for the update flag, which says whether a second has passed.
//! Sources: MC146818 data sheet; for memory sizes Ralf Brown's CMOS list and SeaBIOS's use of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::calendar::DateTime;
use super::{Clock, bytewise};
use crate::bus::{Access, Effect, IoDevice};

/// First port and number of ports.
pub const PORTS: (u64, u64) = (0x70, 2);

const SIZE: usize = 128;
/// How long before each second status A says that registers are about to change. This is the
/// MC146818's 244 us of warning and 1984 us of update with a 32 kHz crystal. Old kernels look for the
/// bit's falling edge by polling, and have to get a chance to see it even with slow port accesses.
const UPDATE: Duration = Duration::from_micros(2228);

/// Register numbers.
mod register {
    pub const SECOND: u8 = 0x00;
    pub const MINUTE: u8 = 0x02;
    pub const HOUR: u8 = 0x04;
    pub const WEEKDAY: u8 = 0x06;
    pub const DAY: u8 = 0x07;
    pub const MONTH: u8 = 0x08;
    pub const YEAR: u8 = 0x09;
    pub const STATUS_A: u8 = 0x0a;
    pub const STATUS_B: u8 = 0x0b;
    pub const STATUS_C: u8 = 0x0c;
    pub const STATUS_D: u8 = 0x0d;
    pub const EQUIPMENT: usize = 0x14;
    pub const BASE_MEMORY: usize = 0x15;
    pub const EXTENDED_MEMORY: [usize; 2] = [0x17, 0x30];
    pub const CHECKSUM: usize = 0x2e;
    pub const CENTURY: u8 = 0x32;
    pub const MEMORY_ABOVE_16M: usize = 0x34;
    pub const MEMORY_ABOVE_4G: usize = 0x5b;
}

/// Status A: update in progress.
const A_UPDATE: u8 = 0x80;
/// Status A at power-on: 32 kHz crystal, 1024 Hz.
const A_DEFAULT: u8 = 0x26;
/// Status B: the clock stands still, to be set.
const B_SET: u8 = 0x80;
/// Status B: enables of the three interrupts and the square wave.
const B_INTERRUPTS: u8 = 0x78;
/// Status B: registers are binary, not BCD.
const B_BINARY: u8 = 0x04;
/// Status B: 24 hours, not 12 with a bit for the afternoon.
const B_24_HOURS: u8 = 0x02;
/// Status C: a second has passed since status C was read.
const C_UPDATED: u8 = 0x10;
/// Status D: battery and contents are good.
const D_VALID: u8 = 0x80;
/// Hour register, 12 hours: afternoon.
const AFTERNOON: u8 = 0x80;

struct State {
    index: u8,
    memory: [u8; SIZE],
    /// Guest's time minus host's, in seconds.
    offset: i64,
    /// While status B has SET: the time that the guest is composing.
    frozen: Option<DateTime>,
    /// The second at the last read of status C.
    seen: i64,
}

/// The device.
pub struct Cmos {
    clock: Clock,
    state: Mutex<State>,
}

impl Cmos {
    /// A clock that shows the host's time, and memory sizes for `below_4g` bytes of RAM from address
    /// 0 (the hole at 640 KiB included) and `above_4g` bytes from 4 GiB.
    pub fn new(below_4g: u64, above_4g: u64) -> Self {
        Self::with_clock(
            below_4g,
            above_4g,
            Box::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        )
    }

    /// Like [`Self::new`], with time since 1970 from `clock`.
    pub fn with_clock(below_4g: u64, above_4g: u64, clock: Clock) -> Self {
        let seen = unix_seconds(clock());
        let state = State { index: 0, memory: firmware_contents(below_4g, above_4g), offset: 0, frozen: None, seen };
        Self { clock, state: Mutex::new(state) }
    }

    /// Reset of the machine. Contents and time are battery-backed and stay; interrupts are disabled,
    /// and a clock that was being set goes on.
    pub fn reset(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.index = 0;
        let status_b = state.memory[usize::from(register::STATUS_B)] & !B_INTERRUPTS & !B_SET;
        state.write(register::STATUS_B, status_b, (self.clock)());
    }
}

impl IoDevice for Cmos {
    fn name(&self) -> &str {
        "cmos"
    }

    fn read(&self, access: Access) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        bytewise::read(access, |port| match port {
            1 => {
                let index = state.index;
                state.read(index, (self.clock)())
            }
            // The index register is write-only.
            _ => 0xff,
        })
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        bytewise::write(access, value, |port, value| {
            match port {
                // Bit 7 masks NMIs, of which there are none.
                0 => state.index = value & 0x7f,
                1 => {
                    let index = state.index;
                    state.write(index, value, (self.clock)());
                }
                _ => {}
            }
            Effect::None
        })
    }
}

impl State {
    fn status_b(&self) -> u8 {
        self.memory[usize::from(register::STATUS_B)]
    }

    /// The guest's time.
    fn now(&self, clock: Duration) -> DateTime {
        self.frozen.unwrap_or_else(|| DateTime::from_unix(unix_seconds(clock).saturating_add(self.offset)))
    }

    /// `index` is below 128.
    fn read(&mut self, index: u8, clock: Duration) -> u8 {
        let now = self.now(clock);
        match index {
            register::SECOND => self.encode(now.second),
            register::MINUTE => self.encode(now.minute),
            register::HOUR => self.encode_hour(now.hour),
            register::WEEKDAY => now.weekday().unwrap_or(1),
            register::DAY => self.encode(now.day),
            register::MONTH => self.encode(now.month),
            register::YEAR => self.encode((now.year % 100) as u8),
            register::CENTURY => self.encode((now.year / 100) as u8),
            register::STATUS_A => {
                let left = Duration::from_secs(1).saturating_sub(Duration::from_nanos(clock.subsec_nanos().into()));
                let update = self.frozen.is_none() && left <= UPDATE;
                self.memory[usize::from(index)] | if update { A_UPDATE } else { 0 }
            }
            register::STATUS_C => {
                let seconds = unix_seconds(clock);
                let passed = std::mem::replace(&mut self.seen, seconds) != seconds;
                if passed && self.frozen.is_none() { C_UPDATED } else { 0 }
            }
            register::STATUS_D => D_VALID,
            other => self.memory[usize::from(other)],
        }
    }

    fn write(&mut self, index: u8, value: u8, clock: Duration) {
        match index {
            register::STATUS_A => self.memory[usize::from(index)] = value & !A_UPDATE,
            register::STATUS_B => self.write_status_b(value, clock),
            // Read-only; the day of the week follows from the date.
            register::STATUS_C | register::STATUS_D | register::WEEKDAY => {}
            register::SECOND
            | register::MINUTE
            | register::HOUR
            | register::DAY
            | register::MONTH
            | register::YEAR
            | register::CENTURY => self.write_time(index, value, clock),
            other => self.memory[usize::from(other)] = value,
        }
    }

    fn write_status_b(&mut self, value: u8, clock: Duration) {
        self.memory[usize::from(register::STATUS_B)] = value;
        if value & B_SET != 0 {
            self.frozen = Some(self.now(clock));
        } else if let Some(wanted) = self.frozen.take() {
            self.set_time(wanted, clock);
        }
    }

    fn write_time(&mut self, index: u8, value: u8, clock: Duration) {
        let mut time = self.now(clock);
        let number = self.decode(value);
        match index {
            register::SECOND => time.second = number,
            register::MINUTE => time.minute = number,
            register::HOUR => time.hour = self.decode_hour(value),
            register::DAY => time.day = number,
            register::MONTH => time.month = number,
            register::YEAR => time.year = time.year / 100 * 100 + u16::from(number),
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

fn unix_seconds(clock: Duration) -> i64 {
    i64::try_from(clock.as_secs()).unwrap_or(i64::MAX)
}

/// What firmware leaves in the memory: sizes, equipment, status registers, checksum.
fn firmware_contents(below_4g: u64, above_4g: u64) -> [u8; SIZE] {
    let mut memory = [0; SIZE];
    let mut put = |at: usize, value: u64, most: u64| {
        let bytes = value.min(most).to_le_bytes();
        let length = if most > 0xffff { 3 } else { 2 };
        memory[at..at + length].copy_from_slice(&bytes[..length]);
    };
    const KIB: u64 = 1 << 10;
    const KIB_64: u64 = 1 << 16;
    const MIB: u64 = 1 << 20;
    put(register::BASE_MEMORY, below_4g / KIB, 640);
    for at in register::EXTENDED_MEMORY {
        put(at, below_4g.saturating_sub(MIB) / KIB, 0xffff);
    }
    put(register::MEMORY_ABOVE_16M, below_4g.saturating_sub(16 * MIB) / KIB_64, 0xffff);
    put(register::MEMORY_ABOVE_4G, above_4g / KIB_64, 0xff_ffff);
    // A coprocessor; no floppy disk, no display adapter.
    memory[register::EQUIPMENT] = 0x02;
    memory[usize::from(register::STATUS_A)] = A_DEFAULT;
    memory[usize::from(register::STATUS_B)] = B_24_HOURS;
    let sum: u16 = memory[0x10..register::CHECKSUM].iter().map(|byte| u16::from(*byte)).sum();
    memory[register::CHECKSUM..register::CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    memory
}

#[cfg(test)]
#[path = "cmos_tests.rs"]
mod tests;
