// SPDX-License-Identifier: Apache-2.0
//! Functions that another process serves over vfio-user: `heirloom soft-pf` on one side, a small guest
//! with legacy drivers on the other.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tests::report::{all_commands, check, device, last_boot, number};
use tests::{Heirloom, Kvm, Running, Signal, TestDisk, small_guest, trials, wait_until};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(120);

static GUEST: LazyLock<Result<PathBuf, String>> = LazyLock::new(small_guest);

/// A server with a disk and a network card, and a place for a report.
struct Bench {
    server: Running,
    disk: TestDisk,
}

impl Bench {
    fn new() -> Result<Self, String> {
        Self::with(&[])
    }

    /// `words` are further ones for the server.
    fn with(words: &[&str]) -> Result<Self, String> {
        let disk = TestDisk::new(64 << 10, 11)?;
        let mut server = Heirloom::plain(&["soft-pf", "--mixed", "--vf"])
            .arg(format!("blk,file={}", disk.path().display()))
            .args(&["--vf", "net,loopback", "--socket-dir"])
            .arg(disk.dir())
            .args(words)
            .start()?;
        let mut line = String::new();
        let out = server.stdout.take().ok_or("the server has no output")?;
        BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
        if line.starts_with("listening on ") { Ok(Self { server, disk }) } else { Err(format!("it says {line:?}")) }
    }

    fn socket(&self, name: &str) -> String {
        self.disk.dir().join(name).display().to_string()
    }

    /// The words for VF `member`, whose sockets count from 0.
    fn vf(&self, member: u8, id: &str) -> String {
        let (vf, pf) = (self.socket(&format!("vf{}.sock", member - 1)), self.socket("pf.sock"));
        format!("--legacy-virtio=vfio-user={vf},pf-socket={pf},member={member},id={id}")
    }

    fn report(&self) -> PathBuf {
        self.disk.dir().join("report.json")
    }

    fn heirloom(&self, cmdline: &str, devices: &[String]) -> Result<Heirloom, String> {
        let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
        let heirloom = Heirloom::run(&["--memory=64M", "--cpu=legacy", "--kernel"])
            .arg(guest)
            .arg(format!("--cmdline={cmdline}"))
            .arg("--report")
            .arg(self.report());
        Ok(devices.iter().fold(heirloom, Heirloom::arg))
    }

    /// Runs a scenario to its good end.
    fn run(&self, cmdline: &str, devices: &[String]) -> Result<Value, String> {
        self.heirloom(cmdline, devices)?.finish()?.expect_code(0)?.expect_output("GUEST-OK")?;
        last_boot(&self.report())
    }
}

fn disk(irq: &str) -> Result<(), String> {
    let bench = Bench::new()?;
    let report = bench.run(&format!("test=blk irq={irq}"), &[bench.vf(1, "disk"), bench.vf(2, "net")])?;
    let disk = device(&report, "disk")?;
    check(all_commands(disk) >= 15, "too few admin commands for a probe", disk)?;
    check(disk["kicks"]["admin"] == 0, "a kick went as an admin command", disk)?;
    check(number(&disk["kicks"]["store"])? + number(&disk["kicks"]["ioeventfd"])? >= 10, "too few kicks", disk)?;
    check(disk["faulted"].is_null(), "the disk is out of service", disk)?;
    // What the guest wrote to sector 3 is in the server's file.
    let bytes = bench.disk.bytes()?;
    let pattern = (0..512_usize).map(|offset| (offset as u8).wrapping_mul(7) ^ 0x5a);
    let written = bytes.iter().skip(3 * 512).take(512).copied().eq(pattern);
    check(written, "sector 3 is not what the guest wrote", disk)
}

fn disk_pic() -> Result<(), String> {
    disk("pic")
}

fn disk_msix() -> Result<(), String> {
    disk("msix")
}

/// A disk that ignores kicks before DRIVER_OK, and drivers that wait for what comes of them.
fn early_kicks_of_a_disk_that_loses_them() -> Result<(), String> {
    for (order, irq, keys) in
        [("driver_ok", "msix", ""), ("features", "pic", ",early=start"), ("status", "ioapic", ",notify=exit")]
    {
        let bench = Bench::with(&["--quirk", "loses-early-kicks"])?;
        let vf = format!("{}{keys}", bench.vf(1, "disk"));
        let report = bench.run(&format!("test=early order={order} irq={irq}"), &[vf])?;
        let disk = device(&report, "disk")?;
        check(disk["kicks"]["early_starts"] == 1 && disk["kicks"]["replayed"] == 0, "the disk was not started", disk)?;
    }
    // A card is started by its first kick after the features.
    let bench = Bench::with(&["--quirk", "loses-early-kicks"])?;
    let report = bench.run("test=net irq=ioapic", &[bench.vf(2, "net")])?;
    let net = device(&report, "net")?;
    check(net["kicks"]["early_starts"] == 1, "the card was not started", net)
}

fn net() -> Result<(), String> {
    let bench = Bench::new()?;
    let report = bench.run("test=net irq=ioapic", &[bench.vf(2, "net")])?;
    let net = device(&report, "net")?;
    check(net["admin"]["member"] == 2, "another VF", net)?;
    check(net["faulted"].is_null(), "the card is out of service", net)
}

/// Two PFs in one machine: the built-in one, and the served one.
fn beside_the_built_in_pf() -> Result<(), String> {
    let bench = Bench::new()?;
    let devices = ["--legacy-virtio=soft=net,loopback,id=own".to_owned(), bench.vf(1, "disk")];
    let report = bench.run("test=blk irq=pic", &devices)?;
    check(device(&report, "disk")?["function"] == bench.socket("vf0.sock"), "the disk's VF", &report)?;
    check(device(&report, "own")?["function"] == "soft/vf0", "the card's VF", &report)
}

fn passed_through() -> Result<(), String> {
    let bench = Bench::new()?;
    let report = bench.run("test=hello", &[format!("--device=vfio-user={},id=pf", bench.socket("pf.sock"))])?;
    let pf = &report["passthrough"][0];
    check(pf["id"] == "pf" && pf["slot"] == 1, "the function", pf)?;
    check(pf["vendor_id"] == 0x1af4 && pf["faulted"].is_null(), "its state", pf)
}

/// The server is killed: its functions go out of service, the guest and its other device go on.
fn a_server_that_dies() -> Result<(), String> {
    let mut bench = Bench::new()?;
    let devices =
        [bench.vf(1, "disk"), "--legacy-virtio=soft=net,loopback,id=own".to_owned(), "--serial=none".to_owned()];
    let events = bench.disk.dir().join("events");
    let happened = |event: &str| {
        let name = format!("\"event\":\"{event}\"");
        wait_until(PATIENCE, || std::fs::read_to_string(&events).is_ok_and(|text| text.contains(&name)))
            .map_err(|error| format!("no event {event}: {error}"))
    };
    let monitor = format!("--event-monitor=path={}", events.display());
    let mut machine = bench.heirloom("test=spin", &devices)?.arg(monitor).start()?;
    happened("booted")?;
    bench.server.kill().map_err(|e| e.to_string())?;
    happened("faulted")?;
    if let Some(status) = machine.try_wait().map_err(|e| e.to_string())? {
        return Err(format!("the machine ended with its server: {status}"));
    }
    machine.signal(Signal::TERM)?;
    wait_until(PATIENCE, || !matches!(machine.try_wait(), Ok(None))).map_err(|_| "the machine does not end")?;
    let status = machine.wait().map_err(|e| e.to_string())?;
    let report = last_boot(&bench.report())?;
    check(status.code() == Some(143), "the exit code", &report)?;
    let reason = device(&report, "disk")?["faulted"].as_str().unwrap_or_default().to_owned();
    check(reason.contains("gone") || reason.contains("lost"), "the reason of the disk's end", &report)?;
    check(device(&report, "own")?["faulted"].is_null(), "the other device is out of service, too", &report)
}

fn errors_at_the_start() -> Result<(), String> {
    let bench = Bench::new()?;
    let pf = bench.socket("pf.sock");
    let vf = bench.socket("vf0.sock");
    for (words, wanted) in [
        (format!("--legacy-virtio=vfio-user=/nowhere.sock,pf-socket={pf},member=1"), "/nowhere.sock: cannot connect"),
        (format!("--legacy-virtio=vfio-user={vf},pf-socket=/nowhere.sock,member=1"), "/nowhere.sock: cannot connect"),
        (format!("--legacy-virtio=vfio-user={vf},pf-socket={pf},member=3"), "3 VFs asked for, but 2 are possible"),
        ("--device=vfio-user=/nowhere.sock".to_owned(), "device 'dev0': /nowhere.sock: cannot connect"),
    ] {
        bench.heirloom("test=hello", &[words])?.finish()?.expect_code(3)?.expect_error(wanted)?;
    }
    // Each refusal has left the server as it was.
    bench.run("test=blk irq=pic", &[bench.vf(1, "disk")]).map(drop)
}

type Test = fn() -> Result<(), String>;

const TESTS: [(&str, Test); 8] = [
    ("served_disk_that_loses_early_kicks", early_kicks_of_a_disk_that_loses_them),
    ("served_disk_with_pic", disk_pic),
    ("served_disk_with_msix", disk_msix),
    ("served_net", net),
    ("served_beside_the_built_in_pf", beside_the_built_in_pf),
    ("served_function_passed_through", passed_through),
    ("served_by_a_server_that_dies", a_server_that_dies),
    ("served_errors_at_the_start", errors_at_the_start),
];

fn main() -> ExitCode {
    let lack = (Kvm::find() == Kvm::Missing).then_some(trials::NO_KVM);
    let tests = TESTS.iter().map(|(name, test)| trials::trial(name, test, lack));
    trials::run(tests.collect())
}
