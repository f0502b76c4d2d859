// SPDX-License-Identifier: Apache-2.0
//! The bare-metal guest of `tests/guests` on `/dev/kvm`, however slow that is: legacy block and net
//! drivers of our own over the software PF's virtual functions.

use std::process::{Command, ExitCode, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::report::{all_commands, check, device, last_boot, number};
use tests::{Finished, Heirloom, Kvm, TestDisk, free_memory, small_guest, trials};

static GUEST: LazyLock<Result<std::path::PathBuf, String>> = LazyLock::new(small_guest);

/// Byte `offset` of the pattern that the guest writes to sector 3.
fn pattern(offset: usize) -> u8 {
    (offset as u8).wrapping_mul(7) ^ 0x5a
}

/// A machine with a disk and a network card, about to run the scenario in `cmdline`.
struct Bench {
    disk: TestDisk,
    disk_keys: &'static str,
    net_keys: &'static str,
    memory: &'static str,
    cpu: &'static str,
    words: Vec<String>,
}

impl Bench {
    fn new(cmdline: &str) -> Result<Self, String> {
        let words = vec![format!("--cmdline={cmdline}")];
        Ok(Self { disk: TestDisk::new(64 << 10, 7)?, disk_keys: "", net_keys: "", memory: "64M", cpu: "legacy", words })
    }
    fn disk_keys(mut self, keys: &'static str) -> Self {
        self.disk_keys = keys;
        self
    }
    fn net_keys(mut self, keys: &'static str) -> Self {
        self.net_keys = keys;
        self
    }
    fn word(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    fn start(&self) -> Result<Heirloom, String> {
        let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        Ok(Heirloom::run(&words)
            .args(&["--memory", self.memory, "--cpu", self.cpu, "--kernel"])
            .arg(guest)
            .arg(format!("--legacy-virtio=soft=blk,file={},id=disk{}", self.disk.path().display(), self.disk_keys))
            .arg(format!("--legacy-virtio=soft=net,loopback,id=net{}", self.net_keys))
            .arg("--report")
            .arg(self.report_path()))
    }

    fn report_path(&self) -> std::path::PathBuf {
        self.disk.dir().join("report.json")
    }

    /// Runs to a clean end, with `GUEST-OK` printed. Returns the output and the last boot's report.
    fn run(&self) -> Result<(Finished, Value), String> {
        let finished = self.start()?.finish()?.expect_code(0)?.expect_output("GUEST-OK")?;
        Ok((finished, last_boot(&self.report_path())?))
    }
}

/// Every register access is an admin command, and no kick is one.
fn check_disk_path(report: &Value) -> Result<(), String> {
    let disk = device(report, "disk")?;
    check(all_commands(disk) >= 15, "too few admin commands for a probe", disk)?;
    check(disk["kicks"]["admin"] == 0, "a kick went as an admin command", disk)?;
    let kicks = number(&disk["kicks"]["store"])? + number(&disk["kicks"]["ioeventfd"])?;
    check(kicks >= 10, "the kicks are not in the report", disk)?;
    check(disk["faulted"].is_null(), "the disk is out of service", disk)
}

fn disk_works(bench: &Bench) -> Result<(Finished, Value), String> {
    let before = bench.disk.fnv1a()?;
    let (finished, report) = bench.run()?;
    let finished = finished.expect_output(&format!("GUEST disk sectors=128 fnv1a={before:08x}"))?;
    let after = bench.disk.bytes()?;
    let written = &after[3 * 512..4 * 512];
    if let Some(offset) = (0..512).find(|&o| written[o] != pattern(o)) {
        return Err(format!("byte {offset} of sector 3 is {:#x} in the file", written[offset]));
    }
    check_disk_path(&report)?;
    Ok((finished, report))
}

fn blk(irq: &str, keys: &'static str) -> Result<(), String> {
    let (_, report) = disk_works(&Bench::new(&format!("test=blk irq={irq}"))?.disk_keys(keys))?;
    let disk = device(&report, "disk")?;
    let intx = number(&disk["intx"]["queue"])?;
    match irq {
        "pic" | "ioapic" => check(intx >= 10, "no INTx was made from MSI-X", disk),
        "msix" => check(intx == 0, "INTx in MSI-X mode", disk),
        _ => Ok(()),
    }
}

/// A driver that waits for sectors before DRIVER_OK.
fn early(order: &str, irq: &str, keys: &'static str) -> Result<(), String> {
    let bench = Bench::new(&format!("test=early order={order} irq={irq}"))?.disk_keys(keys);
    let expected = fnv1a(&bench.disk.bytes()?[..4 * 512]);
    let (finished, report) = bench.run()?;
    finished.expect_output(&format!("GUEST early fnv1a={expected:08x}"))?;
    let disk = device(&report, "disk")?;
    let starts = u64::from(!keys.contains("early=pass"));
    check(number(&disk["kicks"]["early_starts"])? == starts, "the kick did not start the disk once", disk)?;
    check(number(&disk["kicks"]["early"])? >= 1 && disk["faulted"].is_null(), "no early kick, or out of service", disk)
}

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619))
}

fn net(irq: &str, keys: &'static str) -> Result<(), String> {
    let (finished, report) = Bench::new(&format!("test=net irq={irq} count=5"))?.net_keys(keys).run()?;
    finished.expect_output("GUEST net pings=5")?;
    let net = device(&report, "net")?;
    check(net["kicks"]["admin"] == 0, "a kick went as an admin command", net)?;
    let kicks = &net["kicks"];
    check(number(&kicks["early"])? >= 1 && kicks["early_starts"] == 1, "the early kick did not start the card", net)
}

/// What `heirloom trace summarize --json` says of a trace.
fn summary(trace: &std::path::Path, svg: &std::path::Path) -> Result<Value, String> {
    let (trace, svg) = (trace.display().to_string(), svg.display().to_string());
    let words = ["trace", "summarize", &trace, "--json", "--svg", &svg];
    let finished = Heirloom::plain(&words).finish()?.expect_code(0)?;
    serde_json::from_str(&finished.stdout).map_err(|e| e.to_string())
}

/// The trace has what the devices counted, and its summary has what the guest's driver is known to do.
fn traced() -> Result<(), String> {
    let bench = Bench::new("test=net irq=msix count=5")?;
    let (trace, svg) = (bench.disk.dir().join("trace.jsonl"), bench.disk.dir().join("trace.svg"));
    let bench = bench.word(&format!("--trace-legacy={}", trace.display()));
    let (_, report) = bench.run()?;
    let summary = summary(&trace, &svg)?;
    check(summary["lost"] == 0 && summary["cut_off"] == false, "an incomplete trace", &summary)?;
    let devices = summary["devices"].as_array().ok_or("no devices")?;
    let net = devices.iter().find(|d| d["id"] == "net").ok_or("no net")?;
    let counted = device(&report, "net")?;
    check(net["reads"] == counted["accesses"]["reads"], "other reads than counted", net)?;
    check(net["writes"] == counted["accesses"]["writes"], "other writes than counted", net)?;
    check(net["totals"]["kicks_ioeventfd"] == counted["kicks"]["ioeventfd"], "other kicks than counted", net)?;
    let life = &net["lives"][0];
    check(life["msix"] == true && life["accepted_names"] == serde_json::json!(["MAC"]), "another probe", life)?;
    check(life["queues"]["0"]["size"] == 256 && life["queues"]["1"]["vector"] == 1, "other queues", life)?;
    check(!life["driver_ok"].is_null() && life["early_kicks"] == 1, "not ready, or no early kick", life)?;
    check(life["looks_like"].is_null(), "our own guest is no known driver", life)?;
    check(net["errors"] == serde_json::json!({}) && net["faults"] == 0, "failures", net)?;
    let picture = std::fs::read_to_string(&svg).map_err(|e| e.to_string())?;
    check(picture.contains("DRIVER_OK") && picture.ends_with("</svg>\n"), "not a whole picture", net)
}

/// Who reads the trace takes nothing: the guest does all that it does, and comes to its end, and so does heirloom.
fn traced_to_a_reader_that_is_stuck() -> Result<(), String> {
    let bench = Bench::new("test=bench count=1000")?.disk_keys(",notify=exit");
    let fifo = bench.disk.dir().join("trace.jsonl");
    let made = Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success());
    if !made {
        return Err("mkfifo does not work".to_owned());
    }
    // Opened both ways, it has a reader that reads nothing.
    let stuck = std::fs::File::options().read(true).write(true).open(&fifo).map_err(|e| e.to_string())?;
    let started = Instant::now();
    let bench = bench.word(&format!("--trace-legacy={}", fifo.display()));
    let (_, report) = bench.run()?;
    let disk = device(&report, "disk")?;
    check(number(&disk["accesses"]["reads"])? >= 20_000, "the guest did less than it was to do", disk)?;
    check(disk["faulted"].is_null(), "the disk is out of service", disk)?;
    drop(stuck);
    if started.elapsed() > Duration::from_secs(60) {
        return Err(format!("it took {:?}", started.elapsed()));
    }
    Ok(())
}

/// A signal ends the guest in the middle; the trace is whole up to there.
fn traced_until_a_signal() -> Result<(), String> {
    // The guest counts exits that nobody traces first; in the host VM a million of them take a minute.
    let bench = Bench::new("test=bench count=300000")?.disk_keys(",notify=exit");
    let (trace, svg) = (bench.disk.dir().join("trace.jsonl"), bench.disk.dir().join("trace.svg"));
    let bench = bench.word(&format!("--trace-legacy={}", trace.display()));
    let mut running = bench.start()?.start()?;
    // The limit is a safety net for a machine that is busy.
    let end = Instant::now() + Duration::from_secs(300);
    while std::fs::metadata(&trace).map_or(0, |m| m.len()) < 100_000 {
        if let Some(status) = running.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended by itself with {status}"));
        }
        if Instant::now() > end {
            return Err("nothing is traced".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = running.id().to_string();
    let _ = Command::new("kill").args(["-TERM", &pid]).status();
    let status = running.wait().map_err(|e| e.to_string())?;
    if status.code() != Some(128 + 15) {
        return Err(format!("it ended with {status}"));
    }
    let summary = summary(&trace, &svg)?;
    check(summary["cut_off"] == false, "the end is missing", &summary["cut_off"])?;
    let totals = &summary["devices"][0]["totals"];
    check(!totals.is_null(), "the totals are missing", totals)
}

/// Whether a network namespace with a tap can be made here.
fn tap_lack() -> Option<&'static str> {
    let made = in_namespace("true").output().is_ok_and(|o| o.status.success());
    (!made).then_some("no tap in a network namespace (needs root, /dev/net/tun, ip and unshare)")
}

/// A shell command in a network namespace of its own, with 10.0.2.2 on the tap `t0`.
fn in_namespace(command: &str) -> Command {
    let set_up = "ip tuntap add t0 mode tap && ip addr add 10.0.2.2/24 dev t0 && ip link set t0 up";
    let mut shell = Command::new("unshare");
    shell.args(["--net", "sh", "-c", &format!("{set_up} && {command}")]);
    shell
}

/// The kernel of this machine answers the guest's ARP and pings, through a real tap.
fn net_tap() -> Result<(), String> {
    let bench = Bench::new("test=net irq=pic count=5")?;
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let command = format!(
        "exec {} run --memory=64M --cpu=legacy --kernel {} --cmdline='test=net irq=pic count=5' \
         --legacy-virtio=soft=net,tap=t0,id=net --report {}",
        tests::binary()?.display(),
        guest.display(),
        bench.report_path().display()
    );
    let output = in_namespace(&command).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !text.contains("GUEST net pings=5") {
        return Err(format!("{:?}\n{text}", output.status));
    }
    let report = last_boot(&bench.report_path())?;
    check(device(&report, "net")?["faulted"].is_null(), "the card is out of service", &report)
}

/// The guest resets itself once and finds on the disk what it wrote before.
fn reboot() -> Result<(), String> {
    let bench = Bench::new("test=reboot irq=pic")?;
    bench.run()?.0.expect_output("GUEST came back")?;
    let count = tests::report::boot_count(&bench.report_path())?;
    if count == 2 { Ok(()) } else { Err(format!("{count} boots instead of 2")) }
}

/// Clock and keyboard interrupt, and the clock keeps what it was told; by both kinds of interrupt controller.
fn chips(irq: &str) -> Result<(), String> {
    let bench = Bench::new(&format!("test=chips irq={irq}"))?;
    let finished = bench.run()?.0.expect_output("GUEST has a keyboard")?;
    finished.expect_output("GUEST has a clock that interrupts")?;
    let count = tests::report::boot_count(&bench.report_path())?;
    if count == 2 { Ok(()) } else { Err(format!("{count} boots instead of 2")) }
}

fn scenario(cmdline: &str, output: &str) -> Result<(), String> {
    Bench::new(cmdline)?.run()?.0.expect_output(output)?;
    Ok(())
}

fn sweep() -> Result<(), String> {
    let (_, report) = Bench::new("test=sweep")?.run()?;
    let disk = device(&report, "disk")?;
    check(number(&disk["kicks"]["dropped"])? >= 1, "kicks of queues that are not set up are not counted", disk)
}

fn smp() -> Result<(), String> {
    Bench::new("test=smp cpus=4 count=100")?.word("--cpus=4").run()?.0.expect_output("GUEST smp processors=4")?;
    Ok(())
}

fn memory_above_the_pci_hole() -> Result<(), String> {
    let mut bench = Bench::new("test=blk irq=pic")?;
    bench.memory = "4G";
    disk_works(&bench)?;
    Ok(())
}

fn cpu_host() -> Result<(), String> {
    let mut bench = Bench::new("test=hello")?;
    bench.cpu = "host";
    bench.run()?;
    Ok(())
}

/// The processor of the year, as the host's maker had it, and nothing newer; the same guest runs on it.
fn cpu_of_a_year() -> Result<(), String> {
    // Signatures and highest leaves of Intel's and AMD's; flags that came later.
    let years = [
        ("x86_64-2006", [(0x6f6, 4), (0x40f13, 1)], 0x0298_0002_u64),
        ("x86_64-2010", [(0x206c2, 6), (0x100f42, 5)], 0x1000_0000),
    ];
    for (cpu, processors, later) in years {
        let mut bench = Bench::new("test=cpuid")?;
        bench.cpu = cpu;
        let output = bench.run()?.0.stdout;
        let value = |name: &str| {
            let (_, rest) = output.split_once(&format!("{name}=0x"))?;
            let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            u64::from_str_radix(&digits, 16).ok()
        };
        let seen = (value("signature").unwrap_or(0), value("basic").unwrap_or(0));
        if !processors.contains(&seen) || value("extended") != Some(0x8000_0008) || !output.contains("wide=1") {
            return Err(format!("{cpu} is another processor: {output}"));
        }
        // A KVM that interprets shows flags of its host besides those that it was told.
        if Kvm::find() == Kvm::Fast && value(" ecx").is_none_or(|flags| flags & later != 0) {
            return Err(format!("{cpu} has flags that came later: {output}"));
        }
        let mut bench = Bench::new("test=blk irq=msix")?;
        bench.cpu = cpu;
        disk_works(&bench)?;
    }
    Ok(())
}

fn a_32_bit_processor_runs_no_64_bit_kernel() -> Result<(), String> {
    let mut bench = Bench::new("test=hello")?;
    bench.cpu = "i686-2001";
    bench.start()?.finish()?.expect_code(3)?.expect_error("--cpu i686-2001 is a 32-bit processor")?;
    Ok(())
}

/// A machine of 16 MiB, and one that fills the room below the PCI hole up to the end that a BIOS of the time knew.
fn memory_16_mib_and_3_5_gib() -> Result<(), String> {
    for memory in ["16M", "3584M"] {
        let mut bench = Bench::new("test=blk irq=pic")?;
        bench.memory = memory;
        disk_works(&bench)?;
    }
    Ok(())
}

fn memory_64_gib() -> Result<(), String> {
    let mut bench = Bench::new("test=blk irq=pic")?;
    bench.memory = "64G";
    disk_works(&bench)?;
    Ok(())
}

/// As many as 32-bit Linux of the time took; each is started by INIT and a start-up message.
fn processors_1_to_32() -> Result<(), String> {
    for count in [1, 2, 32] {
        let expected = format!("GUEST smp processors={count}");
        let bench = Bench::new(&format!("test=smp cpus={count} count=2"))?.word(&format!("--cpus={count}"));
        bench.run()?.0.expect_output(&expected)?;
    }
    Ok(())
}

fn read_only_disk() -> Result<(), String> {
    let bench = Bench::new("test=blk")?.disk_keys(",readonly=on");
    let before = bench.disk.bytes()?;
    // The guest's write must fail with an error status, and the guest says so.
    bench.start()?.finish()?.expect_code(0)?.expect_output("GUEST-FAIL blk: status of a write: 0x1")?;
    if bench.disk.bytes()? != before {
        return Err("a read-only disk was written".to_owned());
    }
    Ok(())
}

fn crash() -> Result<(), String> {
    let finished = Bench::new("test=crash")?.start()?.finish()?;
    // What KVM makes of it differs: an emulation failure, or a triple fault and so a reset.
    match finished.code {
        Some(4) => {
            finished.expect_error("rip")?;
            Ok(())
        }
        code => Err(format!("exit code {code:?}\n{finished}")),
    }
}

fn reset_ends_with_no_reboot() -> Result<(), String> {
    Bench::new("test=reset")?.word("--no-reboot").start()?.finish()?.expect_code(6)?;
    Ok(())
}

fn sigterm_ends_a_running_guest() -> Result<(), String> {
    let bench = Bench::new("test=smp cpus=1 count=100000000")?;
    let mut child = bench.start()?.start()?;
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let kill = Command::new("kill").arg(child.id().to_string()).status().map_err(|e| e.to_string())?;
    if !kill.success() {
        return Err("kill failed".to_owned());
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.code() != Some(128 + 15) {
        return Err(format!("exit status {status:?}"));
    }
    last_boot(&bench.report_path())?;
    Ok(())
}

/// SIGTERM ends a machine whose disk never answers again.
fn a1_a_disk_that_never_answers_holds_no_end_up() -> Result<(), String> {
    let bench = Bench::new("test=blk irq=pic")?;
    let storage = match tests::fuse::FuseDisk::new(bench.disk.bytes()?) {
        Ok(storage) => storage,
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            return Ok(());
        }
    };
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let mut child = Heirloom::run(&["--memory=64M", "--cpu=legacy", "--cmdline=test=blk irq=pic", "--kernel"])
        .arg(guest)
        .arg(format!("--legacy-virtio=soft=blk,file={},id=disk", storage.path().display()))
        .arg("--report")
        .arg(bench.report_path())
        .start()?;
    while storage.reads() == 0 {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended before it read the disk: {status:?}"));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    storage.hang(true);
    signal(&child, "TERM")?;
    let status = child.wait().map_err(|e| e.to_string())?;
    check(status.code() == Some(128 + 15), &format!("exit status {status:?}"), &Value::Null)?;
    let report = last_boot(&bench.report_path())?;
    check(!device(&report, "disk")?.is_null(), "the report has no disk", &report)
}

fn abuse() -> Result<(), String> {
    let bench = Bench::new("test=abuse bytes=2048")?;
    let before = bench.disk.bytes()?;
    let (finished, report) = bench.run()?;
    finished.expect_output("works after garbage for the configuration ports")?;
    if bench.disk.bytes()? != before {
        return Err("a guest that only reads has written".to_owned());
    }
    for id in ["disk", "net"] {
        let device = device(&report, id)?;
        check(number(&device["rings_broken"])? >= 10, "broken rings are not counted", device)?;
        check(device["faulted"].is_null(), "a device is out of service", device)?;
    }
    Ok(())
}

fn quarrel() -> Result<(), String> {
    Bench::new("test=quarrel cpus=4 count=200")?.word("--cpus=4").run()?;
    Ok(())
}

fn signal(child: &tests::Running, name: &str) -> Result<(), String> {
    let kill = std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    if kill.map_err(|e| e.to_string())?.success() { Ok(()) } else { Err("kill failed".to_owned()) }
}

/// A guest that runs, or halts, with interrupts closed, and more than one signal.
fn signals_end_a_guest_that_does_not_listen() -> Result<(), String> {
    for (scenario, name, code) in [("spin", "INT", 130), ("halt", "HUP", 129), ("reset", "TERM", 143)] {
        let bench = Bench::new(&format!("test={scenario}"))?;
        let mut child = bench.start()?.start()?;
        std::thread::sleep(Duration::from_millis(1000));
        signal(&child, name)?;
        signal(&child, name)?;
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.code() != Some(code) {
            return Err(format!("{scenario}: exit status {status:?}"));
        }
        last_boot(&bench.report_path())?;
    }
    Ok(())
}

/// A mask of signals in the status of a process (proc(5)).
fn signal_mask(child: &tests::Running, name: &str) -> Result<u64, String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).map_err(|e| e.to_string())?;
    let mask = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such mask")?;
    u64::from_str_radix(mask.trim_start_matches(':').trim(), 16).map_err(|e| e.to_string())
}

/// As `nohup heirloom run`: HUP does not end it, TERM does.
fn f19_a_signal_that_was_ignored_at_start_stays_ignored() -> Result<(), String> {
    const HUP: u64 = 1;
    const TERM: u64 = 1 << 14;
    let bench = Bench::new("test=spin")?;
    let mut child = bench.start()?.ignoring("HUP").start()?;
    let start = Instant::now();
    while signal_mask(&child, "SigCgt")? & TERM == 0 {
        if start.elapsed() > Duration::from_secs(60) {
            return Err("no handler for TERM".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (caught, ignored) = (signal_mask(&child, "SigCgt")?, signal_mask(&child, "SigIgn")?);
    if caught & HUP != 0 || ignored & HUP == 0 {
        return Err(format!("HUP is not ignored: SigCgt {caught:x}, SigIgn {ignored:x}"));
    }
    signal(&child, "HUP")?;
    signal(&child, "TERM")?;
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.code() == Some(143) { Ok(()) } else { Err(format!("exit status {status:?}")) }
}

/// Standard error that takes nothing changes no exit code, neither of a crash nor of warnings on the way.
fn messages_that_cannot_be_written_change_nothing() -> Result<(), String> {
    for (scenario, code) in [("crash", 4), ("sweep", 0)] {
        let full = || std::fs::File::options().write(true).open("/dev/full").map_err(|e| e.to_string());
        let bench = Bench::new(&format!("test={scenario}"))?.word("-vv");
        bench.start()?.stderr(full()?).finish()?.expect_code(code)?;
    }
    Ok(())
}

/// A limit of file sizes is an error of the guest's write, not the end of the VMM, and set-up under a
/// limit of open files fails with one message.
fn limits_of_the_process_are_errors() -> Result<(), String> {
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
fn a_crash_is_told_without_a_report() -> Result<(), String> {
    let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
    let words = ["--cmdline=test=crash", "--memory=64M", "--cpu=legacy", "--report=/dev/full", "--kernel"];
    let finished = Heirloom::run(&words).arg(guest).finish()?.expect_code(4)?;
    finished.expect_error("the guest crashed")?.expect_error("cannot write the report")?;
    Ok(())
}

/// Lines of JSON in a file.
fn json_lines(path: &std::path::Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("{e} in {line}"))).collect()
}

/// The guest resets itself once; events and messages say so, each in a file of its own.
fn events_and_messages_are_lines_of_json() -> Result<(), String> {
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

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("traced", traced),
    ("traced_to_a_reader_that_is_stuck", traced_to_a_reader_that_is_stuck),
    ("traced_until_a_signal", traced_until_a_signal),
    ("hello_and_power_off", || scenario("test=hello", "GUEST-OK hello")),
    ("blk_polled", || blk("poll", "")),
    ("blk_polled_kicks_from_the_exit_loop", || blk("poll", ",notify=exit")),
    ("blk_intx_through_the_pics", || blk("pic", "")),
    ("blk_intx_through_the_ioapic", || blk("ioapic", ",irq=intx")),
    ("blk_msix", || blk("msix", "")),
    ("early_driver_ok_last_poll", || early("driver_ok", "poll", "")),
    ("early_driver_ok_last_msix", || early("driver_ok", "msix", "")),
    ("early_features_last_pic", || early("features", "pic", ",notify=exit")),
    ("early_no_status_ioapic", || early("status", "ioapic", "")),
    ("early_pass_to_a_disk_that_serves_it", || early("driver_ok", "msix", ",early=pass")),
    ("blk_msix_only_device", || blk("msix", ",irq=msix,notify=exit")),
    ("net_polled", || net("poll", "")),
    ("net_intx", || net("pic", ",irq=intx")),
    ("net_msix", || net("msix", "")),
    ("net_tap", net_tap),
    ("reboot", reboot),
    ("e15_p7_chips_through_the_pics", || chips("pic")),
    ("e15_p7_chips_through_the_ioapic", || chips("ioapic")),
    ("bar_moves", || scenario("test=bars", "survives a BAR on top of it")),
    ("bar_moves_intx", || scenario("test=bars irq=pic", "GUEST-OK bars")),
    ("every_offset_and_width", sweep),
    ("rings_bars_msix_and_chips_abused", abuse),
    ("processors_quarrel_about_a_device", quarrel),
    ("smp_register_hammering", smp),
    ("driver_reload_intx", || scenario("test=reload irq=pic count=50", "GUEST reloads=50")),
    ("driver_reload_msix", || scenario("test=reload irq=msix count=50", "GUEST reloads=50")),
    ("memory_above_the_pci_hole", memory_above_the_pci_hole),
    ("memory_16_mib_and_3_5_gib", memory_16_mib_and_3_5_gib),
    ("memory_64_gib", memory_64_gib),
    ("processors_1_to_32", processors_1_to_32),
    ("cpu_host", cpu_host),
    ("cpu_of_a_year", cpu_of_a_year),
    ("a_32_bit_processor_runs_no_64_bit_kernel", a_32_bit_processor_runs_no_64_bit_kernel),
    ("read_only_disk", read_only_disk),
    ("crash_leaves_a_register_dump", crash),
    ("reset_ends_with_no_reboot", reset_ends_with_no_reboot),
    ("sigterm_ends_a_running_guest", sigterm_ends_a_running_guest),
    ("a1_a_disk_that_never_answers_holds_no_end_up", a1_a_disk_that_never_answers_holds_no_end_up),
    ("signals_end_a_guest_that_does_not_listen", signals_end_a_guest_that_does_not_listen),
    ("f19_a_signal_that_was_ignored_at_start_stays_ignored", f19_a_signal_that_was_ignored_at_start_stays_ignored),
    ("messages_that_cannot_be_written_change_nothing", messages_that_cannot_be_written_change_nothing),
    ("limits_of_the_process_are_errors", limits_of_the_process_are_errors),
    ("a_crash_is_told_without_a_report", a_crash_is_told_without_a_report),
    ("events_and_messages_are_lines_of_json", events_and_messages_are_lines_of_json),
];

fn main() -> ExitCode {
    let missing = Kvm::find() == Kvm::Missing;
    let no_tap = tap_lack();
    let tests = TESTS.iter().map(|(name, test)| {
        let lack = match *name {
            _ if missing => Some(trials::NO_KVM),
            "net_tap" => no_tap,
            "memory_64_gib" if free_memory() < 65 << 30 => Some("less than 65 GiB of memory are free"),
            "memory_above_the_pci_hole" | "memory_16_mib_and_3_5_gib" if free_memory() < 5 << 30 => {
                Some("less than 5 GiB of memory are free")
            }
            _ => None,
        };
        trials::trial(name, test, lack)
    });
    trials::run(tests.collect())
}
