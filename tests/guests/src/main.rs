// SPDX-License-Identifier: Apache-2.0
//! A bare-metal guest with legacy virtio drivers of its own.
//!
//! The kernel command line chooses what it does: `test=blk irq=msix` and so on, see
//! [`scenarios`]. It prints `GUEST-OK name` or `GUEST-FAIL reason` and powers the machine off.
//! Guest ring 0 may be emulated at a million instructions a second, so it does no more than it must.
#![no_std]
#![no_main]

mod cmdline;
mod cmos;
mod console;
mod interrupts;
mod mem;
mod pci;
mod port;
mod scenarios;
mod smp;
mod start;
mod virtio;

use cmdline::Cmdline;

/// What [`start`] calls, on the boot processor, with the address of the zero page.
extern "C" fn guest_main(zero_page: usize) -> ! {
    // SAFETY: the VMM enters with RSI pointing to a zero page below 4 GiB, which is mapped.
    let cmdline = unsafe { Cmdline::from_zero_page(zero_page) };
    let name = cmdline.value("test").unwrap_or("hello");
    match scenarios::run(name, &cmdline) {
        Ok(()) => println!("GUEST-OK {name}"),
        Err(reason) => println!("GUEST-FAIL {name}: {reason}"),
    }
    power_off()
}

/// ACPI S5 through the PM1a control register.
fn power_off() -> ! {
    port::outw(0x604, 5 << 10 | 1 << 13);
    loop {
        interrupts::halt_forever();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    println!("GUEST-FAIL panic: {info}");
    power_off()
}

/// The prebuilt `core` refers to it; nothing here unwinds.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}
