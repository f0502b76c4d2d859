// SPDX-License-Identifier: Apache-2.0
//! Load for benchmarks: `reads=N` reads of the status register, `kicks=N` notifications,
//! `bare=N` reads of a port that nobody decodes, each timed by the time-stamp counter.

use super::Reason;
use crate::cmdline::Cmdline;
use crate::port::{inb, outw};
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::blk::Disk;

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
    let (bare, reads, kicks) =
        (cmdline.number("bare", 1000), cmdline.number("reads", 1000), cmdline.number("kicks", 1000));
    let bare_cycles = cycles(bare, || {
        inb(0xed);
    });
    let read_cycles = cycles(reads, || {
        inb(base + 18);
    });
    let kick_cycles = cycles(kicks, || outw(base + 16, 0));
    println!("GUEST bench bare={bare_cycles} status={read_cycles} kick={kick_cycles}");
    disk.transport.reset();
    Ok(())
}
