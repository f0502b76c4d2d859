// SPDX-License-Identifier: Apache-2.0
//! The disk: read all of it, write to it, come and go.

use super::{Reason, expect};
use crate::mem::zeros;
use crate::virtio::Interrupts;
use crate::virtio::blk::{Disk, Operation, Order};
use crate::{interrupts, println};

/// Sector that the pattern goes to.
const PATTERN_SECTOR: u64 = 3;

/// FNV-1a, 32 bits: few instructions for each byte.
pub fn fnv1a(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619))
}

/// Byte `offset` of the pattern that the host looks for.
fn pattern(offset: usize) -> u8 {
    (offset as u8).wrapping_mul(7) ^ 0x5a
}

pub fn run(index: usize, irq: Interrupts) -> Result<(), Reason> {
    let mut disk = Disk::open(index, irq)?;
    let mut data = zeros::<4096>();
    let mut hash = 2_166_136_261;
    let mut sector = 0;
    while sector < disk.sectors {
        let count = (disk.sectors - sector).min(8);
        let chunk = &mut data[..count as usize * 512];
        expect("status of a read", disk.request(Operation::Read, sector, chunk)?, 0u8)?;
        hash = fnv1a(hash, chunk);
        sector += count;
    }
    println!("GUEST disk sectors={} fnv1a={hash:08x}", disk.sectors);

    for (offset, byte) in data[..512].iter_mut().enumerate() {
        *byte = pattern(offset);
    }
    expect("status of a write", disk.request(Operation::Write, PATTERN_SECTOR, &mut data[..512])?, 0u8)?;
    expect("status of a flush", disk.request(Operation::Flush, 0, &mut [])?, 0u8)?;
    data[..512].fill(0);
    expect("status of a read", disk.request(Operation::Read, PATTERN_SECTOR, &mut data[..512])?, 0u8)?;
    if let Some(offset) = (0..512).find(|&offset| data[offset] != pattern(offset)) {
        return Err(Reason::Mismatch("byte of the pattern", data[offset].into(), pattern(offset).into()));
    }
    let past_the_end = disk.sectors;
    expect("status of a read past the end", disk.request(Operation::Read, past_the_end, &mut data[..512])?, 1u8)?;
    if irq != Interrupts::Polled {
        println!(
            "GUEST interrupts={} isr={:#x} spurious={}",
            disk.transport.interrupt_count(0),
            interrupts::isr_bits(),
            interrupts::spurious()
        );
    }
    disk.transport.reset();
    expect("status after the last reset", disk.transport.status(), 0u8)
}

/// A driver that waits for its disk before DRIVER_OK, in an order of that time.
pub fn early(irq: Interrupts, order: Order) -> Result<(), Reason> {
    let mut disk = Disk::open_early(irq, order)?;
    let own_status = if order == Order::NoStatus { 0 } else { 3u8 };
    let mut data = zeros::<512>();
    let mut hash = 2_166_136_261;
    for sector in 0..4 {
        if sector == 3 {
            disk.ready(order);
        }
        expect("status of a read", disk.request(Operation::Read, sector, &mut data)?, 0u8)?;
        expect("device status", disk.transport.status(), if sector == 3 { 7 } else { own_status })?;
        hash = fnv1a(hash, &data);
    }
    println!("GUEST early fnv1a={hash:08x}");
    disk.transport.reset();
    expect("status after the last reset", disk.transport.status(), 0u8)
}

/// The driver comes and goes `count` times and reads a sector each time.
pub fn reload(irq: Interrupts, count: u32) -> Result<(), Reason> {
    let mut data = zeros::<512>();
    for _ in 0..count {
        let mut disk = Disk::open(0, irq)?;
        expect("status of a read", disk.request(Operation::Read, 0, &mut data)?, 0u8)?;
        disk.transport.reset();
        if irq == Interrupts::Msix {
            disk.transport.function.enable_msix(false).ok_or("no MSI-X")?;
        }
    }
    println!("GUEST reloads={count}");
    Ok(())
}

/// Whether the pattern is on the disk already; puts it there otherwise. The disk is left running, as
/// a crashed kernel leaves it.
pub fn mark_was_there(irq: Interrupts) -> Result<bool, Reason> {
    let mut disk = Disk::open(0, irq)?;
    let mut data = zeros::<512>();
    expect("status of a read", disk.request(Operation::Read, PATTERN_SECTOR, &mut data)?, 0u8)?;
    if (0..512).all(|offset| data[offset] == pattern(offset)) {
        println!("GUEST came back");
        return Ok(true);
    }
    for (offset, byte) in data.iter_mut().enumerate() {
        *byte = pattern(offset);
    }
    expect("status of a write", disk.request(Operation::Write, PATTERN_SECTOR, &mut data)?, 0u8)?;
    expect("status of a flush", disk.request(Operation::Flush, 0, &mut [])?, 0u8)?;
    Ok(false)
}
