// SPDX-License-Identifier: Apache-2.0
//! A driver that breaks every rule, on one processor: rings, BARs, MSI-X and chips. After each of them
//! the disk still works.

use super::{Reason, expect};
use crate::mem::zeros;
use crate::pci::{COMMAND_IO, COMMAND_MEMORY, Function};
use crate::port::{inb, inl, insb, inw, outb, outl, outsb, outw};
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::blk::{Disk, Operation};
use crate::virtio::ring::{NEXT, Ring, WRITE};

/// Descriptor flag of a table of descriptors, which nobody negotiated.
const INDIRECT: u16 = 4;

/// Numbers without rhyme, the same each time (xorshift).
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

fn the_disk_works(after: &str) -> Result<(), Reason> {
    let mut disk = Disk::open(0, Interrupts::Polled)?;
    expect("status of a read", disk.request(Operation::Read, 0, &mut zeros::<512>())?, 0u8)?;
    disk.transport.reset();
    println!("GUEST the disk works after {after}");
    Ok(())
}

/// A descriptor: address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

/// Chains that no driver would make; descriptor 1 goes on to descriptor 2, a good status byte.
const BAD_CHAINS: &[[Descriptor; 2]] = &[
    [(0xdead_beef_0000, 16, NEXT, 1), (0x20_0000, 512, NEXT | WRITE, 2)],
    [(u64::MAX - 7, 16, NEXT, 1), (0x20_0000, 512, NEXT | WRITE, 2)],
    [(0, u32::MAX, NEXT, 1), (0, u32::MAX, NEXT | WRITE, 2)],
    [(0x1000, 16, NEXT, 0), (0, 0, 0, 0)],
    [(0x1000, 16, NEXT, 1), (0x20_0000, 512, NEXT | WRITE, 0)],
    [(0x1000, 16, NEXT, 0xfff0), (0, 0, 0, 0)],
    [(0x1000, 16, NEXT | INDIRECT, 1), (0x20_0000, 512, NEXT | WRITE, 2)],
    [(0x1000, 16, NEXT | WRITE, 1), (0x20_0000, 512, NEXT, 2)],
    [(0x1000, 0, NEXT, 1), (0x20_0000, 0, NEXT | WRITE, 2)],
    [(0x1000, 1, 0, 0), (0, 0, 0, 0)],
    [(0x1000, 16, NEXT, 1), (0xfee0_0000, 4096, NEXT | WRITE, 2)],
    [(0x1000, 16, NEXT, 1), (0xc000_0000, 512, NEXT | WRITE, 2)],
    [(0x1000, 16, NEXT, 1), (0x3ff_fff0, 512, NEXT | WRITE, 2)],
    [(0x1000, 16, NEXT, 1), (0x20_0000, 511, NEXT | WRITE, 2)],
    [(0x1000, 16, 0xffff, 1), (0x20_0000, 512, 0xffff, 2)],
];

fn bad_chains(function: Function, queue: u16) {
    let base = function.io_base();
    for bad in BAD_CHAINS {
        let mut ring = set_up(base, queue);
        let status = [0xffu8];
        for (index, (address, length, flags, next)) in (0..).zip(bad) {
            ring.describe(index, *address as *const u8, *length, *flags, *next);
        }
        ring.describe(2, status.as_ptr(), 1, WRITE, 0);
        ring.publish(0);
        outw(base + 16, queue);
        linger();
        outb(base + 18, 0);
    }
}

/// Heads out of range, and an index that runs ahead of the ring.
fn bad_rings(function: Function, queue: u16) {
    let base = function.io_base();
    for head in [256, 0x7fff, 0xffff] {
        let mut ring = set_up(base, queue);
        ring.publish(head);
        outw(base + 16, queue);
        linger();
        outb(base + 18, 0);
    }
    let mut ring = set_up(base, queue);
    for _ in 0..1000 {
        ring.publish(0);
    }
    outw(base + 16, queue);
    linger();
    outb(base + 18, 0);
    // The rings, or a part of them, where there is no memory: 64 MiB are 0x4000 pages.
    for frame in [0x3fff, 0x3ffe, 0x4000, 0xa0, 0xfee00, 0xfec00, 0xf_ffff, u32::MAX, 0x8000_0000] {
        outb(base + 18, 3);
        outw(base + 14, queue);
        outl(base + 8, frame);
        outb(base + 18, 7);
        outw(base + 16, queue);
        linger();
        outl(base + 8, frame ^ 1);
        outw(base + 16, queue);
        outb(base + 18, 0);
    }
}

fn set_up(base: u16, queue: u16) -> Ring {
    outb(base + 18, 0);
    outb(base + 18, 3);
    let mut ring = Ring::new(3);
    outw(base + 14, queue);
    // A size it refuses leaves the ring at 0, and then there is nothing to break.
    let _ = ring.set_size(inw(base + 12));
    outl(base + 8, ring.frame_number());
    outb(base + 18, 7);
    ring
}

fn linger() {
    for _ in 0..20 {
        inb(0x80);
    }
}

fn rings() -> Result<(), Reason> {
    for (device_type, queues) in [(2, 1), (1, 2)] {
        let Some(function) = Function::find(device_type, 0) else { continue };
        function.set_command(COMMAND_IO | COMMAND_MEMORY);
        for queue in 0..queues {
            bad_chains(function, queue);
            bad_rings(function, queue);
        }
    }
    the_disk_works("bad rings")
}

/// I/O BARs on the fixed devices, the ends of the port space, and onto nothing.
fn io_bars(function: Function) -> Result<(), Reason> {
    let home = function.io_base();
    for base in [0, 0x20, 0x40, 0x60, 0x80, 0xa0, 0x380, 0x600, 0xc80, 0xcf8, 0xff80, 0xffff] {
        function.set_io_base(base);
        outw((base & !0x7f).wrapping_add(16), 0);
        inb(function.io_base().wrapping_add(18));
        expect("the identity behind a BAR on top of it", function.read16(0), 0x1af4u16)?;
    }
    for value in [u32::MAX, 0xffff_0001, 0x0001_0001, 0x8000_c001, 2] {
        function.write32(0x10, value);
        inl(function.io_base());
    }
    function.set_io_base(home);
    the_disk_works("I/O BARs everywhere")
}

/// Memory BARs over memory, the APICs, each other and the ends of the address space.
fn memory_bars(function: Function) -> Result<(), Reason> {
    let mut homes = zeros::<24>();
    for register in 0..6u8 {
        let value = function.read32(0x10 + register * 4);
        homes[usize::from(register) * 4..][..4].copy_from_slice(&value.to_le_bytes());
    }
    for low in [0x0010_0000, 0x0020_0000, 0xfee0_0000, 0xfec0_0000, 0xffff_f000, 0, u32::MAX, 0x8000_0000] {
        for high in [0, 1, u32::MAX] {
            for register in 1..6 {
                function.write32(0x10 + register * 4, if register % 2 == 0 { low } else { high });
                function.write32(0x10 + register * 4, low);
            }
            for register in 1..6 {
                function.write32(0x10 + register * 4, high);
            }
        }
        touch(0xc000_0000);
    }
    for (register, value) in (0..6).zip(homes.chunks_exact(4)) {
        let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        function.write32(0x10 + register * 4, value);
    }
    the_disk_works("memory BARs everywhere")
}

/// Every width, aligned or not, at an address without memory behind it.
fn touch(address: usize) {
    for offset in 0..9 {
        let at = address + offset;
        // SAFETY: no memory of this program; inside the identity map.
        unsafe {
            core::arch::asm!("mov {0:l}, [{1}]", out(reg) _, in(reg) at, options(nostack));
            core::arch::asm!("mov {0:x}, [{1}]", out(reg) _, in(reg) at, options(nostack));
            core::arch::asm!("mov {0}, [{1}]", out(reg) _, in(reg) at, options(nostack));
            core::arch::asm!("mov [{1}], {0:e}", in(reg) 0x1234_5678u32, in(reg) at, options(nostack));
            core::arch::asm!("mov [{1}], {0:x}", in(reg) 0xffffu32, in(reg) at, options(nostack));
            core::arch::asm!("mov [{1}], {0}", in(reg) u64::MAX, in(reg) at, options(nostack));
        }
    }
}

/// Every width at every few bytes of every memory BAR, of the modern interface too if it shows.
fn inside_memory_bars(function: Function) -> Result<(), Reason> {
    for bar in 1..6 {
        let register = function.read32(0x10 + bar * 4);
        let base = function.memory_base(bar);
        if register == 0 || register & 1 != 0 || !(0xc000_0000..0xfec0_0000).contains(&base) {
            continue;
        }
        for offset in (0..0x400).step_by(61) {
            touch(base + offset);
        }
        touch(base + 0xff8);
    }
    the_disk_works("accesses of all widths to memory BARs")
}

fn msix(function: Function) -> Result<(), Reason> {
    let capability = function.capability(0x11).ok_or("no MSI-X")?;
    let table = function.read32(capability + 4);
    let entries = function.memory_base((table & 7) as u8) + (table & !7) as usize;
    let base = function.io_base();
    for address in [0, 0xfee0_0000, 0xfeef_fffc, 0xffff_ffff, 0xfee0_0003, 0x1000, 0xfec0_0000] {
        for high in [0, 1, u32::MAX] {
            for vector in 0..4usize {
                for (word, value) in [address, high, 0xffff_ffff, 0].into_iter().enumerate() {
                    // SAFETY: the function's MSI-X table, identity-mapped.
                    unsafe { core::ptr::write_volatile((entries + vector * 16 + word * 4) as *mut u32, value) };
                }
            }
            function.enable_msix(true);
            for vector in [0, 1, 7, 0x7fff, 0xfffe, 0xffff] {
                outw(base + 20, vector);
                outw(base + 14, 0);
                outw(base + 22, vector);
                inl(base + 20);
            }
            inside_the_disk(function);
            function.enable_msix(false);
        }
    }
    function.write16(capability + 2, 0xffff);
    function.write16(capability + 2, 0);
    the_disk_works("MSI-X garbage")
}

/// A read of the disk with whatever interrupts it has now; nobody waits for any.
fn inside_the_disk(function: Function) {
    let base = function.io_base();
    let mut ring = set_up(base, 0);
    outw(base + 20, 0);
    outw(base + 22, 1);
    let (header, mut data, status) = (zeros::<16>(), zeros::<512>(), [0xffu8]);
    ring.describe(0, header.as_ptr(), 16, NEXT, 1);
    ring.describe(1, data.as_mut_ptr(), 512, NEXT | WRITE, 2);
    ring.describe(2, status.as_ptr(), 1, WRITE, 0);
    ring.publish(0);
    outw(base + 16, 0);
    linger();
    outb(base + 18, 0);
}

/// Long string instructions: each byte is an access of its own.
fn strings(function: Function, bytes: u32) -> Result<(), Reason> {
    let base = function.io_base();
    // SAFETY: 64 KiB of main memory that the scenario has to itself.
    let buffer = unsafe { core::slice::from_raw_parts_mut(0x30_0000 as *mut u8, bytes as usize) };
    for offset in [0, 4, 8, 16, 18, 40] {
        insb(base + offset, buffer);
        outsb(base + offset, buffer);
    }
    outb(base + 18, 0);
    the_disk_works("long string instructions")
}

/// The chips, but for what resets the machine or switches it off.
fn chips() -> Result<(), Reason> {
    let mut random = Random(0x1d87_2b41);
    for _ in 0..4000 {
        let (value, pick) = (random.next(), random.next());
        match pick % 8 {
            0 => outb(0x70, value as u8),
            1 => outb(0x71, value as u8),
            2 => drop(inb(0x71)),
            // Commands from 0xf0 on pulse the reset line, 0xd1 writes it.
            3 if (value as u8) < 0xd0 => outb(0x64, value as u8),
            4 => outb(0x60, value as u8),
            5 => drop((inb(0x60), inb(0x64), inw(0x60), inl(0x60), inl(0x70))),
            6 => outw(0x602, value as u16),
            // Every sleep type but 5 (S5), and type 5 without the enable bit.
            7 if value >> 10 & 7 != 5 => outw(0x604, value as u16),
            7 => outw(0x604, value as u16 & !(1 << 13)),
            _ => {}
        }
    }
    outw(0x604, 0);
    the_disk_works("garbage for the chips")
}

/// Configuration mechanism 1 at any width and any address.
fn configuration_ports() -> Result<(), Reason> {
    let mut random = Random(0x7733_1199);
    for _ in 0..4000 {
        let (value, pick) = (random.next(), random.next());
        match pick % 8 {
            0 => outl(0xcf8, value | 1 << 31),
            // Functions and buses that are not there, where writes must go nowhere.
            1 => outl(0xcf8, value | 1 << 31 | 1 << 16),
            2 => outw(0xcf8 + (pick >> 8 & 7) as u16, value as u16),
            3 => drop((inb(0xcf8), inw(0xcf9), inl(0xcfa), inl(0xcfd))),
            4 => drop((inl(0xcfc), inw(0xcfd), inb(0xcff), inw(0xcff))),
            5 => {
                outl(0xcf8, 1 << 31 | 1 << 16 | value & 0xfffc);
                outl(0xcfc, random.next());
            }
            6 => {
                // The host bridge.
                outl(0xcf8, 1 << 31 | value & 0xfc);
                outl(0xcfc, random.next());
            }
            _ => outl(0xcf8, value & !(1 << 31)),
        }
    }
    the_disk_works("garbage for the configuration ports")
}

pub fn run(string_bytes: u32) -> Result<(), Reason> {
    let disk = Function::find(2, 0).ok_or("no disk")?;
    disk.set_command(COMMAND_IO | COMMAND_MEMORY);
    rings()?;
    io_bars(disk)?;
    memory_bars(disk)?;
    inside_memory_bars(disk)?;
    msix(disk)?;
    strings(disk, string_bytes)?;
    chips()?;
    configuration_ports()
}
