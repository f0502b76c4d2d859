// SPDX-License-Identifier: Apache-2.0
//! Load for benchmarks: reads of a port that nobody decodes, reads of the status register, and
//! notifications, `count=N` of each in a round, timed by the time-stamp counter.

use super::Reason;
use crate::cmdline::Cmdline;
use crate::port::{inb, outw};
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::blk::Disk;

/// Rounds. The quietest of them counts: other work on the machine only ever adds.
const ROUNDS: u32 = 20;

/// Cycles of one `work`, in a round of `count`.
fn cycles(count: u32, mut work: impl FnMut()) -> u64 {
    // SAFETY: reads a counter.
    let now = || unsafe { core::arch::x86_64::_rdtsc() };
    let start = now();
    for _ in 0..count {
        work();
    }
    (now() - start) / u64::from(count.max(1))
}

pub fn run(cmdline: &Cmdline) -> Result<(), Reason> {
    let disk = Disk::open(0, Interrupts::Polled)?;
    let base = disk.transport.port(0);
    let count = cmdline.number("count", 100);
    let (mut bare, mut status, mut kick) = (u64::MAX, u64::MAX, u64::MAX);
    // In turns, so that all three see the same moments of the machine.
    for _ in 0..ROUNDS {
        bare = bare.min(cycles(count, || {
            inb(0xed);
        }));
        status = status.min(cycles(count, || {
            inb(base + 18);
        }));
        kick = kick.min(cycles(count, || outw(base + 16, 0)));
    }
    println!("GUEST bench bare={bare} status={status} kick={kick}");
    disk.transport.reset();
    Ok(())
}
