// SPDX-License-Identifier: Apache-2.0
//! Boot loaders as Debian built them, on disk images that are made without root: each loads a kernel and an initial
//! RAM disk by INT 13h through the VF's legacy registers, and is chosen from on the serial console.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::report::{check, device, last_boot};
use tests::{Console, real_mode_kernel};

use super::seabios::Bench;

pub(crate) const SECTOR: usize = 512;
/// First sector of the only partition.
pub(crate) const PARTITION: usize = 2048;
const SECTORS: usize = 16 << 11;
/// For one that hangs: an emulating KVM on a busy machine needs minutes to unpack GRUB 2.
pub(crate) const LIMIT: Duration = Duration::from_secs(900);
const INITRD: &[u8] = b"what the loader read\0";

/// By LBA.
const FAT16: u8 = 0x0e;
/// For SYSLINUX and its relatives.
pub(crate) const SYSLINUX_MENU: &str = "PROMPT 1\nTIMEOUT 0\nSAY choose first or second\n\
    LABEL first\n KERNEL /none\n\
    LABEL second\n KERNEL /kernel\n INITRD /initrd\n APPEND chosen=second\n";

/// The code of a master boot record that starts the active partition.
const SYSLINUX_MBR: &str = "/usr/lib/syslinux/mbr/mbr.bin";
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// Why the test of GRUB 2 cannot run.
pub(crate) fn grub_lack() -> Option<&'static str> {
    if !Path::new(GRUB).join("boot.img").is_file() {
        return Some("GRUB 2's images are not installed (Debian: apt install grub-pc-bin)");
    }
    lack(&["mformat", "grub-mkimage"])
}

/// Why the test of SYSLINUX cannot run.
pub(crate) fn syslinux_lack() -> Option<&'static str> {
    lack(&["mformat", "syslinux"])
}

pub(crate) fn lack(tools: &[&str]) -> Option<&'static str> {
    let missing = |tool: &&&str| Command::new(tool).arg("--version").output().is_err();
    tools.iter().find(missing).map(|tool| match *tool {
        "mformat" => "mformat is not installed (Debian: apt install mtools)",
        "script" => "script is not installed (Debian: apt install bsdutils)",
        "debugfs" => "debugfs is not installed (Debian: apt install e2fsprogs)",
        "grub-mkimage" => "grub-mkimage is not installed (Debian: apt install grub-common)",
        _ => "syslinux is not installed (Debian: apt install syslinux)",
    })
}

pub(crate) fn tool(words: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(folder).output();
    let output = output.map_err(|e| format!("{words:?}: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Sector 0 of an empty disk: `code`, and one partition of this type.
pub(crate) fn partitioned(bench: &Bench, code: &[u8], kind: u8) -> Result<(), String> {
    let mut bytes = vec![0; SECTORS * SECTOR];
    bytes[..code.len()].copy_from_slice(code);
    // No signature and one partition: GRUB's boot.img has code for floppies where the other three would be.
    bytes[440..SECTOR].fill(0);
    let partition = &mut bytes[446..462];
    // Active.
    (partition[0], partition[4]) = (0x80, kind);
    partition[8..12].copy_from_slice(&(PARTITION as u32).to_le_bytes());
    partition[12..16].copy_from_slice(&((SECTORS - PARTITION) as u32).to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(bench.path("disk.img"), bytes).map_err(|e| e.to_string())
}

/// Kernel, initial RAM disk and `files`, beside the disk; their names.
pub(crate) fn files<'a>(bench: &Bench, files: &[(&'a str, &str)]) -> Result<Vec<&'a str>, String> {
    // Large enough to be read in several requests.
    let mut initrd = INITRD.to_vec();
    initrd.resize(200 << 10, 0x5a);
    let kernel = real_mode_kernel()?;
    let own = [("kernel", &kernel[..]), ("initrd", &initrd)];
    let all = files.iter().map(|(name, text)| (*name, text.as_bytes())).chain(own);
    all.map(|(name, bytes)| fs::write(bench.path(name), bytes).map(|()| name).map_err(|e| e.to_string())).collect()
}

/// Writes `bytes` to the disk at this offset.
pub(crate) fn patch(bench: &Bench, offset: usize, bytes: &[u8]) -> Result<(), String> {
    let limit = if offset < PARTITION * SECTOR { PARTITION } else { SECTORS } * SECTOR;
    if bytes.len() > limit - offset {
        return Err(format!("{} bytes do not fit at {offset}", bytes.len()));
    }
    let file = File::options().write(true).open(bench.path("disk.img"));
    file.and_then(|file| file.write_all_at(bytes, offset as u64)).map_err(|e| e.to_string())
}

/// A disk with one FAT partition that has kernel, initial RAM disk and `files`; sector 0 has `code`.
pub(crate) fn disk(bench: &Bench, code: &[u8], texts: &[(&str, &str)]) -> Result<(), String> {
    partitioned(bench, code, FAT16)?;
    let at = format!("disk.img@@{}", PARTITION * SECTOR);
    let folder = bench.path("");
    let sectors = (SECTORS - PARTITION).to_string();
    tool(&["mformat", "-i", &at, "-T", &sectors, "-h", "16", "-s", "63", "-H", &PARTITION.to_string(), "::"], &folder)?;
    let names = files(bench, texts)?;
    names.into_iter().try_for_each(|name| tool(&["mcopy", "-i", &at, name, &format!("::{name}")], &folder))
}

/// Runs until the text of the menu, then types `keys`, and expects the kernel's lines.
pub(crate) fn choose(bench: &Bench, menu: &str, keys: &[u8]) -> Result<(), String> {
    let (status, text) = Console::talk(bench.run("", &[]), &[(menu, keys)], LIMIT)?;
    if !status.success() || !text.contains("KERNEL") || !text.contains("chosen=second") {
        return Err(format!("{status}\n{text}"));
    }
    if !text.contains("INITRD what the loader read") {
        return Err(format!("the initial RAM disk is not whole\n{text}"));
    }
    let boot = last_boot(&bench.path("report.json"))?;
    let disk = device(&boot, "disk")?;
    check(disk["kicks"]["ioeventfd"].as_u64() > Some(10), "too few requests", disk)?;
    check(disk["accesses"]["writes"].as_u64() > Some(4), "not by the legacy registers", disk)
}

/// GRUB 2: boot.img, core.img behind it, modules in core.img; the second entry is chosen.
pub(crate) fn grub2() -> Result<(), String> {
    let bench = Bench::new(&[0; SECTOR], "")?;
    let config = "set timeout=-1\nterminal_input console\nterminal_output console\n\
                  menuentry first { echo wrong }\n\
                  menuentry second { linux16 /kernel chosen=second\n initrd16 /initrd\n boot }\n";
    fs::write(bench.path("load.cfg"), "set root=(hd0,msdos1)\nconfigfile /grub.cfg\n").map_err(|e| e.to_string())?;
    let boot = fs::read(Path::new(GRUB).join("boot.img")).map_err(|e| e.to_string())?;
    disk(&bench, &boot, &[("grub.cfg", config)])?;
    let folder: PathBuf = bench.path("");
    let modules = ["biosdisk", "part_msdos", "fat", "normal", "configfile", "linux16", "echo"];
    let words = ["grub-mkimage", "-d", GRUB, "-O", "i386-pc", "-c", "load.cfg", "-p", "/", "-o", "core.img"];
    tool(&[&words[..], &modules].concat(), &folder)?;
    patch(&bench, SECTOR, &fs::read(bench.path("core.img")).map_err(|e| e.to_string())?)?;
    // Down, enter: as a VT100 sends them.
    choose(&bench, "second", b"\x1b[B\r")
}

/// SYSLINUX in the partition, found by an MBR of SYSLINUX's.
pub(crate) fn syslinux() -> Result<(), String> {
    let bench = Bench::new(&[0; SECTOR], "")?;
    let mbr = fs::read(SYSLINUX_MBR).map_err(|e| format!("{SYSLINUX_MBR}: {e}"))?;
    disk(&bench, &mbr, &[("syslinux.cfg", SYSLINUX_MENU)])?;
    let offset = (PARTITION * SECTOR).to_string();
    tool(&["syslinux", "--install", "--offset", &offset, "disk.img"], &bench.path(""))?;
    choose(&bench, "boot:", b"second\r")
}
