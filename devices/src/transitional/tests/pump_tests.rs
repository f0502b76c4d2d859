// SPDX-License-Identifier: Apache-2.0
//! The event loop's part of interrupts, on a real event loop: a VF that signals without end, and one whose vectors
//! cannot be watched.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::eventfd::EventFd;

use crate::pci::Command;
use crate::transitional::telemetry::stats::DeviceCounter;
use crate::transitional::tests::bench::Bench;

const PATIENCE: Duration = Duration::from_secs(60);

type Loop = EventManager<Box<dyn MutEventSubscriber + Send>>;

/// Signals a vector of the VF as fast as it can.
struct Storm(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Storm {
    fn new(bench: &Bench, vector: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (vf, stopped) = (Arc::clone(&bench.vf), Arc::clone(&stop));
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                vf.signal(vector);
            }
        };
        Self(stop, Some(std::thread::spawn(run)))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let ended = self.1.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || std::thread::panicking());
    }
}

/// Something else in the same loop.
struct Other(EventFd, Arc<AtomicU64>);

impl MutEventSubscriber for Other {
    fn process(&mut self, _: Events, _: &mut EventOps<'_>) {
        self.0.read().unwrap();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
    fn init(&mut self, ops: &mut EventOps<'_>) {
        ops.add(Events::new(&self.0, EventSet::IN)).unwrap();
    }
}

fn run_until(events: &mut Loop, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        events.run_with_timeout(100).unwrap();
    }
}

#[test]
fn a3_a_vf_that_signals_without_end_is_listened_to_now_and_then() {
    let bench = Bench::net();
    bench.set_command(Command::IO | Command::BUS_MASTER);
    bench.start_intx();
    let mut events: Loop = EventManager::new().unwrap();
    events.add_subscriber(Box::new(bench.device.pump().unwrap()));
    let seen = Arc::new(AtomicU64::new(0));
    let event = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    events.add_subscriber(Box::new(Other(event.try_clone().unwrap(), Arc::clone(&seen))));

    let throttled = || bench.device.report().count(DeviceCounter::Throttled);
    let storm = Storm::new(&bench, 1);
    run_until(&mut events, || throttled() >= 6);
    // Others in the loop are heard meanwhile.
    event.write(1).unwrap();
    run_until(&mut events, || seen.load(Ordering::Relaxed) == 1);
    // What comes last is not lost, though the loop does not listen just then.
    let before = throttled();
    run_until(&mut events, || throttled() > before);
    drop(storm);
    bench.r8(19);
    assert!(bench.vf.signal(2));
    run_until(&mut events, || bench.line.is_high());
    assert_eq!(bench.r8(19) & 1, 1);
}

/// The event loop has two pumps of one function: the second one cannot watch what the first one does.
#[test]
fn b8_a_guest_that_needs_vectors_that_cannot_be_watched_is_told() {
    let bench = Bench::net();
    let mut events: Loop = EventManager::new().unwrap();
    events.add_subscriber(Box::new(bench.device.pump().unwrap()));
    events.add_subscriber(Box::new(bench.device.pump().unwrap()));
    assert_eq!(bench.device.report().faulted, None, "a guest that uses MSI-X does without");
    bench.set_msix(true);
    bench.set_up_queue(0, 0x100);
    assert_eq!(bench.device.report().faulted, None);
    bench.w8(18, 0);
    bench.set_msix(false);
    bench.set_up_queue(0, 0x100);
    let reason = bench.device.report().faulted.unwrap();
    assert!(reason.contains("interrupts cannot be watched"), "{reason}");
    // Also after the reset that brings a function back otherwise.
    bench.w8(18, 0);
    bench.set_up_queue(0, 0x100);
    assert_eq!(bench.device.report().faulted, Some(reason));
}
