// SPDX-License-Identifier: Apache-2.0
//! Nested Linux guests with stock drivers, on VFs. The guest's init (`resources/guest`) says what it saw.

use std::env;
use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tests::Finished;
use tests::report::{all_commands, check as checked, device, number};

use crate::Outcome;
use crate::rig::{TOKEN, bound, check, linux, old_linux, ours, reported, vf};

/// More requests than any probe has register accesses.
pub(crate) const STRESS: u64 = 300;
const PINGS: u64 = 60;
/// Writes to the I/O BAR of a whole life of a driver: kicks would be more.
const REGISTER_WRITES: u64 = 60;
/// Sectors that guests write to, one each, in order, from here.
pub(crate) const SECTOR: usize = 100;

/// What the first VF's disk holds, as it is changed by one guest after the other.
struct Image {
    bytes: Vec<u8>,
    written: usize,
}

static IMAGE: LazyLock<Mutex<Option<Image>>> = LazyLock::new(|| {
    let bytes = env::var_os("HEIRLOOM_E2E_IMAGE").and_then(|path| fs::read(path).ok());
    Mutex::new(bytes.map(|bytes| Image { bytes, written: 0 }))
});

/// What the `n`-th guest writes.
pub(crate) fn sector(n: usize) -> Vec<u8> {
    format!("written-by-guest-{n}\n").into_bytes().into_iter().cycle().take(512).collect()
}

/// The words after `kind` in a line that init printed.
fn line<'a>(finished: &'a Finished, kind: &str) -> Outcome<&'a str> {
    let found = finished.stdout.lines().find_map(|l| Some(&l[l.find(kind)?..]));
    Ok(found.ok_or_else(|| format!("no line {kind}\n{finished}"))?.trim_end())
}

fn has(line: &str, words: &[&str]) -> Outcome {
    match words.iter().find(|word| !line.split_whitespace().any(|w| w.starts_with(**word))) {
        None => Ok(()),
        Some(word) => Err(format!("'{word}' is missing in: {line}")),
    }
}

pub(crate) fn command_line(irq: &str, legacy: bool) -> String {
    // Init's parameters end at a run of three blanks, so there are no empty words.
    let words = [(irq == "intx", "pci=nomsi"), (legacy, "virtio_pci.force_legacy=1"), (true, "heirloom.wait=20")];
    words.iter().filter(|(wanted, _)| *wanted).map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

/// A guest reads all of the disk, writes a sector of its own, and reads here and there, many times. Returns its report.
pub(crate) fn read_and_write(words: &str, irq: &str, legacy: bool) -> Outcome<Value> {
    read_and_write_by(|cmdline| linux(cmdline, words), irq, legacy)
}

fn read_and_write_by(boot: impl FnOnce(&str) -> Outcome<Finished>, irq: &str, legacy: bool) -> Outcome<Value> {
    let mut image = IMAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let image = image.as_mut().ok_or("HEIRLOOM_E2E_IMAGE is no file")?;
    let digest: String = Sha256::digest(&image.bytes).iter().map(|b| format!("{b:02x}")).collect();
    let (n, at) = (image.written, SECTOR + image.written);
    let cmdline =
        format!("{} heirloom.write={at},written-by-guest-{n} heirloom.stress={STRESS}", command_line(irq, legacy));
    let finished = boot(&cmdline)?.expect_code(0)?.expect_output("HEIRLOOM-DONE ok")?;
    let legacy = if legacy { "legacy=yes" } else { "legacy=no" };
    has(line(&finished, "HEIRLOOM-VIRTIO")?, &[legacy, &format!("irq={irq}")])?;
    has(line(&finished, "HEIRLOOM-BLK")?, &[&format!("sha256={digest}")])?;
    has(line(&finished, "HEIRLOOM-STRESS")?, &["bad-reads=0"])?;
    image.bytes[at * 512..(at + 1) * 512].copy_from_slice(&sector(n));
    image.written += 1;
    reported()
}

/// The VF served its driver without an error.
fn sound(device: &Value) -> Outcome {
    checked(device["faulted"].is_null(), "the device is out of service", device)?;
    let errors = device["errors"].as_object().ok_or("no errors in the report")?;
    let bad = errors.iter().any(|(kind, count)| kind != "refused" && count != 0);
    checked(!bad, "accesses failed", device)?;
    checked(device["kicks"]["dropped"] == 0, "kicks were dropped", device)
}

/// Registers by exits, few of them; interrupts as the driver has them; `isr` in software.
fn registers(device: &Value, irq: &str) -> Outcome {
    let writes = number(&device["accesses"]["writes"])?;
    checked(writes < REGISTER_WRITES, "more exits by writes than a probe has", device)?;
    let made = number(&device["intx"]["queue"])?;
    let isr = number(&device["accesses"]["isr_reads"])?;
    checked((made > 0) == (irq == "intx"), "INTx does not fit the guest's mode", device)?;
    // Several of the VF's interrupts may be one for the guest, which reads the register once for each of its own.
    checked((isr > 0) == (irq == "intx"), "reads of the interrupt status do not fit the mode", device)?;
    println!("{irq}: {writes} writes exited, {made} INTx made, {isr} reads of isr");
    Ok(())
}

/// No kick was an exit.
fn kicks_without_exits(device: &Value) -> Outcome {
    let kicks = &device["kicks"];
    checked(kicks["store"] == 0 && kicks["admin"] == 0, "kicks by other ways than ioeventfd", device)?;
    checked(number(&kicks["ioeventfd_uncounted"])? > 0, "no queue had an ioeventfd", device)
}

fn through_the_pf(irq: &str) -> Outcome {
    let report = reported()?;
    let device = device(&report, "vf")?;
    sound(device)?;
    registers(device, irq)?;
    kicks_without_exits(device)?;
    checked(all_commands(device) >= 15, "too few admin commands for a probe", device)
}

fn words(mode: &str) -> Outcome<String> {
    Ok(format!("--legacy-virtio=vf={},id=vf,token={TOKEN},mode={mode}", vf(0)?))
}

/// A disk, with the PF in our hands.
pub(crate) fn disk(mode: &str, irq: &str) -> Outcome {
    ours()?;
    read_and_write(&words(mode)?, irq, true)?;
    through_the_pf(irq)
}

/// A disk that loses kicks before DRIVER_OK, and a driver whose probe waits for its partition table before it says that.
pub(crate) fn old_disk(mode: &str, irq: &str, order: u8) -> Outcome {
    ours()?;
    let words = words(mode)?;
    let boot = |cmdline: &str| old_linux(cmdline, &words, order)?.expect_output("vda: vda1");
    let report = read_and_write_by(boot, irq, true)?;
    let device = device(&report, "vf")?;
    sound(device)?;
    registers(device, irq)?;
    let kicks = &device["kicks"];
    checked(kicks["early_starts"] == 1, "the first early kick did not start the device", device)?;
    let used = device["interrupts_used"].as_array().ok_or("no interrupts in the report")?;
    checked(used.iter().any(|used| used["interrupts"] == irq), "other interrupts were used", device)
}

/// A card whose driver says DRIVER_OK, or its features, late.
pub(crate) fn old_card(mode: &str, irq: &str, order: u8) -> Outcome {
    ours()?;
    let words = words(mode)?;
    pings_by(|cmdline| old_linux(cmdline, &words, order), irq)?;
    through_the_pf(irq)
}

/// The same function with a driver that finds the modern interface, whose registers are the VF's own.
pub(crate) fn modern() -> Outcome {
    ours()?;
    let report = read_and_write(&words("auto")?, "msix", false)?;
    let device = device(&report, "vf")?;
    sound(device)?;
    crate::passed_through::few_memory_exits(&report)
}

fn pings(words: &str, irq: &str) -> Outcome {
    pings_by(|cmdline| linux(cmdline, words), irq)
}

fn pings_by(boot: impl FnOnce(&str) -> Outcome<Finished>, irq: &str) -> Outcome {
    let cmdline = format!("{} heirloom.net=10.0.2.15/24,10.0.2.2 heirloom.pings={PINGS}", command_line(irq, true));
    let finished = boot(&cmdline)?.expect_code(0)?.expect_output("HEIRLOOM-DONE ok")?;
    has(line(&finished, "HEIRLOOM-VIRTIO")?, &["legacy=yes", &format!("irq={irq}")])?;
    has(line(&finished, "HEIRLOOM-NET")?, &[&format!("sent={PINGS}"), &format!("received={PINGS}")])
}

/// A network card, with the PF in our hands.
pub(crate) fn card(mode: &str, irq: &str) -> Outcome {
    ours()?;
    pings(&words(mode)?, irq)?;
    through_the_pf(irq)
}

/// A network card whose registers the kernel's driver offers. It has the PF, and does not tell where kicks go: each is
/// an exit, and a write that the kernel stores at the VF's doorbell.
pub(crate) fn kernel_card(mode: &str, irq: &str) -> Outcome {
    bound("virtio-pci", "virtio_vfio_pci")?;
    pings(&format!("--legacy-virtio=vf={},id=vf,admin=kernel,mode={mode}", vf(0)?), irq)?;
    let report = reported()?;
    let device = device(&report, "vf")?;
    sound(device)?;
    checked(all_commands(device) == 0, "admin commands without a PF", device)?;
    let kicks = number(&device["kicks"]["admin"])?;
    checked(kicks >= PINGS && device["kicks"]["store"] == 0, "kicks by another way than the register", device)?;
    let intx = number(&device["intx"]["queue"])?;
    checked((intx > 0) == (irq == "intx"), "INTx does not fit the guest's mode", device)?;
    check(number(&device["accesses"]["reads"])? < 1000, "too many reads of registers")
}
