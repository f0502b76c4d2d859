// SPDX-License-Identifier: Apache-2.0
//! Buses that record what a guest does, for tests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use devices::bus::{Access, Bus, Effect, IoDevice, Range, Width};

use super::Board;

/// First port and first memory address of the recorder.
pub(crate) const PORT: u64 = 0xc00;
pub(crate) const MMIO: u64 = 0x2_0000;
/// A write here switches the machine off.
pub(crate) const OFF_PORT: u64 = 0x604;

/// One access as it reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Read(u64, Width),
    Write(u64, Width, u64),
}

type Answer = dyn Fn(Access) -> u64 + Send + Sync;
type Reaction = dyn Fn(Access, u64) -> Effect + Send + Sync;

/// Records accesses; answers and reactions are the test's.
pub(crate) struct Recorder {
    seen: Mutex<Vec<Seen>>,
    changed: Condvar,
    answer: Box<Answer>,
    reaction: Box<Reaction>,
}

impl Recorder {
    pub(crate) fn new(
        answer: impl Fn(Access) -> u64 + Send + Sync + 'static,
        reaction: impl Fn(Access, u64) -> Effect + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::default(),
            changed: Condvar::new(),
            answer: Box::new(answer),
            reaction: Box::new(reaction),
        })
    }

    /// Answers 0x…88776655 44332211 cut to the width, reacts with nothing.
    pub(crate) fn plain() -> Arc<Self> {
        Self::new(|_| 0x8877_6655_4433_2211, |_, _| Effect::None)
    }

    fn record(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
        self.changed.notify_all();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until `count` accesses were made.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        let deadline = Instant::now() + devices::contract::mock::PATIENCE;
        let mut seen = self.seen.lock().unwrap();
        while seen.len() < count {
            let left = deadline.checked_duration_since(Instant::now()).expect("the guest made fewer accesses");
            seen = self.changed.wait_timeout(seen, left).unwrap().0;
        }
        seen.clone()
    }
}

impl IoDevice for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn read(&self, access: Access) -> u64 {
        self.record(Seen::Read(access.offset, access.width));
        (self.answer)(access)
    }
    fn write(&self, access: Access, value: u64) -> Effect {
        self.record(Seen::Write(access.offset, access.width, value));
        (self.reaction)(access, value)
    }
}

/// A board with one recorder on ports 0xc00-0xcff and one on memory 0x20000-0x200ff, and an off switch.
pub(crate) struct TestBoard {
    pub(crate) board: Board,
    pub(crate) ports: Arc<Recorder>,
    pub(crate) memory: Arc<Recorder>,
    pub(crate) remaps: Arc<AtomicUsize>,
}

impl TestBoard {
    pub(crate) fn new() -> Self {
        Self::with_ports(Recorder::plain())
    }

    pub(crate) fn with_ports(ports: Arc<Recorder>) -> Self {
        let (port_bus, memory_bus) = (Bus::new("ports"), Bus::new("memory"));
        let memory = Recorder::plain();
        let off = Recorder::new(|_| 0, |_, _| Effect::PowerOff);
        port_bus.insert(Range::new(PORT, 0x100).unwrap(), ports.clone()).unwrap();
        port_bus.insert(Range::new(OFF_PORT, 2).unwrap(), off).unwrap();
        memory_bus.insert(Range::new(MMIO, 0x100).unwrap(), memory.clone()).unwrap();
        let remaps = Arc::new(AtomicUsize::new(0));
        let counter = remaps.clone();
        let board = Board {
            ports: Arc::new(port_bus),
            memory: Arc::new(memory_bus),
            remap: Arc::new(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            }),
            cancelled: Arc::new(AtomicBool::new(false)),
            thread_init: None,
        };
        Self { board, ports, memory, remaps }
    }
}
