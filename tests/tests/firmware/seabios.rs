// SPDX-License-Identifier: Apache-2.0
//! SeaBIOS as Debian built it boots a disk behind a VF by the legacy registers, and a reset goes through it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tests::report::{boot_count, check, device, last_boot};
use tests::{BootSector, Heirloom};

const FOLDER: &str = "/usr/share/seabios";
/// Both images that SeaBIOS is built as for such a machine.
const IMAGES: [&str; 2] = ["bios-256k.bin", "bios.bin"];
const SECTOR: usize = 512;

/// Why these tests cannot run.
pub(crate) fn lack() -> Option<&'static str> {
    let there = IMAGES.iter().all(|image| Path::new(FOLDER).join(image).is_file());
    (!there).then_some("SeaBIOS is not installed (Debian: apt install seabios)")
}

fn image(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    /// A disk of 1 MiB with `sector` first.
    pub(crate) fn new(sector: &[u8; SECTOR], second: &str) -> Result<Self, String> {
        let bench = Self { dir: TempDir::new().map_err(|e| e.to_string())? };
        let mut disk = vec![0; 1 << 20];
        disk[..SECTOR].copy_from_slice(sector);
        disk[SECTOR..SECTOR + second.len()].copy_from_slice(second.as_bytes());
        fs::write(bench.path("disk.img"), disk).map_err(|e| e.to_string())?;
        Ok(bench)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.path(name)).map_err(|e| format!("{name}: {e}"))
    }

    pub(crate) fn run(&self, keys: &str, words: &[&str]) -> Heirloom {
        Heirloom::run(&["--cpu=legacy", "--memory=64M"])
            .arg(format!("--legacy-virtio=soft=blk,file={},id=disk{keys}", self.path("disk.img").display()))
            .arg("--report")
            .arg(self.path("report.json"))
            .args(words)
    }
}

/// Prints, reads sector 1 and prints it, reads sector 2; if that is empty, writes sector 1 to it and starts anew by
/// the BIOS's entry, else switches off.
fn boots_twice() -> Result<[u8; SECTOR], String> {
    BootSector::new()
        .print("greeting")
        .disk(0x42, "text")
        .code(&[0xbe, 0x00, 0x7e]) // mov si, 7e00h
        .jump(&[0xe8], "print")
        .disk(0x42, "mark")
        .code(&[0x80, 0x3e, 0x00, 0x80, 0x00]) // cmp byte [8000h], 0
        .jump(&[0x0f, 0x85], "off")
        .disk(0x43, "copy")
        .jump(&[0xe8], "flush")
        .code(&[0xea, 0xf0, 0xff, 0x00, 0xf0]) // jmp f000:fff0
        .end()
        .text("greeting", "BOOT SECTOR\r\n")
        .packet("text", 0x7e00, 1)
        .packet("mark", 0x8000, 2)
        .packet("copy", 0x7e00, 2)
        .sector()
}

/// Register accesses of the first boot up to DRIVER_OK: direction, offset, width, value written.
fn accesses(trace: &str) -> Result<Vec<(bool, u64, u64, u64)>, String> {
    let mut accesses = Vec::new();
    for line in trace.lines() {
        let line: Value = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
        if line["event"] != "access" {
            continue;
        }
        let number = |name: &str| line[name].as_u64().unwrap_or(u64::MAX);
        let write = line["dir"] == "write";
        accesses.push((write, number("offset"), number("width"), if write { number("value") } else { 0 }));
        if accesses.last() == Some(&(true, 18, 1, 7)) {
            break;
        }
    }
    Ok(accesses)
}

/// What SeaBIOS 1.16 does with a legacy disk, in its order, but for the queue's address.
fn expected() -> Vec<(bool, u64, u64)> {
    let start =
        [(true, 18, 1), (false, 19, 1), (true, 18, 1), (true, 14, 2), (false, 12, 2), (false, 8, 4), (true, 8, 4)];
    let config = (20..52).map(|offset| (false, offset, 1));
    start.into_iter().chain(config).chain([(false, 0, 4), (true, 18, 1)]).collect()
}

pub(crate) fn boots_a_disk_and_is_started_again() -> Result<(), String> {
    let bench = Bench::new(&boots_twice()?, "SECOND SECTOR\r\n")?;
    let trace = bench.path("trace.jsonl").display().to_string();
    let firmware = image(IMAGES[0]).display().to_string();
    let words = ["--cpus=2", "-vv", "--trace-legacy", &trace, "--firmware", &firmware];
    let finished = bench.run("", &words).finish()?.expect_code(0)?;
    for text in ["SeaBIOS (version", "Booting from Hard Disk...", "BOOT SECTOR", "SECOND SECTOR"] {
        if finished.stdout.matches(text).count() < 2 {
            return Err(format!("'{text}' was not printed twice\n{finished}"));
        }
    }
    for text in [
        "Running on QEMU (i440fx)",
        "QEMU fw_cfg DMA interface supported",
        "qemu/e820: addr 0x0000000000000000 len 0x0000000004000000 [RAM]",
        "00000000feffc000 - 00000000ff000000 = 2 RESERVED",
        "PIIX3/PIIX4 init: elcr=00 0c",
        "Found 2 cpu(s) max supported 2 cpu(s)",
        "table(50434146)=",
        "PS2 keyboard initialized",
    ] {
        if !finished.stderr.contains(text) {
            return Err(format!("SeaBIOS did not say '{text}'\n{finished}"));
        }
    }
    let seen = accesses(&bench.text("trace.jsonl")?)?;
    let places: Vec<_> = seen.iter().map(|&(write, offset, width, _)| (write, offset, width)).collect();
    if places != expected() {
        return Err(format!("other register accesses than SeaBIOS's: {seen:?}"));
    }
    let boots = boot_count(&bench.path("report.json"))?;
    let boot = last_boot(&bench.path("report.json"))?;
    let disk = device(&boot, "disk")?;
    check(boots == 2, "the guest was not started twice", &boot)?;
    check(disk["kicks"]["ioeventfd"].as_u64() >= Some(3), "too few requests", disk)?;
    let image = fs::read(bench.path("disk.img")).map_err(|e| e.to_string())?;
    if image[2 * SECTOR..3 * SECTOR] == image[SECTOR..2 * SECTOR] { Ok(()) } else { Err("sector 2 differs".to_owned()) }
}

/// The smaller image, and the modern interface where it is shown.
pub(crate) fn takes_the_modern_interface_where_it_sees_it() -> Result<(), String> {
    let sector = BootSector::new().print("greeting").end().text("greeting", "BOOT SECTOR\r\n").sector()?;
    for (keys, legacy) in [(",interface=legacy", true), (",interface=both", false), (",interface=modern", false)] {
        let bench = Bench::new(&sector, "")?;
        let firmware = image(IMAGES[1]).display().to_string();
        bench.run(keys, &["--firmware", &firmware]).finish()?.expect_code(0)?.expect_output("BOOT SECTOR")?;
        let boot = last_boot(&bench.path("report.json"))?;
        let disk = device(&boot, "disk")?;
        let accesses = disk["accesses"]["writes"].as_u64().unwrap_or(0);
        check((accesses > 0) == legacy, "the other interface was used", disk)?;
    }
    Ok(())
}

/// INT 15h/86h halts until the periodic interrupt has come often enough, 50 ms here; INT 16h has the key whose code the
/// keyboard controller is told to give out, by IRQ 1.
pub(crate) fn waits_by_the_clock_and_takes_keys() -> Result<(), String> {
    let sector = BootSector::new()
        .code(&[0xb4, 0x86, 0x31, 0xc9, 0xba, 0x50, 0xc3, 0xcd, 0x15]) // mov ah,86h; xor cx,cx; mov dx,50000; int 15h
        .jump(&[0x0f, 0x82], "failed")
        .print("waited")
        .code(&[0xb0, 0xd2, 0xe6, 0x64, 0xb0, 0x1e, 0xe6, 0x60]) // write keyboard output buffer: 1eh, 'a'
        .code(&[0x30, 0xe4, 0xcd, 0x16, 0x3d, 0x61, 0x1e]) // xor ah,ah; int 16h; cmp ax,1e61h
        .jump(&[0x0f, 0x85], "failed")
        .print("typed")
        .end()
        .text("waited", "WAITED\r\n")
        .text("typed", "KEY IS a\r\n")
        .sector()?;
    let bench = Bench::new(&sector, "")?;
    let finished = bench.run("", &["-vv"]).finish()?.expect_code(0)?;
    finished.expect_output("WAITED")?.expect_output("KEY IS a").map(drop)
}

/// A disk that is none for a BIOS; the message stays, and the machine can be ended.
pub(crate) fn a_disk_without_boot_sector() -> Result<(), String> {
    let bench = Bench::new(&[0; SECTOR], "")?;
    let mut child = bench.run("", &[]).start()?;
    let mut output = child.stdout.take().ok_or("no output")?;
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&text).contains("No bootable device.") {
        match output.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return Err(format!("it ended with {:?}", String::from_utf8_lossy(&text))),
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    if text.contains("not a bootable disk") { Ok(()) } else { Err(text) }
}
