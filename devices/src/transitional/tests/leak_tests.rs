// SPDX-License-Identifier: Apache-2.0
//! F26: a thousand drivers come and go, PFs too, and nothing is left behind. Counted in a process of
//! its own, where no other test opens files or starts threads.
use std::fs;
use std::process::Command;

use crate::bus::Width;
use crate::transitional::DeviceCounter;
use crate::transitional::tests::faulty_stack::{Setup, Stack};

const CYCLES: u64 = 1000;
const RESTARTS: u64 = 10;
const MACHINES: u64 = 30;
/// Memory may grow by this much in a phase: allocators keep some. A leak of one guest-visible object
/// in each cycle is more.
const SLACK: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    files: usize,
    threads: usize,
}

fn counts() -> Counts {
    let entries = |path: &str| fs::read_dir(path).unwrap().count();
    Counts { files: entries("/proc/self/fd"), threads: entries("/proc/self/task") }
}

/// Bytes of private memory: the software disk's file and the test's own code do not count.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Runs `phase` `times` after a few rounds for caches; nothing may be left.
fn leaves_nothing(what: &str, times: u64, mut phase: impl FnMut(u64)) {
    (0..times.min(30)).for_each(&mut phase);
    let (before, memory_before) = (counts(), memory());
    (0..times).for_each(&mut phase);
    assert_eq!(counts(), before, "{what}");
    let grown = memory().saturating_sub(memory_before);
    assert!(grown < SLACK, "{what}: {grown} bytes more after {times} rounds");
}

#[test]
fn f26_a_thousand_loads_leak_nothing() {
    let test = "transitional::tests::leak_tests::f26_counted_alone";
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--test-threads=1", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success(), "{said}{}", String::from_utf8_lossy(&alone.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "counts what its process has; f26_a_thousand_loads_leak_nothing runs it alone"]
fn f26_counted_alone() {
    let mut stack = Stack::new(&Setup { ports: true, ..Setup::default() });
    let live = stack.msi.live();
    assert!(live > 0);
    leaves_nothing("driver load and unload", CYCLES, |cycle| {
        stack.run_intx(cycle % 64);
        assert_eq!(stack.ports.places().len(), 1, "one ioeventfd for one queue");
        stack.write(18, Width::B1, 0);
        load_with_msix(&mut stack);
        stack.set_msix(false);
        stack.write(8, Width::B4, 0);
        // What the tests' own layers remember.
        stack.pf.seen();
        stack.log.take();
        assert!(stack.ports.places().is_empty());
        assert_eq!(stack.msi.live(), live, "no MSI route more or less");
    });
    let report = stack.device.report();
    assert_eq!(
        (report.faulted.as_deref(), report.count(DeviceCounter::FunctionResets), stack.pf.violations()),
        (None, 0, 0)
    );
    leaves_nothing("restarts of the PF", RESTARTS, |round| {
        stack.soft.pf().reset().unwrap();
        stack.watch_until_well();
        stack.run_intx(round);
    });
    assert_eq!(stack.watchdog.restarts(), 2 * RESTARTS);
    assert_eq!(stack.msi.live(), live);
    drop(stack);
    leaves_nothing("machines", MACHINES, |round| {
        let mut stack = Stack::new(&Setup::default());
        stack.run_intx(round);
        stack.device.shutdown();
    });
}

/// Linux from 2.6.31: vectors, traffic, and out again.
fn load_with_msix(stack: &mut Stack) {
    stack.set_msix(true);
    stack.start();
    stack.write(20, Width::B2, 0);
    stack.write(14, Width::B2, 0);
    stack.write(22, Width::B2, 1);
    assert_eq!(stack.read(22, Width::B2), 1);
    stack.write(22, Width::B2, 0xffff);
    stack.write(18, Width::B1, 0);
}
