// SPDX-License-Identifier: Apache-2.0
//! Linux guests whose stock virtio drivers use the legacy interface, on virtual functions of the
//! software PF. The guest's init (`resources/guest`) says what it saw; the host checks it.
//!
//! Kernels are looked for in `HEIRLOOM_GUESTS`, else `target/guests`, where `scripts/test` puts them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tests::{Finished, Heirloom, Kvm, Running, TestDisk, free_memory, report, trials, workspace};

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
    /// Old orders of the tiny kernel, see its patch: 1 is DRIVER_OK after the probe, 2 the features as well.
    old_order: u8,
    /// What becomes of kicks before DRIVER_OK.
    early: &'static str,
    /// The functions are another process', and lose such kicks.
    loses_early_kicks: bool,
}

impl Guest {
    /// How often an early kick starts the device: with the orders of today there are none, and the network driver of
    /// today uses no queue in its probe.
    fn early_starts(&self, id: &str) -> u64 {
        u64::from(id == "disk" && self.old_order > 0 && self.early != "pass")
    }

    /// How many processors the machine has; the guest may use less.
    fn processors(&self) -> u8 {
        self.words.iter().find_map(|word| word.strip_prefix("--cpus=")?.parse().ok()).unwrap_or(1)
    }

    /// Whether this word, or what follows `pci=`, is in its command line.
    fn has_word(&self, word: &str) -> bool {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        self.cmdline.split_whitespace().any(|given| match given.split_once('=') {
            Some(("pci", values)) => key == "pci" && values.split(',').any(|given| given == value),
            _ => given == word,
        })
    }

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
    old_order: 0,
    early: "auto",
    loses_early_kicks: false,
};

const TINY_INTX: Guest = Guest { cmdline: "pci=nomsi", interrupts: "intx", ..TINY };

const TINY_I386: Guest = Guest { initrd: "initramfs-i386.cpio", ..TINY };

const STOCK: Guest =
    Guest { kernel: "stock.bzImage", initrd: "initramfs-stock.cpio", words: &["--memory=256M"], ..TINY };

/// 32 bits with PAE. In the host VM such a guest needs a KVM without nested paging.
const STOCK_PAE: Guest = Guest { kernel: "stock-i386.bzImage", initrd: "initramfs-stock-i386.cpio", ..STOCK };

const TWO_PROCESSORS: &[&str] = &["--memory=128M", "--cpu=legacy", "--cpus=2"];

/// Words that old images are started with when they have trouble. A guest with one processor and one with two has each;
/// several share a guest where they do not undo each other.
const WORDS: [&str; 7] = ["acpi=off", "noapic", "nolapic", "pci=conf1", "nosmp", "maxcpus=1", "pci=nomsi"];

/// What of [`WORDS`] no guest has: with two processors it stands still now and then, see docs/guests.md.
const NOT_RUN: [(&str, u8); 1] = [("noapic", 2)];

/// Nobody takes a guest of [`WORDS`] away.
fn every_word_with_one_and_two_processors() -> Result<(), String> {
    let has = |&(word, processors): &(&str, u8)| {
        let mut guests = TINY_GUESTS.iter().chain(OLD_ORDERS);
        guests.any(|guest| guest.has_word(word) && guest.processors() == processors)
    };
    let cells = WORDS.into_iter().flat_map(|word| [(word, 1), (word, 2)]);
    let missing: Vec<_> = cells.filter(|cell| !has(cell)).collect();
    if missing == NOT_RUN { Ok(()) } else { Err(format!("no guest has {missing:?}, and {NOT_RUN:?} are known")) }
}

/// Runs wherever there is a KVM at all.
const TINY_GUESTS: &[Guest] = &[
    Guest { name: "tiny_msix_acpi", ..TINY },
    Guest {
        name: "tiny_intx_mp_table",
        cmdline: "pci=nomsi,conf1 acpi=off",
        interrupts: "intx",
        words: TWO_PROCESSORS,
        cpus: 2,
        ..TINY
    },
    Guest { name: "tiny_intx_pics", cmdline: "pci=nomsi,conf1 acpi=off noapic nolapic", interrupts: "intx", ..TINY },
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

/// The drivers of Linux 6.1 in the orders of kernels before 3.19: the probe of the disk waits for its partition table.
const OLD_ORDERS: &[Guest] = &[
    Guest { name: "old_order_driver_ok_msix", old_order: 1, cmdline: "maxcpus=1", ..TINY },
    Guest { name: "old_order_features_intx", old_order: 2, cmdline: "pci=nomsi nosmp", ..TINY_INTX },
    Guest {
        name: "old_order_driver_ok_early_pass",
        old_order: 1,
        early: "pass",
        cmdline: "maxcpus=1",
        words: TWO_PROCESSORS,
        ..TINY
    },
    Guest {
        name: "old_order_driver_ok_lost_kicks_intx",
        old_order: 1,
        loses_early_kicks: true,
        cmdline: "pci=nomsi nosmp",
        words: TWO_PROCESSORS,
        ..TINY_INTX
    },
    Guest { name: "old_order_features_lost_kicks_msix", old_order: 2, loses_early_kicks: true, ..TINY },
    Guest {
        name: "old_order_features_lost_kicks_early_start",
        old_order: 2,
        early: "start",
        loses_early_kicks: true,
        cmdline: "pci=nomsi nolapic",
        words: TWO_PROCESSORS,
        ..TINY_INTX
    },
];

/// 32-bit entry of a bzImage, as kernels before 3.8 have it for 64 bits too, and PVH.
const TINY_32_BIT_GUESTS: &[Guest] = &[
    Guest {
        name: "tiny_i386_bzimage_intx",
        kernel: "tiny-i386.bzImage",
        cmdline: "pci=nomsi",
        words: &["--memory=128M", "--cpu=i686-2001"],
        interrupts: "intx",
        ..TINY_I386
    },
    Guest { name: "tiny_i386_vmlinux_pvh_msix", kernel: "tiny-i386.vmlinux", ..TINY_I386 },
];

/// Needs a KVM that runs guests at speed.
const STOCK_GUESTS: &[Guest] = &[
    Guest { name: "stock_bzimage_msix", ..STOCK },
    Guest { name: "stock_vmlinux_intx", kernel: "stock.vmlinux", cmdline: "pci=nomsi", interrupts: "intx", ..STOCK },
    Guest { name: "stock_pae_msix", ..STOCK_PAE },
    Guest { name: "stock_pae_intx", cmdline: "pci=nomsi", interrupts: "intx", ..STOCK_PAE },
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

/// Offset of the one partition's entry in the first sector, and where the partition is.
const PARTITION: (usize, u32, u32) = (446, 64, 1024);

/// Gives the disk a partition table.
fn partition(disk: &TestDisk) -> Result<(), String> {
    let (at, first, sectors) = PARTITION;
    let mut bytes = disk.bytes()?;
    bytes[at..510].fill(0);
    bytes[at + 4] = 0x83;
    bytes[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
    bytes[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(disk.path(), bytes).map_err(|e| e.to_string())
}

/// The devices of a guest; a server that has to live as long, if they are another process'.
fn devices(guest: &Guest, disk: &TestDisk) -> Result<([String; 2], Option<Running>), String> {
    let file = disk.path().display().to_string();
    let early = guest.early;
    if !guest.loses_early_kicks {
        let words = [format!("soft=blk,file={file},id=disk"), "soft=net,loopback,id=net".to_owned()];
        return Ok((words.map(|words| format!("--legacy-virtio={words},early={early}")), None));
    }
    let mut server = Heirloom::plain(&["soft-pf", "--mixed", "--quirk=loses-early-kicks", "--vf=net,loopback"])
        .arg(format!("--vf=blk,file={file}"))
        .arg("--socket-dir")
        .arg(disk.dir())
        .start()?;
    let mut line = String::new();
    let out = server.stdout.take().ok_or("the server has no output")?;
    BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
    if !line.starts_with("listening on ") {
        return Err(format!("the server says {line:?}"));
    }
    let folder = disk.dir().display();
    let vf = |member: u8, id: &str| {
        let socket = member - 1;
        format!(
            "--legacy-virtio=vfio-user={folder}/vf{socket}.sock,pf-socket={folder}/pf.sock,member={member},id={id},early={early}"
        )
    };
    Ok(([vf(2, "disk"), vf(1, "net")], Some(server)))
}

fn start(guest: &Guest, disk: &TestDisk) -> Result<Finished, String> {
    let (sector, text) = WRITE;
    let mut cmdline = format!(
        "console=ttyS0 quiet reboot=k panic=-1 virtio_pci.force_legacy=1 no_timer_check tsc=reliable \
         heirloom.write={sector},{text} heirloom.net=10.0.2.15/24,10.0.2.2 {}",
        guest.cmdline
    );
    if guest.old_order > 0 {
        // Not quiet: the partition table shows in the kernel's messages.
        cmdline = format!("{cmdline} loglevel=7 virtio.old_order={}", guest.old_order);
    }
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
    let (devices, _server) = devices(guest, disk)?;
    let run = devices.into_iter().fold(run, Heirloom::arg).arg("--report").arg(disk.dir().join("report.json"));
    run.finish()
}

fn run(guest: &Guest) -> Result<(), String> {
    let disk = TestDisk::new(DISK, 11)?;
    partition(&disk)?;
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
    if guest.old_order > 0 && !finished.stdout.contains("vda: vda1") {
        return Err(format!("the probe found no partition\n{finished}"));
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
        let starts = report::number(&device["kicks"]["early_starts"])?;
        report::check(starts == guest.early_starts(id), "another number of early starts", device)?;
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
    let groups = [(TINY_GUESTS, false), (OLD_ORDERS, false), (TINY_32_BIT_GUESTS, true), (STOCK_GUESTS, true)];
    let tests = groups.into_iter().flat_map(|(group, needs_speed)| {
        group.iter().map(move |guest| trials::trial(guest.name, || run(guest), lack(guest, kvm, needs_speed)))
    });
    let words =
        trials::trial("every_word_with_one_and_two_processors", every_word_with_one_and_two_processors, None::<&str>);
    trials::run(tests.chain([words]).collect())
}
