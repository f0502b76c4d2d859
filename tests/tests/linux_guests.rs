// SPDX-License-Identifier: Apache-2.0
//! Linux guests whose stock virtio drivers use the legacy interface, on virtual functions of the
//! software PF. The guest's init (`resources/guest`) says what it saw; the host checks it.
//!
//! Kernels are looked for in `HEIRLOOM_GUESTS`, else `target/guests`, where `scripts/test` puts them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tests::{Finished, Heirloom, Kvm, TestDisk, free_memory, report, trials, workspace};

/// Bytes of the disk in these tests: small, because an emulating KVM hashes it slowly.
const DISK: usize = 1 << 20;
/// Sector and text that the guest writes.
const WRITE: (usize, &str) = (100, "written-by-a-legacy-guest");

/// One guest.
struct Guest {
    name: &'static str,
    kernel: &'static str,
    initrd: &'static str,
    /// Added to the kernel's command line.
    cmdline: &'static str,
    words: &'static [&'static str],
    /// What the driver must end up with: `msix` or `intx`.
    interrupts: &'static str,
    cpus: u8,
}

impl Guest {
    fn has_acpi(&self) -> bool {
        !self.cmdline.contains("acpi=off")
    }
}

const TINY: Guest = Guest {
    name: "",
    kernel: "tiny-x86_64.vmlinux",
    initrd: "initramfs-x86_64.cpio",
    cmdline: "",
    words: &["--memory=128M", "--cpu=legacy"],
    interrupts: "msix",
    cpus: 1,
};

const TINY_I386: Guest = Guest { initrd: "initramfs-i386.cpio", ..TINY };

const STOCK: Guest =
    Guest { kernel: "stock.bzImage", initrd: "initramfs-stock.cpio", words: &["--memory=256M"], ..TINY };

/// Runs wherever there is a KVM at all.
const TINY_GUESTS: &[Guest] = &[
    Guest { name: "tiny_msix_acpi", ..TINY },
    Guest { name: "tiny_intx_mp_table", cmdline: "pci=nomsi acpi=off", interrupts: "intx", ..TINY },
    Guest { name: "tiny_intx_pics", cmdline: "pci=nomsi acpi=off noapic nolapic", interrupts: "intx", ..TINY },
    Guest {
        name: "tiny_bzimage_4_cpus",
        kernel: "tiny-x86_64.bzImage",
        words: &["--memory=128M", "--cpu=legacy", "--cpus=4"],
        cpus: 4,
        ..TINY
    },
    Guest {
        name: "tiny_intx_4_gib",
        cmdline: "pci=nomsi",
        words: &["--memory=4G", "--cpu=legacy"],
        interrupts: "intx",
        ..TINY
    },
];

/// 32-bit entry of a bzImage, as kernels before 3.8 have it for 64 bits too, and PVH.
const TINY_32_BIT_GUESTS: &[Guest] = &[
    Guest {
        name: "tiny_i386_bzimage_intx",
        kernel: "tiny-i386.bzImage",
        cmdline: "pci=nomsi",
        interrupts: "intx",
        ..TINY_I386
    },
    Guest { name: "tiny_i386_vmlinux_pvh_msix", kernel: "tiny-i386.vmlinux", ..TINY_I386 },
];

/// Needs a KVM that runs guests at speed.
const STOCK_GUESTS: &[Guest] = &[
    Guest { name: "stock_bzimage_msix", ..STOCK },
    Guest { name: "stock_vmlinux_intx", kernel: "stock.vmlinux", cmdline: "pci=nomsi", interrupts: "intx", ..STOCK },
    Guest { name: "stock_4_cpus", words: &["--memory=256M", "--cpus=4"], cpus: 4, ..STOCK },
];

fn guests() -> PathBuf {
    std::env::var_os("HEIRLOOM_GUESTS").map_or_else(|| workspace().join("target/guests"), PathBuf::from)
}

/// The words after `kind` in a line that init printed: `HEIRLOOM-kind key=value ...`.
fn line<'a>(finished: &'a Finished, kind: &str) -> Result<&'a str, String> {
    let found = finished.stdout.lines().find_map(|l| Some(&l[l.find(kind)?..]));
    Ok(found.ok_or_else(|| format!("no line {kind}\n{finished}"))?.trim_end())
}

fn expect(line: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| !line.split_whitespace().any(|w| w.starts_with(**word))) {
        None => Ok(()),
        Some(word) => Err(format!("'{word}' is missing in: {line}")),
    }
}

fn start(guest: &Guest, disk: &TestDisk) -> Result<Finished, String> {
    let (sector, text) = WRITE;
    let cmdline = format!(
        "console=ttyS0 quiet reboot=k panic=-1 virtio_pci.force_legacy=1 no_timer_check tsc=reliable \
         heirloom.write={sector},{text} heirloom.net=10.0.2.15/24,10.0.2.2 {}",
        guest.cmdline
    );
    let mut run = Heirloom::run(guest.words).limit(Duration::from_secs(400));
    for (option, file) in [("--kernel", guest.kernel), ("--initrd", guest.initrd)] {
        run = run.arg(option).arg(guests().join(file));
    }
    // With ACPI off a guest cannot power itself off: it resets, which ends the run here.
    let end = if guest.has_acpi() { "" } else { "heirloom.end=reboot" };
    run = run.arg(format!("--cmdline={cmdline} {end}"));
    if !guest.has_acpi() {
        run = run.arg("--no-reboot");
    }
    let run = run
        .arg(format!("--legacy-virtio=soft=blk,file={},id=disk", disk.path().display()))
        .args(&["--legacy-virtio=soft=net,loopback,id=net", "--report"])
        .arg(disk.dir().join("report.json"));
    run.finish()
}

fn run(guest: &Guest) -> Result<(), String> {
    let disk = TestDisk::new(DISK, 11)?;
    let mut expected = disk.bytes()?;
    let digest: String = Sha256::digest(&expected).iter().map(|b| format!("{b:02x}")).collect();
    let code = if guest.has_acpi() { 0 } else { 6 };
    let finished = start(guest, &disk)?.expect_code(code)?.expect_output("HEIRLOOM-DONE ok")?;

    expect(line(&finished, "HEIRLOOM-INIT")?, &[&format!("cpus={}", guest.cpus)])?;
    let virtio: Vec<&str> = finished.stdout.lines().filter(|l| l.contains("HEIRLOOM-VIRTIO")).collect();
    if virtio.len() != 2 {
        return Err(format!("{} virtio devices instead of 2\n{finished}", virtio.len()));
    }
    for device in virtio {
        expect(device, &["legacy=yes", &format!("irq={}", guest.interrupts)])?;
    }
    expect(line(&finished, "HEIRLOOM-BLK")?, &[&format!("size={DISK}"), &format!("sha256={digest}")])?;
    expect(line(&finished, "HEIRLOOM-WRITE")?, &["ok"])?;
    let net = line(&finished, "HEIRLOOM-NET")?;
    let sent = net.split_whitespace().find_map(|w| w.strip_prefix("sent=")).ok_or("nothing was sent")?;
    expect(net, &[&format!("received={sent}")])?;

    let (sector, text) = WRITE;
    let pattern = format!("{text}\n").repeat(512);
    expected[sector * 512..(sector + 1) * 512].copy_from_slice(&pattern.as_bytes()[..512]);
    if disk.bytes()? != expected {
        return Err("the disk image is not what the guest should have made of it".to_owned());
    }
    let report = report::last_boot(&disk.dir().join("report.json"))?;
    check_report(guest, &report)
}

fn check_report(guest: &Guest, report: &Value) -> Result<(), String> {
    for id in ["disk", "net"] {
        let device = report::device(report, id)?;
        report::check(report::all_commands(device) >= 15, "too few admin commands for a probe", device)?;
        report::check(device["kicks"]["admin"] == 0, "a kick went as an admin command", device)?;
        report::check(device["faulted"].is_null(), "the device is out of service", device)?;
        let synthetic = report::number(&device["intx"]["queue"])?;
        report::check((synthetic > 0) == (guest.interrupts == "intx"), "INTx does not fit the guest's mode", device)?;
    }
    Ok(())
}

/// Why this machine cannot run `guest`, if it cannot.
fn lack(guest: &Guest, kvm: Kvm, needs_speed: bool) -> Option<String> {
    match kvm {
        Kvm::Missing => return Some("no usable /dev/kvm".to_owned()),
        Kvm::Emulated if needs_speed => {
            return Some("/dev/kvm only emulates; scripts/test runs this in the host VM".to_owned());
        }
        Kvm::Emulated | Kvm::Fast => {}
    }
    if guest.words.contains(&"--memory=4G") && free_memory() < 5 << 30 {
        return Some("less than 5 GiB of memory are free".to_owned());
    }
    let missing = [guest.kernel, guest.initrd].into_iter().find(|file| !guests().join(file).exists())?;
    Some(format!("no {missing} in {}; scripts/test makes it", guests().display()))
}

fn main() -> ExitCode {
    let kvm = Kvm::find();
    // A KVM in software does not get 32-bit paging right, and a stock kernel takes it for ever.
    let groups = [(TINY_GUESTS, false), (TINY_32_BIT_GUESTS, true), (STOCK_GUESTS, true)];
    let tests = groups.into_iter().flat_map(|(group, needs_speed)| {
        group.iter().map(move |guest| trials::trial(guest.name, || run(guest), lack(guest, kvm, needs_speed)))
    });
    trials::run(tests.collect())
}
