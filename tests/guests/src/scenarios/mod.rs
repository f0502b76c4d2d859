// SPDX-License-Identifier: Apache-2.0
//! What the guest does, by the word `test=` of its command line.
//!
//! | test | what it shows |
//! | --- | --- |
//! | `hello` | it starts, prints, and powers off |
//! | `blk` | reads the whole disk, writes a pattern, flushes, reads it back |
//! | `early` | reads sectors before DRIVER_OK; `order=driver_ok\|features\|status` is what comes after the first ones |
//! | `net` | ARP and ping through the first network card |
//! | `bars` | moves the I/O BAR about, off, and onto another one |
//! | `sweep` | every offset and width of the I/O BAR, with garbage, then the disk still works |
//! | `smp` | all processors hammer the registers at once |
//! | `abuse` | broken rings, BARs on top of everything, MSI-X and chip garbage; the disk works after each |
//! | `beyond` | a buffer, then a ring where the guest has no memory; the disk works after a reset |
//! | `faults` | a DMA fault, a reset, and again, `count=` times |
//! | `quarrel` | processors switch, move and reset a device that another one uses |
//! | `reload` | the driver comes and goes many times |
//! | `bench` | reads of a register and notifications, timed: load for `scripts/bench` |
//! | `button` | sleeps until the power button is pressed |
//! | `chips` | the clock's three interrupts, a keyboard that answers by IRQ 1, CMOS memory and time over a reboot |
//! | `paused` | what its clocks say of a pause: `clock=run`, all of it; `clock=stop`, nothing, but for the time stamp counter with `tsc=any` |
//! | `cpuid` | prints what the processor says of itself |
//! | `crash` | executes an instruction stream that KVM cannot run |
//! | `spin`, `halt` | never ends, with interrupts closed: running, or halted |
//! | `reset` | resets the machine through the keyboard controller |
//! | `reboot` | leaves a mark on the disk and resets; finds it after the reboot |
//!
//! `irq=pic|ioapic|msix|poll` chooses how devices interrupt; `disk=N` the disk.

mod abuse;
mod bars;
mod bench;
mod beyond;
mod button;
mod chips;
mod cpuid;
mod disk;
mod network;
mod paused;
mod quarrel;
mod smp;
mod sweep;

use core::fmt;

use crate::cmdline::Cmdline;
use crate::interrupts;
use crate::port;
use crate::virtio::Interrupts;
use crate::virtio::blk::Order;

/// Why a scenario failed.
pub enum Reason {
    /// In words.
    Text(&'static str),
    /// What was seen and what was expected.
    Mismatch(&'static str, u64, u64),
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text}"),
            Self::Mismatch(what, seen, expected) => write!(f, "{what}: {seen:#x} instead of {expected:#x}"),
        }
    }
}

/// Fails unless `seen` is `expected`.
pub fn expect(what: &'static str, seen: impl Into<u64>, expected: impl Into<u64>) -> Result<(), Reason> {
    let (seen, expected) = (seen.into(), expected.into());
    if seen == expected { Ok(()) } else { Err(Reason::Mismatch(what, seen, expected)) }
}

/// Runs the scenario `name`.
pub fn run(name: &str, cmdline: &Cmdline) -> Result<(), Reason> {
    interrupts::init();
    let irq = match cmdline.value("irq").unwrap_or("poll") {
        "pic" => Interrupts::Pic,
        "ioapic" => Interrupts::IoApic,
        "msix" => Interrupts::Msix,
        _ => Interrupts::Polled,
    };
    let index = cmdline.number("disk", 0) as usize;
    match name {
        "hello" => Ok(()),
        "blk" => disk::run(index, irq),
        "early" => disk::early(irq, order(cmdline)?),
        "net" => network::run(irq, cmdline.number("count", 3)),
        "bars" => bars::run(irq),
        "sweep" => sweep::run(),
        "abuse" => abuse::run(cmdline.number("bytes", 0x4000)),
        "beyond" => beyond::run(),
        "faults" => beyond::fault_at_each_reset(cmdline.number("count", 100)),
        "quarrel" => quarrel::run(cmdline.number("cpus", 2), cmdline.number("count", 100)),
        "smp" => smp::run(cmdline.number("cpus", 1), cmdline.number("count", 200)),
        "reload" => disk::reload(irq, cmdline.number("count", 100)),
        "button" => button::run(irq),
        "chips" => chips::run(irq),
        "cpuid" => {
            cpuid::run();
            Ok(())
        }
        "paused" => paused::run(cmdline.value("clock") == Some("stop"), cmdline.value("tsc") == Some("any")),
        "bench" => bench::run(cmdline),
        "crash" => crash(),
        "spin" => loop {
            core::hint::spin_loop();
        },
        "halt" => loop {
            interrupts::halt_forever();
        },
        "reset" => reset(),
        "reboot" if disk::mark_was_there(irq)? => Ok(()),
        "reboot" => reset(),
        _ => Err("there is no such test".into()),
    }
}

/// What the driver of `test=early` has not written when it begins.
fn order(cmdline: &Cmdline) -> Result<Order, Reason> {
    match cmdline.value("order").unwrap_or_default() {
        "driver_ok" => Ok(Order::DriverOkLast),
        "features" => Ok(Order::FeaturesLast),
        "status" => Ok(Order::NoStatus),
        _ => Err("there is no such order".into()),
    }
}

/// The way every kernel knows.
fn reset() -> Result<(), Reason> {
    port::outb(0x64, 0xfe);
    Err("the machine did not reset".into())
}

/// A jump to memory that is not there: KVM can neither run nor emulate what it fetches.
fn crash() -> ! {
    // SAFETY: not safe at all; that is the point.
    unsafe { core::arch::asm!("jmp {}", in(reg) 0xd000_0000u64, options(noreturn)) }
}
