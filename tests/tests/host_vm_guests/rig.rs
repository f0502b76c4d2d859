// SPDX-License-Identifier: Apache-2.0
//! The functions in the host VM, and machines on them.

use std::env;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::report::last_boot;
use tests::sysfs::{self, bind, driver, set_vfs, write};
use tests::{Finished, Heirloom, Running, Signal, wait_until_ok};

use crate::Outcome;

/// For an emulated machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The token that tests give.
pub(crate) const TOKEN: &str = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
/// Memory of small guests, as [`crate::reach`] needs it.
const SMALL: &str = "--memory=64M,hugepages=on";

pub(crate) fn text(error: impl Display) -> String {
    error.to_string()
}

/// Fails with `what` unless `holds`.
pub(crate) fn check(holds: bool, what: impl Display) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

/// What the script calls a function: `pf` (of the software), `disk`, `other_pf`, `other`, `neighbour`.
pub(crate) fn address(which: &str) -> Outcome<String> {
    let name = format!("HEIRLOOM_E2E_{}", which.to_uppercase());
    env::var(&name).map_err(|_| format!("{name} is not set"))
}

pub(crate) fn vf(index: usize) -> Outcome<String> {
    sysfs::vf(&address("pf")?, index)
}

/// Two VFs and their PF on these drivers, whatever the test before left behind.
pub(crate) fn bound(pf_driver: &str, vf_driver: &str) -> Outcome {
    let pf = address("pf")?;
    let fits = |index| vf(index).is_ok_and(|vf| driver(&vf).as_deref() == Some(vf_driver));
    if driver(&pf).as_deref() == Some(pf_driver) && (0..2).all(fits) {
        return Ok(());
    }
    if driver(&pf).as_deref() != Some(pf_driver) {
        set_vfs(&pf, 0, false)?;
        bind(&pf, pf_driver)?;
    }
    // VFs that are enabled stay: their drivers are what differs.
    if vf(1).is_err() {
        set_vfs(&pf, 2, false)?;
    }
    (0..2).try_for_each(|index| bind(&vf(index)?, vf_driver))
}

/// PF and VFs as hardware for us.
pub(crate) fn ours() -> Outcome {
    bound("vfio-pci", "vfio-pci")
}

/// A file of its own for each use.
pub(crate) fn file(name: &str) -> PathBuf {
    env::temp_dir().join(name)
}

fn report_words(run: Heirloom) -> Heirloom {
    // Left by a run before, it would be taken for this one's.
    let _ = fs::remove_file(file("report.json"));
    run.arg("--report").arg(file("report.json"))
}

/// What the last run reported about its last boot.
pub(crate) fn reported() -> Outcome<Value> {
    last_boot(&file("report.json"))
}

/// The small guest with legacy drivers of its own.
pub(crate) fn small(cmdline: &str, devices: &[&str]) -> Outcome<Heirloom> {
    let run = Heirloom::run(&[SMALL, "--cpu=legacy", "--kernel"]).arg(tests::small_guest()?);
    Ok(report_words(run.arg(format!("--cmdline={cmdline}")).args(devices).limit(Duration::from_secs(90))))
}

/// A Linux guest, to its end.
pub(crate) fn linux(cmdline: &str, device: &str) -> Outcome<Finished> {
    boot("vmlinux", cmdline, device)
}

/// The same with the kernel whose virtio drivers know the orders of old ones (`resources/guest`).
pub(crate) fn old_linux(cmdline: &str, device: &str, order: u8) -> Outcome<Finished> {
    // Not quiet: the partition table shows in the kernel's messages.
    boot("tiny.vmlinux", &format!("{cmdline} loglevel=7 virtio.old_order={order}"), device)
}

fn boot(kernel: &str, cmdline: &str, device: &str) -> Outcome<Finished> {
    let folder = PathBuf::from(env::var_os("HEIRLOOM_GUESTS").ok_or("HEIRLOOM_GUESTS is not set")?);
    let fixed = "console=ttyS0 quiet reboot=k panic=-1 no_timer_check tsc=reliable heirloom.expect=1";
    let run = Heirloom::run(&["--memory=128M,hugepages=on", "--kernel"])
        .arg(folder.join(kernel))
        .arg("--initrd")
        .arg(folder.join("initramfs.cpio"))
        .arg(format!("--cmdline={fixed} {cmdline}"))
        .arg(device);
    report_words(run).limit(Duration::from_secs(120)).finish()
}

/// A disk of the software PF works: the next machine reads and writes all of it by way of the PF.
pub(crate) fn works(vf: &str) -> Outcome {
    let run = small("test=blk irq=pic", &[&format!("--legacy-virtio=vf={vf},id=next")])?;
    run.finish()?.expect_code(0)?.expect_output("GUEST-OK").map(drop)
}

/// Drivers and VFs, which a refusal does not change.
fn state() -> Outcome<String> {
    let mut state = String::new();
    for entry in fs::read_dir("/sys/bus/pci/devices").map_err(text)?.flatten() {
        let address = entry.file_name().to_string_lossy().into_owned();
        let vfs = sysfs::read(entry.path().join("sriov_numvfs")).unwrap_or_default();
        state += &format!("{address} {:?} {vfs}\n", driver(&address));
    }
    Ok(state)
}

/// A set-up that fails: exit code 3, one line that has all of `wanted`, and a host that is as it was.
pub(crate) fn refused(device: &str, wanted: &[&str]) -> Outcome {
    let before = state()?;
    let finished = small("test=hello", &[device])?.finish()?.expect_code(3)?;
    let lines: Vec<&str> = finished.stderr.lines().collect();
    let [line] = lines.as_slice() else { return Err(format!("{} lines, not one\n{finished}", lines.len())) };
    check(line.starts_with("heirloom: "), line)?;
    for text in wanted {
        check(line.contains(text), format!("'{text}' is missing in: {line}"))?;
    }
    println!("{line}");
    let after = state()?;
    check(before == after, format!("the host has changed:\n{before}then:\n{after}"))
}

/// A machine whose guest runs until it is ended.
pub(crate) struct Spinning {
    machine: Running,
}

impl Spinning {
    /// Starts one and waits until its guest runs.
    pub(crate) fn start(devices: &[&str]) -> Outcome<Self> {
        let log = file("spinning.log");
        let _ = fs::remove_file(&log);
        let run = small("test=spin", devices)?.args(&["--serial=none", "-v", "--log-file"]).arg(&log);
        let mut machine = run.stderr(fs::File::create(file("spinning.err")).map_err(text)?).start()?;
        let loaded = || fs::read_to_string(&log).is_ok_and(|log| log.contains("kernel loaded"));
        wait_until_ok(PATIENCE, || {
            if let Some(status) = machine.try_wait().map_err(text)? {
                let error = fs::read_to_string(file("spinning.err")).unwrap_or_default();
                return Err(format!("it ended at once: {status}\n{error}"));
            }
            Ok(loaded())
        })?;
        Ok(Self { machine })
    }

    pub(crate) fn id(&self) -> u32 {
        self.machine.id()
    }

    /// Fails if the machine has ended.
    pub(crate) fn runs(&mut self) -> Outcome {
        match self.machine.try_wait().map_err(text)? {
            None => Ok(()),
            Some(status) => Err(format!("the machine ended: {status}")),
        }
    }

    /// As a crash ends it.
    pub(crate) fn kill(mut self) -> Outcome {
        self.machine.kill().map_err(text)?;
        self.machine.wait().map(drop).map_err(text)
    }

    /// Leaves it to the end of the VM.
    pub(crate) fn forget(self) {
        std::mem::forget(self.machine);
    }

    /// Ends it as an operator does. Returns its report.
    pub(crate) fn end(mut self) -> Outcome<Value> {
        self.runs()?;
        self.machine.signal(Signal::TERM)?;
        wait_until_ok(PATIENCE, || Ok(self.machine.try_wait().map_err(text)?.is_some()))?;
        let code = self.machine.wait().map_err(text)?.code();
        check(code == Some(143), format!("exit code {code:?}"))?;
        reported()
    }

    /// What it logged.
    pub(crate) fn log() -> String {
        fs::read_to_string(file("spinning.log")).unwrap_or_default()
    }
}

/// Writes to sysfs, which may wait for a machine to let go of a function: a machine that does not is not waited for
/// for ever.
pub(crate) fn write_soon(path: &Path, what: &str) -> Outcome {
    let (path, what) = (path.to_owned(), what.to_owned());
    let writer = thread::spawn(move || write(&path, &what));
    wait_until_ok(PATIENCE, || Ok(writer.is_finished()))?;
    writer.join().map_err(|_| "the thread died")?
}
