// SPDX-License-Identifier: Apache-2.0
//! Boot loaders of old systems, installed as their own installers do: GRUB legacy in the gap before the partition,
//! EXTLINUX in an ext2 file system.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{Console, workspace};

use super::loaders::{self, PARTITION, SECTOR};
use super::seabios::Bench;

/// Debian's name for it, whatever the processor.
const GRUB_LEGACY: &str = "/usr/lib/grub/x86_64-pc";
/// The code of a master boot record that starts the active partition.
const EXTLINUX_MBR: &str = "/usr/lib/EXTLINUX/mbr.bin";
/// As a VT100 sends them.
const DOWN_ENTER: &[u8] = b"\x1b[B\r";
/// Type of a Linux partition.
const LINUX: u8 = 0x83;
/// A file system with EXTLINUX in it, made elsewhere; `scripts/lib/extlinux-partition.sh` makes it.
const EXTLINUX_PARTITION: &str = "HEIRLOOM_EXTLINUX_PARTITION";

/// Why the test of GRUB legacy cannot run.
pub(crate) fn grub_legacy_lack() -> Option<&'static str> {
    if !Path::new(GRUB_LEGACY).join("stage1").is_file() {
        return Some("GRUB legacy is not installed (Debian: apt install grub-legacy)");
    }
    loaders::lack(&["mformat"])
}

/// Why the test of EXTLINUX cannot run.
pub(crate) fn extlinux_lack() -> Option<&'static str> {
    if !Path::new(EXTLINUX_MBR).is_file() {
        return Some("EXTLINUX is not installed (Debian: apt install extlinux)");
    }
    if env::var_os(EXTLINUX_PARTITION).is_none() && made_partition(Path::new("/dev/null")).is_err() {
        return Some("EXTLINUX installs itself into a mounted file system (needs root and loop devices)");
    }
    loaders::lack(&["debugfs"])
}

/// `stage1` in the first sector, `stage2` from the next one on: where `stage1` as it is expects it, as stage2's first
/// sector expects the rest of itself. What the installer changes besides is where the menu is.
fn grub_legacy_disk() -> Result<Bench, String> {
    let bench = Bench::new(&[0; SECTOR], "")?;
    let menu = "default 0\n\
                title first\n root (hd0,0)\n kernel /none\n\
                title second\n root (hd0,0)\n kernel /kernel chosen=second\n initrd /initrd\n";
    let read = |name: &str| fs::read(Path::new(GRUB_LEGACY).join(name)).map_err(|e| format!("{name}: {e}"));
    let (stage1, mut stage2) = (read("stage1")?, read("stage2")?);
    // install_partition: slice 0, no BSD partition, of the disk that was booted from; then the name of the menu.
    stage2[0x208..0x20c].copy_from_slice(&0x00_ffff_u32.to_le_bytes());
    let name = stage2.windows(20).position(|w| w == b"/boot/grub/menu.lst\0").ok_or("no name in stage2")?;
    stage2[name..name + 10].copy_from_slice(b"/menu.lst\0");
    loaders::disk(&bench, &stage1[..440], &[("menu.lst", menu)])?;
    loaders::patch(&bench, SECTOR, &stage2)?;
    Ok(bench)
}

/// By the serial console.
pub(crate) fn grub_legacy() -> Result<(), String> {
    loaders::choose(&grub_legacy_disk()?, "second", DOWN_ENTER)
}

/// By the text screen and the keyboard, on a terminal; there is no serial console.
pub(crate) fn grub_legacy_on_the_screen() -> Result<(), String> {
    let bench = grub_legacy_disk()?;
    let run = bench.run("", &["--console=text", "--serial=none"]).on_a_terminal();
    let (status, text) = Console::talk(run, &[("second", DOWN_ENTER)], loaders::LIMIT)?;
    let missing =
        ["KERNEL", "chosen=second", "INITRD what the loader read"].into_iter().find(|word| !text.contains(word));
    match missing {
        None if status.success() => Ok(()),
        _ => Err(format!("{status}, missing: {missing:?}\n{text}")),
    }
}

/// An ext2 file system in which EXTLINUX is installed, as a partition of its place and size.
fn made_partition(at: &Path) -> Result<(), String> {
    let script = workspace().join("scripts/lib/extlinux-partition.sh");
    let words = [script.as_os_str(), at.as_os_str()];
    let output = Command::new("sh").args(words).output().map_err(|e| format!("{}: {e}", script.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{}: {text}", script.display())) }
}

/// EXTLINUX in its partition, found by an MBR of its own. The files are put in by `debugfs`, which mounts nothing.
pub(crate) fn extlinux() -> Result<(), String> {
    let bench = Bench::new(&[0; SECTOR], "")?;
    let partition = bench.path("partition.img");
    match env::var_os(EXTLINUX_PARTITION) {
        Some(made) => drop(fs::copy(made, &partition).map_err(|e| e.to_string())?),
        None => made_partition(&partition)?,
    }
    let mbr = fs::read(EXTLINUX_MBR).map_err(|e| format!("{EXTLINUX_MBR}: {e}"))?;
    let names = loaders::files(&bench, &[("extlinux.conf", loaders::SYSLINUX_MENU)])?;
    for name in names {
        let request = format!("write {name} {name}");
        loaders::tool(&["debugfs", "-w", "-R", &request, "partition.img"], &bench.path(""))?;
    }
    loaders::partitioned(&bench, &mbr, LINUX)?;
    loaders::patch(&bench, PARTITION * SECTOR, &fs::read(&partition).map_err(|e| e.to_string())?)?;
    loaders::choose(&bench, "boot:", b"second\r")
}
