// SPDX-License-Identifier: Apache-2.0
//! Whole distributions: Debian 12 from its boot sector to a login, and back. The disks are `scripts/guest-disk`'s;
//! `scripts/lib/distributions.sh` brings them into the host VM, one for each architecture.
//!
//! `HEIRLOOM_DISK_AMD64` and `HEIRLOOM_DISK_I386` name the disks, images or block devices. The tests write to them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tests::report::{boot_count, check, device, last_boot, number};
use tests::{Console, Heirloom, Kvm, trials};

/// For both boots, on an emulated machine that is busy.
const LIMIT: Duration = Duration::from_secs(1500);
/// Byte at which the partition begins.
const PARTITION: u64 = 1 << 20;

struct Distribution {
    name: &'static str,
    /// What names the disk.
    variable: &'static str,
    /// What `uname -m` says.
    machine: &'static str,
}

const DISTRIBUTIONS: &[Distribution] = &[
    Distribution { name: "debian_12_amd64", variable: "HEIRLOOM_DISK_AMD64", machine: "x86_64" },
    Distribution { name: "debian_12_i386", variable: "HEIRLOOM_DISK_I386", machine: "i686" },
];

impl Distribution {
    fn disk(&self) -> Option<PathBuf> {
        env::var_os(self.variable).map(PathBuf::from)
    }

    fn lack(&self, kvm: Kvm) -> Option<String> {
        match (kvm, self.disk()) {
            (Kvm::Missing, _) => Some(trials::NO_KVM.to_owned()),
            (Kvm::Emulated, _) => Some("/dev/kvm only emulates; scripts/test runs this in the host VM".to_owned()),
            (Kvm::Fast, None) => {
                Some(format!("{} names no disk of scripts/guest-disk; scripts/test sets it", self.variable))
            }
            (Kvm::Fast, Some(_)) => None,
        }
    }
}

/// From a boot's first output to a shell.
fn log_in(console: &mut Console) -> Result<(), String> {
    console.wait_for("GRUB")?;
    console.wait_for("heirloom login:")?;
    console.type_line("root")?;
    console.wait_for("Password:")?;
    console.type_line("heirloom")?;
    console.wait_for("# ").map(drop)
}

/// Debian's own look at the clock: it waits for the interrupt of a tick, and shows this host's time.
fn hwclock_hears_a_tick(console: &mut Console) -> Result<(), String> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).map_err(|e| e.to_string());
    let before = now()?;
    let output = console.command("hwclock --show --verbose 2>&1")?;
    let after = now()?;
    said(&output, "Waiting for clock tick...")?;
    said(&output, "...got clock tick")?;
    // The tick did not interrupt; or there is nothing that could, and it looks again and again.
    let instead = ["timed out", "does not have interrupt functions", "Waiting in loop"];
    if let Some(instead) = instead.into_iter().find(|instead| output.contains(instead)) {
        return Err(format!("'{instead}' in: {output}"));
    }
    let shown = output.split_once(" seconds since 1969").and_then(|(before, _)| before.rsplit_once("= "));
    let shown: u64 = shown.and_then(|(_, seconds)| seconds.parse().ok()).ok_or_else(|| format!("no time: {output}"))?;
    if !(before..=after).contains(&shown) {
        return Err(format!("the guest's clock is at {shown}, the host's was at {before} to {after}"));
    }
    let line = console.command("grep rtc0 /proc/interrupts")?;
    let count = line.split_once(':').and_then(|(_, counts)| counts.split_whitespace().next()?.parse::<u64>().ok());
    if count.is_some_and(|count| count > 0) { Ok(()) } else { Err(format!("no interrupt of the clock: {line}")) }
}

/// Ctrl-A B is a break, which makes the next key one of the kernel's: `h` has it say which ones there are.
fn break_is_sysrq(console: &mut Console) -> Result<(), String> {
    console.type_keys(b"\x01bh")?;
    console.wait_for("sysrq: HELP")?;
    // It was no key for the shell.
    said(&console.command("echo still here")?, "still here")
}

fn said(output: &str, wanted: &str) -> Result<(), String> {
    if output.contains(wanted) { Ok(()) } else { Err(format!("'{wanted}' is missing in: {output}")) }
}

/// Nothing in the file system waits for repair.
fn file_system_is_clean(disk: &Path) -> Result<(), String> {
    let file_system = format!("{}?offset={PARTITION}", disk.display());
    let output = Command::new("e2fsck").args(["-fn", &file_system]).output().map_err(|e| format!("e2fsck: {e}"))?;
    let text = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&text).into_owned()) }
}

fn run(distribution: &Distribution) -> Result<(), String> {
    let folder = TempDir::new().map_err(|e| e.to_string())?;
    let report = folder.path().join("report.json");
    let disk = distribution.disk().ok_or("no disk")?;
    file_system_is_clean(&disk)?;
    let machine = Heirloom::run(&["--memory=512M"])
        .arg(format!("--legacy-virtio=soft=blk,file={},id=disk,interface=legacy", disk.display()))
        .arg("--legacy-virtio=soft=net,loopback,id=net,interface=legacy")
        .arg("--report")
        .arg(&report)
        // Ctrl-A is for people, who have a terminal.
        .on_a_terminal();
    let mut console = Console::start(machine, LIMIT)?;

    log_in(&mut console)?;
    said(&console.command("uname -m")?, distribution.machine)?;
    // Bit 32, VERSION_1, of both devices: a legacy driver has none.
    said(&console.command("cut -c33 /sys/bus/virtio/devices/*/features | tr '\\n' .")?, "0.0.")?;
    said(&console.command("ping -c 3 10.0.2.2")?, "3 received")?;
    hwclock_hears_a_tick(&mut console)?;
    break_is_sysrq(&mut console)?;
    console.command("echo kept over a reboot >/root/kept")?;
    console.type_line("reboot")?;

    log_in(&mut console)?;
    said(&console.command("cat /root/kept")?, "kept over a reboot")?;
    said(&console.command("ping -c 3 10.0.2.2")?, "3 received")?;
    console.type_line("poweroff")?;
    let (status, text) = console.end()?;
    if !status.success() {
        return Err(format!("{status}\n{text}"));
    }

    file_system_is_clean(&disk)?;
    let boots = boot_count(&report)?;
    let last = last_boot(&report)?;
    check(boots == 2, &format!("{boots} boots"), &last)?;
    for id in ["disk", "net"] {
        let device = device(&last, id)?;
        check(number(&device["kicks"]["ioeventfd"])? > 5, "it was not used", device)?;
        check(device["faulted"].is_null(), "it is out of service", device)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let kvm = Kvm::find();
    // Elsewhere than in the host VM all of them are there, and ignored.
    let given = |d: &&Distribution| d.disk().is_some() || DISTRIBUTIONS.iter().all(|d| d.disk().is_none());
    let tests = DISTRIBUTIONS.iter().filter(given);
    trials::run_one_by_one(tests.map(|d| trials::trial(d.name, move || run(d), d.lack(kvm))).collect())
}
