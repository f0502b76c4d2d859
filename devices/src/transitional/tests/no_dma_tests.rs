// SPDX-License-Identifier: Apache-2.0
//! F10: after the guest's reset retires, its memory is its own. The VF is kicked all the time, behind
//! the VMM's back, with a ring that always has another buffer, and there is a way for each reset.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::admin::faulty::{Fault, Rule};
use crate::bus::Width;
use crate::contract::mock::wait_until;
use crate::soft_pf::{Quirks, VfQuirks};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::faulty_stack::{DATA, QUEUE, RING, STATUS, Setup, Stack};

const DOORBELL: u64 = 0x3000;
const ROUNDS: u64 = 40;
/// Kicks after which a VF that was going to write would have done so.
const WATCH: u64 = 200;
const AVAIL: u64 = RING + 16 * QUEUE as u64;

/// Offers the same buffer again and again and kicks the VF itself, without end.
struct Storm {
    stop: Arc<AtomicBool>,
    kicks: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn new(stack: &Stack) -> Self {
        let (stop, kicks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (memory, vf) = (stack.memory.clone(), stack.vf.clone());
        let (stopped, count) = (stop.clone(), kicks.clone());
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                let next: u16 = memory.read_obj(GuestAddress(AVAIL + 2)).unwrap();
                memory.write_obj(next.wrapping_add(1), GuestAddress(AVAIL + 2)).unwrap();
                vf.region_write(2, DOORBELL, Width::B2, 0).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(20)); // Clock: the pace of the storm.
            }
        };
        Self { stop, kicks, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

/// All that the VF writes: used ring, data, status.
fn written(memory: &GuestMemoryMmap) -> Vec<u8> {
    let used = (RING + 18 * u64::from(QUEUE) + 6).next_multiple_of(4096);
    let mut all = vec![0; 4096 + 512 + 1];
    memory.read_slice(&mut all[..4096], GuestAddress(used)).unwrap();
    memory.read_slice(&mut all[4096..4608], GuestAddress(DATA)).unwrap();
    memory.read_slice(&mut all[4608..], GuestAddress(STATUS)).unwrap();
    all
}

/// Waits until the VF has written something since `before`: the storm does reach it.
fn wait_for_dma(stack: &Stack, before: &[u8]) {
    wait_until("the VF answers the storm", || written(&stack.memory) != before);
}

fn nothing_is_written_after(stack: &mut Stack, end_it: impl Fn(&Stack)) {
    stack.config_write(4, Width::B2, 7);
    stack.start();
    stack.offer_read(3);
    // Poisoned after the reset, as a guest does that uses the memory for something else.
    let before = written(&stack.memory);
    let storm = Storm::new(stack);
    wait_for_dma(stack, &before);
    end_it(stack);
    let at_end = written(&stack.memory);
    stack.memory.write_slice(&[0x5a; 512], GuestAddress(DATA)).unwrap();
    let poisoned = written(&stack.memory);
    let kicks = storm.kicks.load(Ordering::Relaxed);
    wait_until("the storm goes on", || storm.kicks.load(Ordering::Relaxed) >= kicks + WATCH);
    assert_eq!(written(&stack.memory), poisoned, "the VF wrote after the reset");
    assert_eq!(at_end[..4096], poisoned[..4096]);
}

#[test]
fn f10_a_storm_without_a_reset_does_write() {
    let mut stack = Stack::new(&Setup::default());
    stack.start();
    stack.offer_read(3);
    let _storm = Storm::new(&stack);
    for _ in 0..10 {
        let before = written(&stack.memory);
        wait_for_dma(&stack, &before);
    }
}

#[test]
fn f10_a_reset_by_commands() {
    for loses_early_kicks in [false, true] {
        let quirks = Quirks { vf: VfQuirks { loses_early_kicks, ..VfQuirks::default() }, ..Quirks::default() };
        let mut stack = Stack::new(&Setup { quirks, ..Setup::default() });
        for _ in 0..ROUNDS {
            nothing_is_written_after(&mut stack, |stack| stack.write(18, Width::B1, 0));
        }
        assert_eq!(stack.device.report().count(DeviceCounter::FunctionResets), 0);
    }
}

#[test]
fn f10_a_reset_that_the_pf_does_not_answer() {
    let short = Duration::from_millis(50);
    let mut stack = Stack::new(&Setup { reset_deadline: short, ..Setup::default() });
    for _ in 0..ROUNDS / 4 {
        nothing_is_written_after(&mut stack, |stack| {
            // The write, and every look whether it was done.
            stack.pf.add(Rule { offset: Some(18), times: 1, ..Rule::every(Fault::Lose) });
            stack.write(18, Width::B1, 0);
            stack.pf.clear();
        });
    }
    assert_eq!(stack.device.report().count(DeviceCounter::FunctionResets), ROUNDS / 4);
}

#[test]
fn f10_a_reset_that_the_pf_refuses_for_good() {
    let mut stack = Stack::new(&Setup::default());
    for _ in 0..ROUNDS / 4 {
        nothing_is_written_after(&mut stack, |stack| {
            stack.pf.add(Rule::every(Fault::Status(22, 5)));
            stack.write(18, Width::B1, 0);
            assert!(stack.device.report().faulted.is_some());
        });
        stack.pf.clear();
    }
}

#[test]
fn h10_a_machine_reset_and_the_end() {
    let mut stack = Stack::new(&Setup::default());
    for _ in 0..ROUNDS / 4 {
        nothing_is_written_after(&mut stack, |stack| {
            let _ = stack.device.machine_reset();
        });
    }
    nothing_is_written_after(&mut stack, |stack| stack.device.shutdown());
}
