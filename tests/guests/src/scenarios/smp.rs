// SPDX-License-Identifier: Apache-2.0
//! All processors at the registers of one device at once.

use crate::mem::zeros;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use super::{Reason, expect};
use crate::port::{inb, inl, outw};
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::blk::{Disk, Operation};

static BASE: AtomicU16 = AtomicU16::new(0);
static FEATURES: AtomicU32 = AtomicU32::new(0);
static ROUNDS: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);
static FINISHED: AtomicU32 = AtomicU32::new(0);

/// Reads that must give the same on every processor, and kicks of a queue that has nothing to do.
fn hammer(processor: u32) {
    let base = BASE.load(Ordering::Acquire);
    for _ in 0..ROUNDS.load(Ordering::Acquire) {
        let wrong = inl(base) != FEATURES.load(Ordering::Relaxed) || inb(base + 18) & 4 == 0;
        if wrong {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
        outw(base + 16, if processor.is_multiple_of(2) { 0 } else { 9 });
    }
    FINISHED.fetch_add(1, Ordering::Release);
}

pub fn run(processors: u32, rounds: u32) -> Result<(), Reason> {
    let mut disk = Disk::open(0, Interrupts::Polled)?;
    BASE.store(disk.transport.port(0), Ordering::Release);
    FEATURES.store(disk.transport.features(), Ordering::Release);
    ROUNDS.store(rounds, Ordering::Release);
    crate::smp::start(processors - 1, hammer)?;
    hammer(0);
    // Meanwhile the disk is in use as well.
    let mut data = zeros::<512>();
    let mut reads = 0u32;
    while FINISHED.load(Ordering::Acquire) < processors {
        expect("status of a read", disk.request(Operation::Read, 0, &mut data)?, 0u8)?;
        reads += 1;
    }
    println!("GUEST smp processors={processors} rounds={rounds} reads={reads}");
    expect("wrong answers", WRONG.load(Ordering::Relaxed), 0u32)
}
