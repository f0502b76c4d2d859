// SPDX-License-Identifier: Apache-2.0
//! A pause from outside, as clocks show it: the real-time clock goes on, time stamp counter and ACPI's timer do as the
//! operator said.

use super::Reason;
use crate::port::inl;
use crate::{cmos, println};

/// ACPI's timer, and its ticks in a second.
const TIMER: u16 = 0x608;
const TIMER_HZ: u64 = 3_579_545;
/// A jump of the real-time clock of this many seconds is a pause: a host that is busy makes no such jumps.
const PAUSE: u8 = 4;

pub fn run(stops: bool, any_tsc: bool) -> Result<(), Reason> {
    next_second();
    let start = tsc();
    next_second();
    let second = tsc() - start;
    println!("GUEST goes by its clocks");
    let mut clocks = (tsc(), timer());
    let mut before = seconds();
    loop {
        // The other clocks are read around each look at this one, so that they have all of a pause between two looks.
        let clocks_next = (tsc(), timer());
        let now = seconds();
        let jump = (now + 60 - before) % 60;
        if jump >= PAUSE {
            let tsc_ran = tsc() - clocks.0 > second * 3;
            let timer_ran = u64::from(timer().wrapping_sub(clocks.1)) > TIMER_HZ * 3;
            println!("GUEST paused for {jump} s: TSC ran {tsc_ran}, timer ran {timer_ran}");
            let told = timer_ran != stops && (any_tsc || tsc_ran != stops);
            return if told { Ok(()) } else { Err("the clocks did not do as they were told".into()) };
        }
        (before, clocks) = (now, clocks_next);
    }
}

fn next_second() {
    let second = seconds();
    while seconds() == second {}
}

fn seconds() -> u8 {
    cmos::read_number(cmos::SECOND)
}

fn timer() -> u32 {
    inl(TIMER)
}

fn tsc() -> u64 {
    // SAFETY: every processor with long mode has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}
