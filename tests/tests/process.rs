// SPDX-License-Identifier: Apache-2.0
//! What is around the guest: files that are written, messages, and those who do not read them. With the bare-metal
//! guest of `tests/guests` and real FIFOs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::fuse::FuseDisk;
use tests::{Finished, Heirloom, Kvm, Signal, TestDisk, small_guest, trials, wait_until};

static GUEST: LazyLock<Result<PathBuf, String>> = LazyLock::new(small_guest);

/// How long anything may take on a busy machine: a safety net, not a measure.
const LIMIT: Duration = Duration::from_secs(90);

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A machine with a disk and a network card that runs `scenario`.
fn machine(scenario: &str, disk: &TestDisk) -> Result<Heirloom, String> {
    let guest = GUEST.as_ref().map_err(String::clone)?;
    Ok(Heirloom::run(&["--memory=64M", "--cpu=legacy", "--legacy-virtio=soft=net,loopback,id=net", "--kernel"])
        .arg(guest)
        .arg(format!("--cmdline=test={scenario}"))
        .arg(format!("--legacy-virtio=soft=blk,file={},id=disk", disk.path().display())))
}

fn nonblocking(path: &Path, write: bool) -> Result<File, String> {
    // O_NONBLOCK of Linux on x86-64.
    File::options().read(!write).write(write).custom_flags(0o4000).open(path).map_err(text)
}

/// Standard error is a pipe that is full and that nobody reads, and each access of the guest makes a message.
fn a2_a_guest_runs_on_when_nobody_reads_messages() -> Result<(), String> {
    unread("sweep", &["-vv"])
}

/// The same with a guest whose every reset is followed by a DMA fault, which is told at any level.
fn a2_a_guest_with_a_fault_after_each_reset_runs_on() -> Result<(), String> {
    unread("faults count=300", &[])
}

fn unread(scenario: &str, words: &[&str]) -> Result<(), String> {
    let disk = TestDisk::new(64 << 10, 7)?;
    let path = disk.fifo("fifo")?;
    let reader = nonblocking(&path, false)?;
    let mut filler = nonblocking(&path, true)?;
    while filler.write(&[b'x'; 512]).is_ok() {}
    // Opened apart from the filler, so that writes of the program do wait.
    let stderr = File::options().write(true).open(&path).map_err(text)?;
    let finished = machine(scenario, &disk)?.args(words).stderr(stderr).limit(LIMIT).finish()?;
    finished.expect_code(0)?.expect_output("GUEST-OK")?;
    drop(reader);
    Ok(())
}

fn refused(finished: &Finished) -> bool {
    finished.code == Some(3) && finished.stderr.contains("it is a FIFO that nobody reads: start its reader first")
}

fn a4_a_fifo_that_nobody_reads_is_refused_and_nobody_waits() -> Result<(), String> {
    let disk = TestDisk::new(64 << 10, 7)?;
    let path = disk.fifo("fifo")?;
    let path = path.display();
    for word in [
        format!("--serial={path}"),
        format!("--trace-legacy={path}"),
        format!("--log-file={path}"),
        format!("--event-monitor=path={path}"),
    ] {
        let finished = machine("hello", &disk)?.arg(&word).limit(LIMIT).finish()?;
        if !refused(&finished) {
            return Err(format!("{word}: exit code {:?}\n{finished}", finished.code));
        }
    }
    Ok(())
}

/// The reader of a report may come when the guest has ended, and if none comes the process ends all the same.
fn a4_a_report_into_a_fifo_waits_a_moment_for_its_reader() -> Result<(), String> {
    let disk = TestDisk::new(64 << 10, 7)?;
    let path = disk.fifo("fifo")?;
    let run = |disk: &TestDisk| Ok::<_, String>(machine("hello", disk)?.arg("--report").arg(&path).limit(LIMIT));
    let late = {
        let path = path.clone();
        thread::spawn(move || {
            let mut report = String::new();
            // Opening waits for the writer.
            File::open(path).and_then(|mut file| file.read_to_string(&mut report)).map(|_| report)
        })
    };
    run(&disk)?.finish()?.expect_code(0)?;
    let report = late.join().map_err(|_| "the reader panicked")?.map_err(text)?;
    if !report.contains("heirloom") {
        return Err(format!("this is no report: {report}"));
    }
    let finished = run(&disk)?.finish()?;
    if refused(&finished) { Ok(()) } else { Err(format!("exit code {:?}\n{finished}", finished.code)) }
}

/// Through the API: the machine is refused, and the service answers.
fn a4_a_fifo_that_nobody_reads_is_refused_through_the_api() -> Result<(), String> {
    let disk = TestDisk::new(64 << 10, 7)?;
    let (path, socket) = (disk.fifo("fifo")?, disk.dir().join("api.sock"));
    let guest = GUEST.as_ref().map_err(String::clone)?;
    let config = disk.dir().join("vm.json");
    let body = serde_json::json!({
        "payload": { "kernel": guest, "cmdline": "test=hello" },
        "cpus": { "boot_vcpus": 1, "profile": "legacy" },
        "memory": { "size": 64 << 20 },
        "serial": { "mode": "File", "file": path },
    });
    fs::write(&config, body.to_string()).map_err(text)?;
    let mut service = Heirloom::plain(&["serve", "--api-socket"]).arg(&socket).start()?;
    let ctl = |words: &[&str]| Heirloom::plain(&["ctl", "--api-socket"]).arg(&socket).args(words).limit(LIMIT).finish();
    wait_until(LIMIT, || ctl(&["ping"]).is_ok_and(|finished| finished.code == Some(0)))?;
    ctl(&["create", &config.display().to_string()])?.expect_code(0)?;
    ctl(&["boot"])?.expect_error("it is a FIFO that nobody reads: start its reader first")?;
    ctl(&["info"])?.expect_code(0)?.expect_output("Created")?;
    ctl(&["delete"])?.expect_code(0)?;
    service.kill().map_err(text)
}

/// The storage hangs already when its disk is looked at: `run` says so, and ends when it is told to, by itself.
fn a1_a_disk_that_does_not_open_holds_no_end_up() -> Result<(), String> {
    let Some(storage) = silent_disk() else { return Ok(()) };
    let file = FuseDisk::PATH;
    let guest = GUEST.as_ref().map_err(String::clone)?;
    let run = Heirloom::run(&["--legacy-virtio", &format!("soft=blk,file={file}"), "--kernel"]).arg(guest);
    let mut run = run.stdin(storage.stdin()?).start()?;
    let messages = run.messages()?;
    messages.wait_for(&format!("still opening the disk image {file}"), LIMIT)?;
    run.signal(Signal::TERM)?;
    let status = run.end(LIMIT)?;
    let said = messages.rest();
    let right = status.code() == Some(128 + 15) && said.contains(&format!("gave up opening the disk image {file}"));
    if right && !said.contains("did not stop") { Ok(()) } else { Err(format!("{status}\n{said}")) }
}

/// The same for a machine of a service: who asked for it is told, everybody else is answered, and the end comes.
fn a1_a_disk_that_does_not_open_holds_no_service_up() -> Result<(), String> {
    let Some(storage) = silent_disk() else { return Ok(()) };
    let disk = TestDisk::new(64 << 10, 7)?;
    let (socket, hung, sound) = (disk.dir().join("api.sock"), disk.dir().join("hung.json"), disk.dir().join("vm.json"));
    let guest = GUEST.as_ref().map_err(String::clone)?;
    for (config, file) in [(&hung, Path::new(FuseDisk::PATH)), (&sound, disk.path().as_path())] {
        let body = serde_json::json!({
            "payload": { "kernel": guest },
            "legacy_virtio": [{ "soft": { "blk": { "file": file } } }],
        });
        fs::write(config, body.to_string()).map_err(text)?;
    }
    let (hung, sound) = (hung.display().to_string(), sound.display().to_string());
    let service = Heirloom::plain(&["serve", "--api-socket"]).arg(&socket);
    let mut service = service.stdin(storage.stdin()?).start()?;
    let messages = service.messages()?;
    let ctl = |words: &[&str]| Heirloom::plain(&["ctl", "--api-socket"]).arg(&socket).args(words).limit(LIMIT);
    wait_until(LIMIT, || ctl(&["ping"]).finish().is_ok_and(|finished| finished.code == Some(0)))?;
    let refused = ctl(&["create", &hung]).finish()?.expect_code(4)?.expect_error("the storage does not answer")?;
    refused.expect_error(&format!("gave up opening the disk image {}", FuseDisk::PATH))?;
    ctl(&["create", &sound]).finish()?.expect_code(0)?;
    ctl(&["info"]).finish()?.expect_code(0)?.expect_output("Created")?;
    ctl(&["metrics"]).finish()?.expect_code(0)?;
    ctl(&["delete"]).finish()?.expect_code(0)?;
    // Its end does not wait for the limit of a request.
    let mut again = ctl(&["create", &hung]).start()?;
    messages.wait_for("still opening", LIMIT)?;
    messages.wait_for("still opening", LIMIT)?;
    service.signal(Signal::TERM)?;
    let status = service.end(LIMIT)?;
    again.end(LIMIT)?;
    let said = messages.rest();
    let right = status.code() == Some(128 + 15) && !said.contains("did not stop");
    if right { Ok(()) } else { Err(format!("{status}\n{said}")) }
}

/// A thread that is no processor's panics: SIGUSR2 makes one do so in debug builds.
fn b9_a_panic_ends_the_process_with_its_reason() -> Result<(), String> {
    let disk = TestDisk::new(64 << 10, 7)?;
    let (events, report) = (disk.dir().join("events"), disk.dir().join("report.json"));
    let run = machine("spin", &disk)?.arg(format!("--event-monitor=path={}", events.display()));
    let mut run = run.arg(format!("--report={}", report.display())).start()?;
    let messages = run.messages()?;
    let told = |name: &str| {
        let text = fs::read_to_string(&events).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().find(|event| event["event"] == name)
    };
    wait_until(LIMIT, || told("booted").is_some())?;
    run.signal(Signal::USR2)?;
    let status = run.end(LIMIT)?;
    if status.signal() == Some(12) {
        eprintln!("SKIPPED: this build has no debug assertions, and nothing that makes it panic");
        return Ok(());
    }
    let reason = "thread signals panicked at ";
    let said = messages.rest();
    if status.code() != Some(1) || !said.contains(&format!("heirloom failed: {reason}")) {
        return Err(format!("{status}\n{said}"));
    }
    let event = told("panicked").ok_or("no event")?;
    let report: Value = serde_json::from_slice(&fs::read(&report).map_err(text)?).map_err(text)?;
    let of_event = event["properties"]["reason"].as_str().unwrap_or_default();
    let of_report = report["boots"][0]["ended_by"].as_str().unwrap_or_default();
    let right = of_event.starts_with(reason) && of_report.contains(reason);
    if right { Ok(()) } else { Err(format!("event {event}, report {report}")) }
}

/// A file of a FUSE server that does not answer whoever opens it.
fn silent_disk() -> Option<FuseDisk> {
    let storage = FuseDisk::new(vec![0; 4096]).inspect_err(|why| eprintln!("SKIPPED: {why}")).ok()?;
    storage.hang_opens();
    Some(storage)
}

/// A guest that does what it can fills no disk, and what it wrote is its owner's alone.
fn f21_files_are_private_and_bounded() -> Result<(), String> {
    const LIMIT_KIB: u64 = 16;
    let disk = TestDisk::new(64 << 10, 7)?;
    let path = |name: &str| disk.dir().join(name);
    let files = ["serial", "events", "trace.jsonl", "log", "report.json"];
    machine("sweep", &disk)?
        .arg("-vv")
        .arg(format!("--output-limit={LIMIT_KIB}K"))
        .arg(format!("--serial={}", path("serial").display()))
        .arg(format!("--event-monitor=path={}", path("events").display()))
        .arg(format!("--trace-legacy={}", path("trace.jsonl").display()))
        .arg(format!("--log-file={}", path("log").display()))
        .arg(format!("--report={}", path("report.json").display()))
        .limit(LIMIT)
        .finish()?
        .expect_code(0)?;
    for name in files {
        let metadata = path(name).metadata().map_err(text)?;
        let (mode, size) = (metadata.permissions().mode() & 0o777, metadata.len());
        // Lines stay together, and 64 KiB of a trace do.
        let limit = if name.starts_with("trace") { 64 + LIMIT_KIB } else { LIMIT_KIB } << 10;
        if mode != 0o600 || size == 0 || (size > limit && name != "report.json") {
            return Err(format!("{name}: mode {mode:o}, {size} bytes"));
        }
    }
    let older = path("trace.jsonl.1");
    let older = fs::read_to_string(&older).map_err(|error| format!("{}: {error}", older.display()))?;
    let newer = fs::read_to_string(path("trace.jsonl")).map_err(text)?;
    for part in [older, newer] {
        if !part.starts_with(r#"{"event":"start""#) || !part.ends_with("}\n") {
            return Err(format!("this is no whole trace: {part:.100}"));
        }
    }
    Ok(())
}

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("a2_a_guest_runs_on_when_nobody_reads_messages", a2_a_guest_runs_on_when_nobody_reads_messages),
    (
        "a4_a_fifo_that_nobody_reads_is_refused_and_nobody_waits",
        a4_a_fifo_that_nobody_reads_is_refused_and_nobody_waits,
    ),
    ("a4_a_report_into_a_fifo_waits_a_moment_for_its_reader", a4_a_report_into_a_fifo_waits_a_moment_for_its_reader),
    ("a4_a_fifo_that_nobody_reads_is_refused_through_the_api", a4_a_fifo_that_nobody_reads_is_refused_through_the_api),
    ("a1_a_disk_that_does_not_open_holds_no_end_up", a1_a_disk_that_does_not_open_holds_no_end_up),
    ("a1_a_disk_that_does_not_open_holds_no_service_up", a1_a_disk_that_does_not_open_holds_no_service_up),
    ("a2_a_guest_with_a_fault_after_each_reset_runs_on", a2_a_guest_with_a_fault_after_each_reset_runs_on),
    ("b9_a_panic_ends_the_process_with_its_reason", b9_a_panic_ends_the_process_with_its_reason),
    ("f21_files_are_private_and_bounded", f21_files_are_private_and_bounded),
];

fn main() -> ExitCode {
    let lack = (Kvm::find() == Kvm::Missing).then_some(trials::NO_KVM);
    trials::run(TESTS.iter().map(|(name, test)| trials::trial(name, test, lack)).collect())
}
