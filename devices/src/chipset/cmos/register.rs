// SPDX-License-Identifier: Apache-2.0
//! Numbers and bits of the clock's registers, and where a PC's firmware keeps what in the memory behind them.
//! Sources: MC146818 data sheet; for the memory Ralf Brown's CMOS list and SeaBIOS's use of it.

pub(super) const SECOND: u8 = 0x00;
pub(super) const SECOND_ALARM: u8 = 0x01;
pub(super) const MINUTE: u8 = 0x02;
pub(super) const MINUTE_ALARM: u8 = 0x03;
pub(super) const HOUR: u8 = 0x04;
pub(super) const HOUR_ALARM: u8 = 0x05;
pub(super) const WEEKDAY: u8 = 0x06;
pub(super) const DAY: u8 = 0x07;
pub(super) const MONTH: u8 = 0x08;
pub(super) const YEAR: u8 = 0x09;
pub(super) const STATUS_A: u8 = 0x0a;
pub(super) const STATUS_B: u8 = 0x0b;
pub(super) const STATUS_C: u8 = 0x0c;
pub(super) const STATUS_D: u8 = 0x0d;
/// What the BIOS does after a reset that software asked for.
pub(super) const SHUTDOWN: usize = 0x0f;
pub(super) const EQUIPMENT: usize = 0x14;
pub(super) const BASE_MEMORY: usize = 0x15;
pub(super) const EXTENDED_MEMORY: [usize; 2] = [0x17, 0x30];
pub(super) const CHECKSUM: usize = 0x2e;
pub(super) const CENTURY: u8 = 0x32;
pub(super) const MEMORY_ABOVE_16M: usize = 0x34;
pub(super) const MEMORY_ABOVE_4G: usize = 0x5b;
/// Processors beside the first, for SeaBIOS: it waits for the greater of this and what fw_cfg says.
pub(super) const OTHER_PROCESSORS: usize = 0x5f;

/// Status A: update in progress.
pub(super) const A_UPDATE: u8 = 0x80;
/// Status A: both set, the divider stands still; no second passes.
pub(super) const A_DIVIDER_RESET: u8 = 0x60;
/// Status A: rate of the periodic interrupt; 0 is none.
pub(super) const A_RATE: u8 = 0x0f;
/// Status A at power-on: 32 kHz crystal, 1024 Hz.
pub(super) const A_DEFAULT: u8 = 0x26;
/// Status B: the clock stands still, to be set.
pub(super) const B_SET: u8 = 0x80;
/// Status B: enables of the three interrupts; at the places of their flags in status C.
pub(super) const B_INTERRUPTS: u8 = C_PERIODIC | C_ALARM | C_UPDATED;
/// Status B: square wave.
pub(super) const B_SQUARE_WAVE: u8 = 0x08;
/// Status B: registers are binary, not BCD.
pub(super) const B_BINARY: u8 = 0x04;
/// Status B: 24 hours, not 12 with a bit for the afternoon.
pub(super) const B_24_HOURS: u8 = 0x02;
/// Status C: an enabled interrupt is pending.
pub(super) const C_INTERRUPT: u8 = 0x80;
/// Status C: a period has passed.
pub(super) const C_PERIODIC: u8 = 0x40;
/// Status C: the time was the alarm's.
pub(super) const C_ALARM: u8 = 0x20;
/// Status C: a second has passed.
pub(super) const C_UPDATED: u8 = 0x10;
/// Status D: battery and contents are good.
pub(super) const D_VALID: u8 = 0x80;
/// Hour registers, 12 hours: afternoon.
pub(super) const AFTERNOON: u8 = 0x80;
/// Alarm registers: both set, any value will do.
pub(super) const ALARM_ANY: u8 = 0xc0;
