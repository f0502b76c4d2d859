// SPDX-License-Identifier: Apache-2.0
//! Processors that pull one device apart: MSI-X and decoding on and off, moves, resets and ISR reads
//! while another one uses it.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{Reason, expect};
use crate::mem::zeros;
use crate::pci::{COMMAND_IO, COMMAND_MEMORY, Function};
use crate::port::{inb, inl, inw, outb, outl, outw};
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::blk::{Disk, Operation};

static ROUNDS: AtomicU32 = AtomicU32::new(0);
static FINISHED: AtomicU32 = AtomicU32::new(0);

/// What the other processors do, each its own; the configuration ports belong to the second.
fn disturb(processor: u32) {
    let Some(home) = base() else { return };
    for round in 0..ROUNDS.load(Ordering::Acquire) {
        match processor {
            1 => shift(home, round),
            2 => {
                // Resets and ISR reads, wherever the registers are just now.
                outb(home + 18, if round % 4 == 0 { 0 } else { 7 });
                inb(home + 19);
            }
            _ => {
                outw(home + 16, (round % 3) as u16);
                inb(home + 19);
                inl(home + 20);
            }
        }
    }
    FINISHED.fetch_add(1, Ordering::Release);
}

static BASE: AtomicU32 = AtomicU32::new(0);

fn base() -> Option<u16> {
    Some(BASE.load(Ordering::Acquire) as u16).filter(|base| *base != 0)
}

fn shift(home: u16, round: u32) {
    let Some(function) = Function::find(2, 0) else { return };
    match round % 6 {
        0 => drop(function.enable_msix(true)),
        1 => drop(function.enable_msix(false)),
        2 => function.set_command(COMMAND_MEMORY),
        3 => function.set_command(COMMAND_IO | COMMAND_MEMORY),
        4 => function.set_io_base(0xd000),
        _ => function.set_io_base(home),
    }
}

pub fn run(processors: u32, rounds: u32) -> Result<(), Reason> {
    let disk = Disk::open(0, Interrupts::Polled)?;
    let function = disk.transport.function;
    let home = function.io_base();
    BASE.store(home.into(), Ordering::Release);
    ROUNDS.store(rounds, Ordering::Release);
    crate::smp::start(processors - 1, disturb)?;
    let mut passes = 0u32;
    while FINISHED.load(Ordering::Acquire) < processors - 1 {
        // A driver's set-up, again and again, with what it reads not to be trusted.
        outb(home + 18, 0);
        outb(home + 18, 3);
        outw(home + 14, 0);
        inw(home + 12);
        outl(home + 8, disk.ring_frame());
        outb(home + 18, 7);
        outw(home + 16, 0);
        passes += 1;
    }
    // The registers are where the second processor left them.
    function.set_io_base(home);
    function.set_command(COMMAND_IO | COMMAND_MEMORY);
    function.enable_msix(false);
    let mut disk = Disk::open(0, Interrupts::Polled)?;
    expect("status of a read", disk.request(Operation::Read, 0, &mut zeros::<512>())?, 0u8)?;
    disk.transport.reset();
    println!("GUEST quarrel processors={processors} rounds={rounds} passes={passes}");
    Ok(())
}
