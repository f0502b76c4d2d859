// SPDX-License-Identifier: Apache-2.0
//! `heirloom serve`, `run --api-socket` and `ctl` as processes, with the bare-metal guest on `/dev/kvm`.

mod hung_disk;
mod killed_clients;
mod pf_down;
mod trace;

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Finished, Heirloom, Kvm, Running, TestDisk, small_guest, trials, wait_until_ok};

static GUEST: LazyLock<Result<PathBuf, String>> = LazyLock::new(small_guest);

/// Longest anything may take here. A safety net.
const LIMIT: Duration = Duration::from_secs(120);

fn wait_until(what: &str, condition: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    wait_until_ok(LIMIT, condition).map_err(|error| format!("{what}: {error}"))
}

/// A server, and a folder for its files.
struct Bench {
    folder: TempDir,
    server: Running,
}

impl Bench {
    fn new(start: impl FnOnce(&str) -> Result<Running, String>) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|e| e.to_string())?;
        let socket = folder.path().join("api.sock");
        let server = start(&socket.to_string_lossy())?;
        wait_until("the socket", || Ok(socket.exists()))?;
        Ok(Self { folder, server })
    }

    fn serve() -> Result<Self, String> {
        Self::serve_with(Stdio::null())
    }

    fn serve_with(stdin: Stdio) -> Result<Self, String> {
        Self::new(|socket| Heirloom::plain(&["serve", "--api-socket", socket]).stdin(stdin).start())
    }

    fn socket(&self) -> String {
        self.path("api.sock")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn ctl(&self, words: &[&str]) -> Result<Finished, String> {
        Heirloom::plain(&["ctl", "--api-socket", &self.socket()]).args(words).limit(LIMIT).finish()
    }

    fn json(&self, words: &[&str]) -> Result<Value, String> {
        let finished = self.ctl(&[&["--json"], words].concat())?.expect_code(0)?;
        serde_json::from_str(&finished.stdout).map_err(|e| format!("{e}: {}", finished.stdout))
    }

    fn state(&self) -> Result<String, String> {
        Ok(self.json(&["info"])?["state"].as_str().unwrap_or_default().to_owned())
    }

    fn config(&self, cmdline: &str, devices: &Value) -> Result<String, String> {
        let guest = GUEST.as_ref().map_err(Clone::clone)?;
        let config = json!({
            "payload": {"kernel": guest, "cmdline": cmdline},
            "cpus": {"boot_vcpus": 1, "profile": "legacy"},
            "memory": {"size": 64 << 20},
            "serial": {"mode": "File", "file": self.path("serial")},
            "legacy_virtio": devices,
        });
        let path = self.path("vm.json");
        fs::write(&path, config.to_string()).map_err(|e| e.to_string())?;
        Ok(path)
    }

    /// Waits until so many clients read a reply without an end: each has a thread of its own.
    fn wait_for_streams(&self, count: usize) -> Result<(), String> {
        let tasks = format!("/proc/{}/task", self.server.id());
        let streams = || {
            let tasks = fs::read_dir(&tasks).into_iter().flatten().flatten();
            tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "api-stream\n"))
        };
        wait_until("streams are open", || Ok(streams().count() == count))
    }

    fn end(mut self) -> Result<(), String> {
        self.ctl(&["shutdown-vmm"])?.expect_code(0)?;
        let status = self.server.wait().map_err(|e| e.to_string())?;
        if status.code() != Some(0) || self.folder.path().join("api.sock").exists() {
            return Err(format!("the server ended with {status}, or left its socket"));
        }
        Ok(())
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?}, not {wanted:?}")) }
}

/// Create, boot, look, pause, resume, reboot, shut down, change devices, boot again, delete.
fn a_whole_life() -> Result<(), String> {
    let bench = Bench::serve()?;
    let disk = TestDisk::new(64 << 10, 7)?;
    let devices = json!([{"id": "disk", "soft": {"blk": {"file": disk.path()}}}]);
    // The driver works without an end to speak of.
    let config = bench.config("test=reload irq=msix count=1000000000", &devices)?;
    bench.ctl(&["boot"])?.expect_code(4)?.expect_error("there is no virtual machine")?;
    bench.ctl(&["create", &config])?.expect_code(0)?;
    bench.ctl(&["create", &config])?.expect_code(4)?.expect_error("already")?;
    expect("state", bench.state()?, "Created".to_owned())?;
    bench.ctl(&["boot"])?.expect_code(0)?;
    let reads = || Ok::<_, String>(bench.json(&["counters"])?["disk"]["reads"].as_u64().unwrap_or(0));
    wait_until("the driver reads", || Ok(reads()? > 100))?;
    let info = bench.ctl(&["info"])?.expect_code(0)?.expect_output("Running")?;
    info.expect_output("0000:00:01.0")?;
    let legacy = bench.json(&["legacy", "disk"])?;
    expect("device", legacy[0]["device"].as_str(), Some("block"))?;
    // They are null while an access holds them.
    wait_until("registers", || Ok(bench.json(&["legacy", "disk"])?[0]["registers"]["queues"].is_array()))?;
    expect("commands", legacy[0]["admin"]["commands"].as_array().is_some_and(|list| !list.is_empty()), true)?;
    bench.ctl(&["legacy", "nobody"])?.expect_code(4)?.expect_error("nobody")?;

    bench.ctl(&["pause"])?.expect_code(0)?;
    let still = reads()?;
    thread::sleep(Duration::from_millis(300)); // Clock: for what must not happen.
    expect("reads of a paused guest", reads()?, still)?;
    bench.ctl(&["resume"])?.expect_code(0)?;
    wait_until("the driver goes on", || Ok(reads()? > still))?;
    bench.ctl(&["remove-device", "disk"])?.expect_code(4)?.expect_error("is Running")?;
    bench.ctl(&["reboot"])?.expect_code(0)?;
    wait_until("the driver reads again", || Ok(reads()? > 10))?;
    bench
        .ctl(&["metrics"])?
        .expect_code(0)?
        .expect_output("heirloom_vm_state{state=\"running\"} 1")
        .or_else(|_| bench.ctl(&["metrics"])?.expect_output("heirloom_vm_state{state=\"Running\"} 1"))?;
    bench.ctl(&["shutdown"])?.expect_code(0)?;
    expect("state", bench.state()?, "Shutdown".to_owned())?;
    bench.ctl(&["add-device", "soft=net,loopback,id=lan"])?.expect_code(0)?;
    bench.ctl(&["remove-device", "disk"])?.expect_code(0)?;
    expect("devices", bench.json(&["info"])?["config"]["legacy_virtio"].as_array().map(Vec::len), Some(1))?;
    bench.ctl(&["boot"])?.expect_code(0)?;
    bench.ctl(&["delete"])?.expect_code(0)?;
    bench.ctl(&["info"])?.expect_code(4)?;
    bench.end()
}

/// A guest that was started from the command line, with the socket beside it.
fn run_with_a_socket() -> Result<(), String> {
    let disk = TestDisk::new(64 << 10, 7)?;
    let folder = TempDir::new().map_err(|e| e.to_string())?;
    let guest = GUEST.as_ref().map_err(Clone::clone)?;
    let config = folder.path().join("vm.toml");
    let text = format!(
        "[payload]\nkernel = {guest:?}\ncmdline = \"test=button irq=pic\"\n[cpus]\nboot_vcpus = 1\nprofile = \"legacy\"\n\
         [memory]\nsize = 67108864\n[serial]\nmode = \"File\"\nfile = {:?}\n[[legacy_virtio]]\nid = \"disk\"\nsoft.blk.file = {:?}\n",
        folder.path().join("serial"),
        disk.path(),
    );
    fs::write(&config, text).map_err(|e| e.to_string())?;
    let config = config.to_string_lossy().into_owned();
    let shown = Heirloom::run(&["--config", &config, "--dry-run"]).finish()?.expect_code(0)?;
    let shown: Value = serde_json::from_str(&shown.stdout).map_err(|e| e.to_string())?;
    expect("--dry-run", shown["legacy_virtio"][0]["id"].as_str(), Some("disk"))?;

    let mut bench = Bench::new(|socket| Heirloom::run(&["--config", &config, "--api-socket", socket]).start())?;
    wait_until("the guest waits for the button", || {
        let serial = fs::read_to_string(folder.path().join("serial")).unwrap_or_default();
        Ok(bench.state()? == "Running" && serial.contains("waits for the power button"))
    })?;
    bench.ctl(&["power-button"])?.expect_code(0)?;
    let status = bench.server.wait().map_err(|e| e.to_string())?;
    expect("exit code of a guest that powers itself off", status.code(), Some(0))?;
    expect("the socket is gone", PathBuf::from(bench.socket()).exists(), false)
}

/// A datagram socket passed with vm.create is the wire of the guest's network card.
fn a_wire_by_descriptor() -> Result<(), String> {
    let bench = Bench::serve()?;
    let devices = json!([{"id": "lan", "soft": {"net": {"backend": {"fd": 0}}}}]);
    let path = bench.config("test=net irq=msix", &devices)?;
    bench.ctl(&["create", &path])?.expect_code(4)?.expect_error("descriptor 0")?;
    let body = fs::read_to_string(&path).map_err(|e| e.to_string())?;
    let (ours, theirs) = UnixDatagram::pair().map_err(|e| e.to_string())?;
    ours.set_read_timeout(Some(LIMIT)).map_err(|e| e.to_string())?;

    let mut stream = UnixStream::connect(bench.socket()).map_err(|e| e.to_string())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [theirs.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let head = format!("PUT /api/v1/vm.create HTTP/1.1\r\nHost: l\r\nContent-Length: {}\r\n\r\n", body.len());
    sendmsg(&stream, &[IoSlice::new(head.as_bytes())], &mut control, SendFlags::empty()).map_err(|e| e.to_string())?;
    stream.write_all(body.as_bytes()).map_err(|e| e.to_string())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).map_err(|e| e.to_string())?;
    expect("status", String::from_utf8_lossy(&status).into_owned(), "HTTP/1.1 204".to_owned())?;
    drop(theirs);
    bench.ctl(&["boot"])?.expect_code(0)?;
    let mut frame = [0; 2048];
    let length = ours.recv(&mut frame).map_err(|e| format!("no frame from the guest: {e}"))?;
    expect(
        "an ARP request to everybody",
        (length >= 42, &frame[..6], &frame[12..14]),
        (true, &[0xff; 6][..], &[8, 6][..]),
    )?;
    bench.end()
}

/// Events as lines, from the start of a machine to the end of the monitor.
fn events() -> Result<(), String> {
    let bench = Bench::serve()?;
    let listener = Heirloom::plain(&["ctl", "--api-socket", &bench.socket(), "events"]).limit(LIMIT);
    let listener = thread::spawn(move || listener.finish());
    bench.wait_for_streams(1)?;
    let config = bench.config("test=halt", &json!([]))?;
    for words in [&["create", &config][..], &["boot"], &["pause"], &["resume"], &["shutdown"], &["delete"]] {
        bench.ctl(words)?.expect_code(0)?;
    }
    bench.end()?;
    let finished = listener.join().map_err(|_| "the listener panicked")??;
    let mut names = Vec::new();
    for line in finished.stdout.lines() {
        let event: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        names.push(event["event"].as_str().unwrap_or_default().to_owned());
    }
    let wanted = ["created", "booted", "paused", "resumed", "shutdown", "deleted"];
    let mut rest = names.iter();
    for name in wanted {
        if !rest.any(|seen| seen == name) {
            return Err(format!("no '{name}', in order, among {names:?}"));
        }
    }
    Ok(())
}

/// Sockets that cannot be had, and servers that are not there.
fn sockets() -> Result<(), String> {
    let bench = Bench::serve()?;
    Heirloom::plain(&["serve", "--api-socket", &bench.socket()]).finish()?.expect_code(3)?.expect_error("in use")?;
    bench.ctl(&["ping"])?.expect_code(0)?.expect_output("heirloom ")?;
    let file = bench.path("file");
    fs::write(&file, "x").map_err(|e| e.to_string())?;
    Heirloom::plain(&["serve", "--api-socket", &file]).finish()?.expect_code(3)?.expect_error("not a socket")?;
    Heirloom::plain(&["ctl", "--api-socket", "/nonexistent", "ping"]).finish()?.expect_code(3)?;
    bench.ctl(&["create", "/nonexistent"])?.expect_code(2)?.expect_error("/nonexistent")?;
    // A server that was killed leaves its socket, and the next one takes its place.
    let mut bench = bench;
    bench.server.kill().and_then(|()| bench.server.wait()).map_err(|e| e.to_string())?;
    expect("the socket is still there", PathBuf::from(bench.socket()).exists(), true)?;
    bench.ctl(&["ping"])?.expect_code(3)?;
    bench.server = Heirloom::plain(&["serve", "--api-socket", &bench.socket()]).start()?;
    wait_until("the new server answers", || Ok(bench.ctl(&["ping"])?.code == Some(0)))?;
    bench.end()
}

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test, bool)] = &[
    ("a_whole_life", a_whole_life, true),
    ("run_with_a_socket", run_with_a_socket, true),
    ("a_wire_by_descriptor", a_wire_by_descriptor, true),
    ("events", events, true),
    ("sockets", sockets, false),
    ("killed_clients_leave_nothing", killed_clients::leave_nothing, true),
    ("a_pf_that_goes_down", pf_down::goes_down, true),
    ("a_pf_that_hangs", pf_down::hangs, true),
    ("a1_a_disk_that_never_answers_holds_no_request_up", hung_disk::holds_no_request_up, true),
    ("a3_a_stopped_server_holds_neither_requests_nor_interrupts_up", pf_down::stops, true),
    ("devices_of_all_kinds", pf_down::devices_of_all_kinds, false),
    ("a_live_trace", trace::is_live, true),
];

fn main() -> ExitCode {
    let lack = (Kvm::find() == Kvm::Missing).then_some(trials::NO_KVM);
    let tests = TESTS.iter().map(|(name, test, needs_kvm)| trials::trial(name, test, lack.filter(|_| *needs_kvm)));
    trials::run(tests.collect())
}
