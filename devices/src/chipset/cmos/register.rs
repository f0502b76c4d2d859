// SPDX-License-Identifier: Apache-2.0
//! Numbers and bits of the clock's registers, and where a PC's firmware keeps what in the memory behind them.
//! Sources: MC146818 data sheet; for the memory Ralf Brown's CMOS list and SeaBIOS's use of it.

pub const SECOND: u8 = 0x00;
pub const SECOND_ALARM: u8 = 0x01;
pub const MINUTE: u8 = 0x02;
pub const MINUTE_ALARM: u8 = 0x03;
pub const HOUR: u8 = 0x04;
pub const HOUR_ALARM: u8 = 0x05;
pub const WEEKDAY: u8 = 0x06;
pub const DAY: u8 = 0x07;
pub const MONTH: u8 = 0x08;
pub const YEAR: u8 = 0x09;
pub const STATUS_A: u8 = 0x0a;
pub const STATUS_B: u8 = 0x0b;
pub const STATUS_C: u8 = 0x0c;
pub const STATUS_D: u8 = 0x0d;
/// What the BIOS does after a reset that software asked for.
pub const SHUTDOWN: usize = 0x0f;
pub const EQUIPMENT: usize = 0x14;
pub const BASE_MEMORY: usize = 0x15;
pub const EXTENDED_MEMORY: [usize; 2] = [0x17, 0x30];
pub const CHECKSUM: usize = 0x2e;
pub const CENTURY: u8 = 0x32;
pub const MEMORY_ABOVE_16M: usize = 0x34;
pub const MEMORY_ABOVE_4G: usize = 0x5b;
/// Processors beside the first, for SeaBIOS: it waits for the greater of this and what fw_cfg says.
pub const OTHER_PROCESSORS: usize = 0x5f;

/// Status A: update in progress.
pub const A_UPDATE: u8 = 0x80;
/// Status A: both set, the divider stands still; no second passes.
pub const A_DIVIDER_RESET: u8 = 0x60;
/// Status A: rate of the periodic interrupt; 0 is none.
pub const A_RATE: u8 = 0x0f;
/// Status A at power-on: 32 kHz crystal, 1024 Hz.
pub const A_DEFAULT: u8 = 0x26;
/// Status B: the clock stands still, to be set.
pub const B_SET: u8 = 0x80;
/// Status B: enables of the three interrupts; at the places of their flags in status C.
pub const B_INTERRUPTS: u8 = C_PERIODIC | C_ALARM | C_UPDATED;
/// Status B: square wave.
pub const B_SQUARE_WAVE: u8 = 0x08;
/// Status B: registers are binary, not BCD.
pub const B_BINARY: u8 = 0x04;
/// Status B: 24 hours, not 12 with a bit for the afternoon.
pub const B_24_HOURS: u8 = 0x02;
/// Status C: an enabled interrupt is pending.
pub const C_INTERRUPT: u8 = 0x80;
/// Status C: a period has passed.
pub const C_PERIODIC: u8 = 0x40;
/// Status C: the time was the alarm's.
pub const C_ALARM: u8 = 0x20;
/// Status C: a second has passed.
pub const C_UPDATED: u8 = 0x10;
/// Status D: battery and contents are good.
pub const D_VALID: u8 = 0x80;
/// Hour registers, 12 hours: afternoon.
pub const AFTERNOON: u8 = 0x80;
/// Alarm registers: both set, any value will do.
pub const ALARM_ANY: u8 = 0xc0;
