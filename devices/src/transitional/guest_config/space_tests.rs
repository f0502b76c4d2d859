// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::contract::mock::MockLine;
use crate::transitional::DeviceType;

fn config() -> (Arc<MockLine>, GuestConfig) {
    let line = Arc::new(MockLine::default());
    let mut space = ConfigSpace::new(&DeviceType::Net.identity());
    space.set_interrupt(1, 11);
    (line.clone(), GuestConfig::new(space, Some(line)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Queue,
    Config,
    Read,
    MsixOn,
    MsixOff,
    Disable,
    Enable,
    Clear,
}

const STEPS: [Step; 8] =
    [Step::Queue, Step::Config, Step::Read, Step::MsixOn, Step::MsixOff, Step::Disable, Step::Enable, Step::Clear];

/// What a guest may rely on, said in another way than the code does it.
#[derive(Default)]
struct Expected {
    bits: u8,
    msix: bool,
    disabled: bool,
}

impl Expected {
    fn step(&mut self, step: Step) {
        match step {
            Step::Queue if !self.msix => self.bits |= 1,
            Step::Config if !self.msix => self.bits |= 3,
            Step::Queue | Step::Config => {}
            Step::Read | Step::Clear => self.bits = 0,
            Step::MsixOn => (self.msix, self.bits) = (true, 0),
            Step::MsixOff => self.msix = false,
            Step::Disable => self.disabled = true,
            Step::Enable => self.disabled = false,
        }
    }
}

/// Every sequence of five steps: each way in which event loop and vCPUs can get the lock in turn.
/// After each step the line, STATUS and the status bits say the same.
#[test]
fn every_interleaving_keeps_line_and_status_in_step() {
    let mut sequences = 0;
    for number in 0..STEPS.len().pow(5) {
        let (line, config) = config();
        let mut expected = Expected::default();
        let mut rest = number;
        for _ in 0..5 {
            let step = STEPS[rest % STEPS.len()];
            rest /= STEPS.len();
            let before = expected.bits;
            expected.step(step);
            match step {
                Step::Queue => drop(config.raise_if(ISR_QUEUE, || true)),
                Step::Config => drop(config.raise_if(ISR_CONFIG, || true)),
                Step::Read => assert_eq!(config.take_isr(), before),
                Step::MsixOn => config.set_intx_active(false),
                Step::MsixOff => config.set_intx_active(true),
                Step::Disable => drop(config.write(4, Width::B2, 0x400)),
                Step::Enable => drop(config.write(4, Width::B2, 0)),
                Step::Clear => config.clear_isr(|| {}),
            }
            let high = line.is_high();
            assert_eq!(high, expected.bits != 0 && !expected.disabled, "after {step:?} of sequence {number}");
            assert_eq!(config.read(6, Width::B2) & 8 != 0, expected.bits != 0);
        }
        assert_eq!(config.take_isr(), expected.bits);
        sequences += 1;
    }
    assert_eq!(sequences, 32768);
}

/// A guest on another thread that does what drivers do: waits for the line, reads the status, looks
/// for work. Every piece of work announced by an event must be found; a lost interrupt hangs.
#[test]
fn no_event_is_lost_between_threads() {
    const WORK: u64 = 20_000;
    let (line, config) = config();
    let announced = AtomicU64::new(0);
    let end = std::time::Instant::now() + crate::contract::mock::PATIENCE;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..WORK {
                announced.fetch_add(1, Ordering::SeqCst);
                config.raise_if(ISR_QUEUE, || true);
            }
        });
        let mut seen = 0;
        while seen < WORK {
            assert!(std::time::Instant::now() < end, "an interrupt was lost at {seen} of {WORK}");
            if line.is_high() {
                assert_ne!(config.take_isr(), 0, "the bit is there before the line is up");
                seen = announced.load(Ordering::SeqCst);
            } else {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn an_event_that_was_not_there_raises_nothing() {
    let (line, config) = config();
    assert_eq!(config.raise_if(ISR_QUEUE, || false), None);
    assert!(!line.is_high());
    assert_eq!(config.take_isr(), 0);
}

#[test]
fn without_a_line_the_status_can_still_be_polled() {
    let config = GuestConfig::new(ConfigSpace::new(&DeviceType::Block.identity()), None);
    assert_eq!(config.raise_if(ISR_QUEUE, || true), Some(0));
    assert_eq!((config.take_isr(), config.take_isr()), (1, 0));
}
