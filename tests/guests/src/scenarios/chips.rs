// SPDX-License-Identifier: Apache-2.0
//! The main board's chips: the clock interrupts, the keyboard answers, and what the clock was told is there after a
//! reset of the machine.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{Reason, expect, reset};
use crate::cmos::{SECOND, bcd, read, read_number, write};
use crate::interrupts;
use crate::port::{inb, outb};
use crate::println;
use crate::virtio::Interrupts;

const KEYBOARD_IRQ: u8 = 1;
const CLOCK_IRQ: u8 = 8;

/// Registers of the clock.
const SECOND_ALARM: u8 = 1;
const MINUTE_ALARM: u8 = 3;
const HOUR_ALARM: u8 = 5;
const YEAR: u8 = 9;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const SHUTDOWN: u8 = 0x0f;
/// Memory that no firmware uses.
const MARK: u8 = 0x51;
/// A year that no host has, and that has all days.
const SOME_YEAR: u8 = 0x76;

/// Interrupts of the clock that were acknowledged.
static SEEN: AtomicU32 = AtomicU32::new(0);

pub fn run(irq: Interrupts) -> Result<(), Reason> {
    if read(MARK) == 0x5a {
        expect("year after the reset", read(YEAR), SOME_YEAR)?;
        return expect("shutdown code after the reset", read(SHUTDOWN), 0u8);
    }
    keyboard(vector(irq, KEYBOARD_IRQ)?)?;
    clock(vector(irq, CLOCK_IRQ)?)?;
    write(MARK, 0x5a);
    write(YEAR, SOME_YEAR);
    write(SHUTDOWN, 0x0a);
    reset()
}

/// Opens an ISA interrupt, and says where it is counted.
fn vector(irq: Interrupts, line: u8) -> Result<u8, Reason> {
    match irq {
        Interrupts::Pic => {
            interrupts::unmask_pic(line);
            Ok(interrupts::PIC_BASE + line)
        }
        Interrupts::IoApic => {
            interrupts::unmask_ioapic_isa(line);
            Ok(interrupts::APIC_BASE + line)
        }
        _ => Err("ISA interrupts come through the PICs or the I/O APIC".into()),
    }
}

/// "Identify" is answered with three bytes, and an interrupt for each.
fn keyboard(vector: u8) -> Result<(), Reason> {
    let before = interrupts::count(vector);
    outb(0x60, 0xf2);
    // Not by an iterator of an array, which is moved by SSE: not every KVM knows that.
    expect("acknowledgement", answer(vector, before + 1), 0xfau8)?;
    expect("first byte of the id", answer(vector, before + 2), 0xabu8)?;
    expect("second byte of the id", answer(vector, before + 3), 0x41u8)?;
    expect("interrupts of the keyboard", interrupts::count(vector) - before, 3u32)?;
    println!("GUEST has a keyboard");
    Ok(())
}

/// The byte that comes with interrupt `count`.
fn answer(vector: u8, count: u32) -> u8 {
    interrupts::wait_until(|| interrupts::count(vector) >= count);
    inb(0x60)
}

fn clock(vector: u8) -> Result<(), Reason> {
    read(STATUS_C);
    write(STATUS_B, 0x42);
    for _ in 0..20 {
        expect("periodic interrupt", next(vector) & 0xc0, 0xc0u8)?;
    }
    write(STATUS_B, 0x02);
    read(STATUS_C);
    let second = read(SECOND);
    write(STATUS_B, 0x12);
    expect("update interrupt", next(vector) & 0x90, 0x90u8)?;
    if read(SECOND) == second {
        return Err("an update interrupt without an update".into());
    }
    write(STATUS_B, 0x02);
    read(STATUS_C);
    let second = bcd((read_number(SECOND) + 2) % 60);
    write(SECOND_ALARM, second);
    write(MINUTE_ALARM, 0xff);
    write(HOUR_ALARM, 0xff);
    write(STATUS_B, 0x22);
    expect("alarm interrupt", next(vector) & 0xa0, 0xa0u8)?;
    write(STATUS_B, 0x02);
    println!("GUEST has a clock that interrupts");
    Ok(())
}

/// Waits for one interrupt of the clock, and acknowledges it.
fn next(vector: u8) -> u8 {
    loop {
        let before = SEEN.load(Ordering::Relaxed);
        interrupts::wait_until(|| interrupts::count(vector) != before);
        SEEN.store(interrupts::count(vector), Ordering::Relaxed);
        let flags = read(STATUS_C);
        // The controllers keep an edge that came before the interrupt was disabled.
        if flags & 0x80 != 0 {
            return flags;
        }
    }
}
