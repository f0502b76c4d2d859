// SPDX-License-Identifier: Apache-2.0
//! How tests wait: for what they test, with a limit that only a failure meets, however busy the machine is.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes that works. Deadlines whose end is not what is tested are as long, too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `probe` has something.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_micros(200)); // Clock: between two looks.
    }
}

/// Waits until `done`.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    eventually(what, || done().then_some(()));
}

/// Gives a device that would do something wrong the time to do it. Only a failure can be missed by this, no test can
/// fail: where an event tells that the time has come, wait for that.
pub fn give_it_time(time: Duration) {
    thread::sleep(time); // Clock: for what must not happen.
}

/// Processor time of this thread: other load does not count.
pub fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
