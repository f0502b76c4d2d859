// SPDX-License-Identifier: Apache-2.0
//! Garbage: every offset and width of every I/O BAR, before and after set-up.

use super::{Reason, expect};
use crate::mem::zeros;
use crate::pci::{COMMAND_IO, COMMAND_MEMORY, Function};
use crate::port::{inb, inl, insb, inw, outb, outl, outsb, outw};
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::blk::{Disk, Operation};

fn read_all(base: u16, size: u16) {
    for port in base..base + size {
        inb(port);
        inw(port);
        inl(port);
    }
    insb(base, &mut zeros::<8>());
}

fn write_all(base: u16, size: u16, value: u32) {
    for port in base..base + size {
        outb(port, value as u8);
        outw(port, value as u16);
        outl(port, value);
    }
    outsb(base + 14, &[1, 2, 3, 4]);
}

fn device(function: Function, size: u16) {
    function.set_command(COMMAND_IO | COMMAND_MEMORY);
    let base = function.io_base();
    // Kicks before any set-up, of queues that are and that are not.
    for queue in [0, 1, 2, 700, 0xffff] {
        outw(base + 16, queue);
    }
    read_all(base, size);
    for value in [0, 0xffff_ffff, 0x8000_0000, 0x0000_0001, 0x1234_5678] {
        write_all(base, size, value);
        read_all(base, size);
    }
    // Queues at addresses that are not memory, kicked, with the driver "ready".
    for frame in [0xffff_ffff, 0x000c_0000, 0x00ff_fff0, 1] {
        outb(base + 18, 0);
        outb(base + 18, 3);
        for queue in [0, 1, 2, 0xffff] {
            outw(base + 14, queue);
            outl(base + 8, frame);
            outb(base + 18, 7);
            outw(base + 16, queue);
        }
    }
    outb(base + 18, 0);
    // The configuration space, with the same love.
    for offset in (0..=0xfc).step_by(4) {
        function.read32(offset);
        if offset != 4 && !(0x10..0x28).contains(&offset) {
            function.write32(offset, 0xffff_ffff);
            function.write32(offset, 0);
        }
    }
    outb(base + 18, 0);
}

pub fn run() -> Result<(), Reason> {
    for (device_type, size) in [(2, 128), (1, 64)] {
        if let Some(function) = Function::find(device_type, 0) {
            device(function, size);
        }
    }
    println!("GUEST swept");
    let mut disk = Disk::open(0, Interrupts::Polled)?;
    expect("status of a read", disk.request(Operation::Read, 0, &mut zeros::<512>())?, 0u8)?;
    disk.transport.reset();
    Ok(())
}
