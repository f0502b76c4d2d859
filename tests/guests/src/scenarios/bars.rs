// SPDX-License-Identifier: Apache-2.0
//! I/O BARs on the move.

use super::{Reason, expect};
use crate::mem::zeros;
use crate::pci::{COMMAND_IO, Function};
use crate::port::{inb, inl};
use crate::virtio::Interrupts;
use crate::virtio::blk::{Disk, Operation};
use crate::{interrupts, println};

fn read_a_sector(disk: &mut Disk) -> Result<(), Reason> {
    // The ISR has moved with the BAR. Interrupts are closed until the request waits.
    interrupts::acknowledge_at(disk.transport.port(19));
    let mut data = zeros::<512>();
    expect("status of a read", disk.request(Operation::Read, 0, &mut data)?, 0u8)
}

pub fn run(irq: Interrupts) -> Result<(), Reason> {
    let mut disk = Disk::open(0, irq)?;
    let function = disk.transport.function;
    let home = function.io_base();
    let features = inl(home);
    let command = function.command();

    function.write32(0x10, 0xffff_ffff);
    expect("size mask of a 128-byte I/O BAR", function.read32(0x10), 0xffff_ff81u32)?;
    function.set_io_base(home);

    // Elsewhere, with a kick each time so that notifications follow the BAR.
    for base in [0xd000, 0xe080, 0xff80, 0x1000] {
        function.set_io_base(base);
        expect("features at the new base", inl(base), features)?;
        expect("features at the old base", inl(home), u32::MAX)?;
        read_a_sector(&mut disk)?;
    }

    function.set_command(command & !COMMAND_IO);
    expect("features with I/O decoding off", inl(0x1000), u32::MAX)?;
    function.set_command(command);
    expect("features with I/O decoding on", inl(0x1000), features)?;

    // Onto the serial port: fixed devices stay where they are, and the console goes on.
    function.set_io_base(0x380);
    println!("GUEST the console survives a BAR on top of it");
    function.set_io_base(home);

    // Onto the BAR of another device, and back.
    if let Some(other) = Function::find(1, 0) {
        let their_base = other.io_base() & !0x7f;
        other.set_command(other.command() | COMMAND_IO);
        function.set_io_base(their_base);
        inb(their_base + 18);
        function.set_io_base(home);
        expect("status of the other device", inb(other.io_base() + 18), 0u8)?;
    }
    read_a_sector(&mut disk)?;
    disk.transport.reset();
    Ok(())
}
