// SPDX-License-Identifier: Apache-2.0
//! The lifecycle engine in this process, with the bare-metal guest and its legacy drivers on `/dev/kvm`.
//! One test after the other: some count what the process has open.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::{LazyLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use api::operations::{Boot, Counters, Create, Delete, Pause, PauseClock, PowerButton, Resume, Shutdown, VmmShutdown};
use api::{Fault, VmConfig, VmState};
use serde_json::json;
use tests::{Kvm, TestDisk, small_guest, trials, wait_until};
use vmm::lifecycle::{Control, Ended, Engine, EngineOptions, EventBus};

static GUEST: LazyLock<Result<std::path::PathBuf, String>> = LazyLock::new(small_guest);

/// Longest a guest may take for what it does here. A safety net.
const LIMIT: Duration = Duration::from_secs(60);

/// An engine on a thread of its own, and a disk for its guests.
struct Bench {
    control: Control,
    disk: TestDisk,
    thread: JoinHandle<Result<Ended, String>>,
}

fn told(error: Fault) -> String {
    format!("{:?}: {error}: {:?}", error.code, error.causes)
}

impl Bench {
    fn start() -> Result<Self, String> {
        let (send, receive) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut engine = Engine::new(EngineOptions::default(), EventBus::new()).map_err(|e| e.to_string())?;
            let _ = send.send(engine.control());
            engine.run().map_err(|e| e.to_string())
        });
        let control = receive.recv_timeout(LIMIT).map_err(|e| e.to_string())?;
        Ok(Self { control, disk: TestDisk::new(64 << 10, 7)?, thread })
    }

    /// A guest with a disk and a network card.
    fn config(&self, cmdline: &str, cpus: u8) -> Result<VmConfig, String> {
        let guest = GUEST.as_ref().map_err(|e| e.as_str())?;
        let config = json!({
            "payload": { "kernel": guest, "cmdline": cmdline },
            "cpus": { "boot_vcpus": cpus, "profile": "legacy" },
            "memory": { "size": 64 << 20 },
            "serial": { "mode": "File", "file": self.serial_path() },
            "legacy_virtio": [
                { "id": "disk", "soft": { "blk": { "file": self.disk.path() } } },
                { "id": "net", "soft": { "net": { "backend": "loopback" } } },
            ],
        });
        serde_json::from_value(config).map_err(|e| e.to_string())
    }

    fn serial_path(&self) -> std::path::PathBuf {
        self.disk.dir().join("serial.log")
    }

    fn output(&self) -> String {
        fs::read(self.serial_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn boot(&self, cmdline: &str, cpus: u8) -> Result<(), String> {
        self.control.ask(Create::from(self.config(cmdline, cpus)?)).map_err(told)?;
        self.control.ask(Boot).map_err(told)
    }

    fn wait_for_output(&self, text: &str) -> Result<(), String> {
        wait_until(LIMIT, || self.output().contains(text)).map_err(|e| format!("{e}: '{text}' in\n{}", self.output()))
    }

    fn wait_for(&self, state: VmState) -> Result<(), String> {
        wait_until(LIMIT, || self.control.state() == state)
            .map_err(|e| format!("{e}: state {state}\n{}", self.output()))
    }

    /// A counter of a device, or of `vcpu0`.
    fn counter(&self, of: &str, name: &str) -> Result<u64, String> {
        let counters = self.control.ask(Counters).map_err(told)?.0;
        counters.get(of).and_then(|c| c.get(name)).copied().ok_or_else(|| format!("no counter {of}/{name}"))
    }

    fn end(self) -> Result<(), String> {
        self.control.ask(VmmShutdown).map_err(told)?;
        match self.thread.join() {
            Ok(Ok(Ended::Requested)) => Ok(()),
            other => Err(format!("the engine ended with {other:?}")),
        }
    }
}

/// The guest sleeps until the SCI comes, finds the power button's bit, and switches the machine off.
fn power_button(irq: &str) -> Result<(), String> {
    let bench = Bench::start()?;
    bench.boot(&format!("test=button irq={irq}"), 1)?;
    bench.wait_for_output("GUEST waits for the power button")?;
    thread::sleep(Duration::from_millis(200)); // Clock: for what must not happen.
    if bench.control.state() != VmState::Running {
        return Err(format!("it did not wait\n{}", bench.output()));
    }
    bench.control.ask(PowerButton).map_err(told)?;
    bench.wait_for(VmState::Shutdown)?;
    bench.wait_for_output("GUEST-OK button")?;
    bench.end()
}

/// The guest sees by its real-time clock, which goes on, that it was paused, and compares what its other clocks say.
fn pause_with_clocks(clock: PauseClock) -> Result<(), String> {
    let bench = Bench::start()?;
    // KVM in software has the host's counter, and lets nobody set it.
    let tsc = if Kvm::find() == Kvm::Emulated { "any" } else { "told" };
    bench.boot(&format!("test=paused clock={} tsc={tsc}", clock.name()), 1)?;
    bench.wait_for_output("GUEST goes by its clocks")?;
    bench.control.ask(Pause { clock }).map_err(told)?;
    // As long as the guest takes for a pause.
    thread::sleep(Duration::from_secs(6)); // Clock: the pause itself.
    bench.control.ask(Resume).map_err(told)?;
    bench.wait_for(VmState::Shutdown)?;
    bench.wait_for_output("GUEST-OK paused")?;
    bench.end()
}

/// Processors that hammer registers and a disk that is read stand still while paused, all of them.
fn pause_under_load() -> Result<(), String> {
    let bench = Bench::start()?;
    bench.boot("test=smp cpus=2 count=100000000", 2)?;
    let kicks = || Ok::<_, String>(bench.counter("disk", "kicks_ioeventfd")? + bench.counter("disk", "kicks_store")?);
    let reads = || bench.counter("disk", "reads");
    for _ in 0..5 {
        let before = (reads()?, kicks()?);
        wait_until(LIMIT, || reads().is_ok_and(|now| now > before.0 + 50) && kicks().is_ok_and(|now| now > before.1))?;
        bench.control.ask(Pause::default()).map_err(told)?;
        let paused = bench.control.ask(Counters).map_err(told)?.0;
        thread::sleep(Duration::from_millis(200)); // Clock: for what must not happen.
        let later = bench.control.ask(Counters).map_err(told)?.0;
        if paused != later {
            return Err(format!("counters move while paused\n{paused:?}\n{later:?}"));
        }
        bench.control.ask(Resume).map_err(told)?;
    }
    bench.end()
}

/// Pauses at any moment of a driver's life change nothing but the time: it comes and goes 50 times, with interrupts.
fn pauses_while_a_driver_works() -> Result<(), String> {
    let bench = Bench::start()?;
    bench.boot("test=reload irq=pic count=50", 1)?;
    let mut pauses = 0;
    while bench.control.state() != VmState::Shutdown {
        // The guest may end at any moment: then there is nothing to pause.
        if bench.control.ask(Pause::default()).is_ok() {
            pauses += 1;
            thread::sleep(Duration::from_millis(2)); // Clock: any moment will do.
            let _ = bench.control.ask(Resume);
        }
        thread::sleep(Duration::from_millis(7)); // Clock: any moment will do.
    }
    let output = bench.output();
    if !output.contains("GUEST-OK reload") || pauses < 5 {
        return Err(format!("{pauses} pauses\n{output}"));
    }
    bench.end()
}

/// A guest that goes through all its tests after a shutdown in the middle and a second boot.
fn shut_down_in_the_middle_and_boot_again() -> Result<(), String> {
    let bench = Bench::start()?;
    bench.boot("test=blk irq=pic", 1)?;
    wait_until(LIMIT, || bench.counter("disk", "reads").is_ok_and(|reads| reads > 5))?;
    let _ = bench.control.ask(Shutdown);
    bench.wait_for(VmState::Shutdown)?;
    bench.control.ask(Boot).map_err(told)?;
    bench.wait_for(VmState::Shutdown)?;
    bench.wait_for_output("GUEST-OK blk")?;
    bench.end()
}

/// What the process has: descriptors, threads, KiB of address space.
fn holdings() -> Result<(usize, usize, u64), String> {
    let entries = |path| fs::read_dir(path).map(Iterator::count).map_err(|e| e.to_string());
    let status = fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = size.and_then(|text| text.split_whitespace().next()?.parse().ok()).ok_or("no VmSize")?;
    Ok((entries("/proc/self/fd")?, entries("/proc/self/task")?, kib))
}

/// The kernel may need a moment to take a thread out of the list after it was joined.
fn settled(wanted: (usize, usize)) -> Result<(usize, usize, u64), String> {
    let _ = wait_until(LIMIT, || holdings().is_ok_and(|(fds, threads, _)| (fds, threads) == wanted));
    holdings()
}

fn a_hundred_lives_leak_nothing() -> Result<(), String> {
    let bench = Bench::start()?;
    let config = bench.config("test=smp cpus=2 count=100000000", 2)?;
    let live = || {
        bench.control.ask(Create::from(config.clone())).map_err(told)?;
        bench.control.ask(Boot).map_err(told)?;
        // Every other one is deleted while its guest works.
        if bench.control.events().published() % 2 == 0 {
            wait_until(LIMIT, || bench.counter("disk", "reads").is_ok_and(|reads| reads > 0))?;
        }
        bench.control.ask(Delete).map_err(told)
    };
    // What is made once in a process is there after a few.
    for _ in 0..10 {
        live()?;
    }
    let before = holdings()?;
    for _ in 0..100 {
        live()?;
    }
    let after = settled((before.0, before.1))?;
    println!("descriptors, threads, KiB: {before:?}, after 100 lives {after:?}");
    if (after.0, after.1) != (before.0, before.1) {
        return Err(format!("descriptors and threads: {before:?}, then {after:?}"));
    }
    // One machine's memory is 64 MiB: not a third of one may be left of a hundred.
    if after.2 > before.2 + (20 << 10) {
        return Err(format!("address space: {} KiB, then {} KiB", before.2, after.2));
    }
    bench.end()
}

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("power_button_through_the_pics", || power_button("pic")),
    ("power_button_through_the_ioapic", || power_button("ioapic")),
    ("e17_a_pause_with_clocks_that_run", || pause_with_clocks(PauseClock::Run)),
    ("e17_a_pause_with_clocks_that_stop", || pause_with_clocks(PauseClock::Stop)),
    ("pause_under_load", pause_under_load),
    ("pauses_while_a_driver_works", pauses_while_a_driver_works),
    ("shut_down_in_the_middle_and_boot_again", shut_down_in_the_middle_and_boot_again),
    ("a_hundred_lives_leak_nothing", a_hundred_lives_leak_nothing),
];

/// Starts this program again with one arena of the allocator for all threads. How many there are else depends on which
/// threads met by chance, and each takes as much address space as the memory of one machine, which a leak would.
fn with_one_arena() -> std::io::Result<()> {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    Err(again.args(std::env::args_os().skip(1)).env(ARENAS, "1").exec())
}

fn main() -> ExitCode {
    if let Err(error) = with_one_arena() {
        eprintln!("lifecycle: cannot start itself again: {error}");
        return ExitCode::FAILURE;
    }
    let lack = (Kvm::find() == Kvm::Missing).then_some(trials::NO_KVM);
    let tests = TESTS.iter().map(|(name, test)| trials::trial(name, test, lack));
    trials::run_one_by_one(tests.collect())
}
