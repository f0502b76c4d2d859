// SPDX-License-Identifier: Apache-2.0
//! What the program says, where it cannot say it, and under limits of the process.

use std::path::Path;

use serde_json::Value;
use tests::Heirloom;

use crate::bench::{Bench, GUEST};

/// Standard error that takes nothing changes no exit code, neither of a crash nor of warnings on the way.
pub(crate) fn messages_that_cannot_be_written_change_nothing() -> Result<(), String> {
    for (scenario, code) in [("crash", 4), ("sweep", 0)] {
        let full = || std::fs::File::options().write(true).open("/dev/full").map_err(|e| e.to_string());
        let bench = Bench::new(&format!("test={scenario}"))?.word("-vv");
        bench.start()?.stderr(full()?).finish()?.expect_code(code)?;
    }
    Ok(())
}

/// A limit of file sizes is an error of the guest's write, not the end of the VMM, and set-up under a
/// limit of open files fails with one message.
pub(crate) fn limits_of_the_process_are_errors() -> Result<(), String> {
    let bench = Bench::new("test=blk")?;
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let run = |limit: &str| {
        let blk = format!("--legacy-virtio=soft=blk,file={}", bench.disk.path().display());
        let words = ["--memory=64M", "--cpu=legacy", "--cmdline=test=blk", "--legacy-virtio=soft=net,loopback", &blk];
        Heirloom::limited(limit, &words).arg("--kernel").arg(guest).finish()
    };
    run("-f 1")?.expect_code(0)?.expect_output("GUEST-FAIL blk: status of a write: 0x1")?;
    for files in ["-n 6", "-n 20", "-n 30", "-n 40"] {
        let finished = run(files)?.expect_code(3)?.expect_error("open files")?;
        if finished.stderr.lines().count() != 1 {
            return Err(format!("more than one message\n{finished}"));
        }
    }
    Ok(())
}

/// What the guest did counts more than a report that cannot be written.
pub(crate) fn a_crash_is_told_without_a_report() -> Result<(), String> {
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let words = ["--cmdline=test=crash", "--memory=64M", "--cpu=legacy", "--report=/dev/full", "--kernel"];
    let finished = Heirloom::run(&words).arg(guest).finish()?.expect_code(4)?;
    finished.expect_error("the guest crashed")?.expect_error("cannot write the report")?;
    Ok(())
}

/// Lines of JSON in a file.
fn json_lines(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("{e} in {line}"))).collect()
}

/// The guest resets itself once; events and messages say so, each in a file of its own.
pub(crate) fn events_and_messages_are_lines_of_json() -> Result<(), String> {
    let bench = Bench::new("test=reboot irq=pic")?;
    let (events, log) = (bench.disk.dir().join("events"), bench.disk.dir().join("log"));
    let words = [format!("--event-monitor=path={}", events.display()), format!("--log-file={}", log.display())];
    let bench = words.iter().fold(bench, |bench, word| bench.word(word)).word("--log-format=json").word("-v");
    let (finished, _) = bench.run()?;
    if !finished.stderr.is_empty() {
        return Err(format!("messages went elsewhere as well\n{finished}"));
    }
    let events = json_lines(&events)?;
    let names: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let boot = ["booting", "booted"];
    let expected =
        [&["created"], &boot[..], &["reset"], &boot[..], &["power_off", "shutdown", "shutting_down"]].concat();
    if names != expected || events.iter().zip(1u64..).any(|(event, seq)| event["seq"] != seq) {
        return Err(format!("events: {events:?}"));
    }
    let messages = json_lines(&log)?;
    let is_ours = |m: &Value| m["target"].as_str().is_some_and(|target| target.starts_with("vmm::lifecycle"));
    let says = |m: &Value| m["message"] == "the guest resets itself" && is_ours(m);
    if messages.iter().any(says) { Ok(()) } else { Err(format!("messages: {messages:?}")) }
}
