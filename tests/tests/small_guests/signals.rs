// SPDX-License-Identifier: Apache-2.0
//! Signals to the program: it ends, whatever the guest and its disk do, unless it was started to ignore them.

use std::time::Duration;

use serde_json::Value;
use tests::report::{check, device, last_boot};
use tests::{Heirloom, Running, Signal, signal_mask, wait_until};

use crate::bench::{Bench, GUEST};

/// Waits until a processor of the guest has a thread, and the program listens to SIGTERM.
fn guest_runs(program: &Running) -> Result<(), String> {
    const TERM: u64 = 1 << 14;
    let names = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", program.id())).into_iter().flatten().flatten();
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
    };
    let runs = || names().any(|name| name.starts_with("vcpu"));
    let listens = || signal_mask(program.id(), "SigCgt").is_ok_and(|mask| mask & TERM != 0);
    wait_until(Duration::from_secs(120), || runs() && listens()).map_err(|error| format!("no guest runs: {error}"))
}

pub(crate) fn sigterm_ends_a_running_guest() -> Result<(), String> {
    let bench = Bench::new("test=smp cpus=1 count=100000000")?;
    let mut child = bench.start()?.start()?;
    guest_runs(&child)?;
    child.signal(Signal::TERM)?;
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.code() != Some(128 + 15) {
        return Err(format!("exit status {status:?}"));
    }
    last_boot(&bench.report_path())?;
    Ok(())
}

/// SIGTERM ends a machine whose disk never answers again.
pub(crate) fn a1_a_disk_that_never_answers_holds_no_end_up() -> Result<(), String> {
    let bench = Bench::new("test=blk irq=pic")?;
    let storage = match tests::fuse::FuseDisk::new(bench.disk.bytes()?) {
        Ok(storage) => storage,
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            return Ok(());
        }
    };
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let mut child =
        Heirloom::run(&["--memory=64M", "--cpu=legacy", "--cmdline=test=blk irq=pic", "--serial=none", "--kernel"])
            .arg(guest)
            .arg(format!("--legacy-virtio=soft=blk,file={},id=disk", tests::fuse::FuseDisk::PATH))
            .stdin(storage.stdin()?)
            .arg("--report")
            .arg(bench.report_path())
            .start()?;
    while storage.reads() == 0 {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended before it read the disk: {status:?}"));
        }
        std::thread::sleep(Duration::from_millis(1)); // Clock: between two looks.
    }
    storage.hang(true);
    child.signal(Signal::TERM)?;
    let status = child.wait().map_err(|e| e.to_string())?;
    check(status.code() == Some(128 + 15), &format!("exit status {status:?}"), &Value::Null)?;
    let report = last_boot(&bench.report_path())?;
    check(!device(&report, "disk")?.is_null(), "the report has no disk", &report)
}

/// A guest that runs, or halts, with interrupts closed, and more than one signal.
pub(crate) fn signals_end_a_guest_that_does_not_listen() -> Result<(), String> {
    for (scenario, signal, code) in
        [("spin", Signal::INT, 130), ("halt", Signal::HUP, 129), ("reset", Signal::TERM, 143)]
    {
        let bench = Bench::new(&format!("test={scenario}"))?;
        let mut child = bench.start()?.start()?;
        guest_runs(&child)?;
        child.signal(signal)?;
        child.signal(signal)?;
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.code() != Some(code) {
            return Err(format!("{scenario}: exit status {status:?}"));
        }
        last_boot(&bench.report_path())?;
    }
    Ok(())
}

/// As `nohup heirloom run`: HUP does not end it, TERM does.
pub(crate) fn f19_a_signal_that_was_ignored_at_start_stays_ignored() -> Result<(), String> {
    const HUP: u64 = 1;
    let bench = Bench::new("test=spin")?;
    let mut child = bench.start()?.ignoring("HUP").start()?;
    guest_runs(&child)?;
    let (caught, ignored) = (signal_mask(child.id(), "SigCgt")?, signal_mask(child.id(), "SigIgn")?);
    if caught & HUP != 0 || ignored & HUP == 0 {
        return Err(format!("HUP is not ignored: SigCgt {caught:x}, SigIgn {ignored:x}"));
    }
    child.signal(Signal::HUP)?;
    child.signal(Signal::TERM)?;
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.code() == Some(143) { Ok(()) } else { Err(format!("exit status {status:?}")) }
}
