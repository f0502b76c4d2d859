// SPDX-License-Identifier: Apache-2.0
//! What firmware writes into the battery-backed memory each time the machine is switched on. The rest is the guest's.

use super::register;

/// Bytes of clock and memory.
pub(super) const SIZE: usize = 128;

/// Sizes, equipment, status registers and the checksum, for `below_4g` bytes of RAM from address 0 (the hole at 640 KiB
/// included) and `above_4g` bytes from 4 GiB. The shutdown code is cleared: a reset makes a new machine, whose memory
/// has nothing to go on with.
pub(super) fn write(memory: &mut [u8; SIZE], below_4g: u64, above_4g: u64) {
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
    memory[register::SHUTDOWN] = 0;
    memory[register::OTHER_PROCESSORS] = 0;
    // A coprocessor; no floppy disk, no display adapter.
    memory[register::EQUIPMENT] = 0x02;
    memory[usize::from(register::STATUS_A)] = register::A_DEFAULT;
    memory[usize::from(register::STATUS_B)] = register::B_24_HOURS;
    let sum: u16 = memory[0x10..register::CHECKSUM].iter().map(|byte| u16::from(*byte)).sum();
    memory[register::CHECKSUM..register::CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
}
