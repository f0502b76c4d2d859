// SPDX-License-Identifier: Apache-2.0
//! Who else may have an image: a real QEMU as the other one, and block devices of the kernel.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;

/// An image of 1 MiB in a folder.
fn image() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    (folder, path)
}

fn holder(opened: Result<Disk, DiskError>) -> Option<Holder> {
    match opened {
        Ok(_) => None,
        Err(DiskError::InUse { by, .. }) => Some(by),
        Err(error) => panic!("{error}"),
    }
}

/// A machine of QEMU with the image as a disk, or as a disc that it only reads. It executes no instruction.
struct Qemu(Child);

impl Qemu {
    /// What it says if it does not get the image. `None` where there is no QEMU.
    fn start(path: &Path, readonly: bool) -> Option<Result<Self, String>> {
        let kind = if readonly { "media=cdrom,readonly=on" } else { "media=disk" };
        let drive = format!("file={},format=raw,if=ide,{kind}", path.display());
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-M",
            "pc",
            "-accel",
            "tcg",
            "-m",
            "16",
            "-S",
            "-nodefaults",
            "-display",
            "none",
            "-qmp",
            "stdio",
        ]);
        command.args(["-drive", &drive]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("SKIPPED: a real QEMU as lock holder: qemu-system-x86_64: {error}");
                return None;
            }
        };
        // It reads commands when it has all its devices, or has ended.
        let _ = child.stdin.as_mut().unwrap().write_all(b"{\"execute\":\"qmp_capabilities\"}\n");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        if lines.any(|line| line.is_ok_and(|line| line.contains("\"return\""))) {
            return Some(Ok(Self(child)));
        }
        let output = child.wait_with_output().unwrap();
        Some(Err(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn c11_qemu_and_a_disk_of_ours_refuse_each_other_in_both_orders() {
    let (_folder, path) = image();
    for (ours, theirs) in [(false, false), (false, true), (true, false)] {
        let Some(qemu) = Qemu::start(&path, theirs) else { return };
        let qemu = qemu.unwrap_or_else(|error| panic!("nobody has it: {error}"));
        assert_eq!(holder(Disk::open(&path, ours)), Some(Holder::Qemu), "readonly: ours {ours}, QEMU's {theirs}");
        drop(qemu);
        let disk = Disk::open(&path, ours).unwrap();
        let refused = Qemu::start(&path, theirs).unwrap().err().expect("QEMU takes what is ours");
        assert!(refused.contains("lock"), "{refused}");
        drop(disk);
    }
    let text = DiskError::InUse { path, by: Holder::Qemu }.to_string();
    assert!(text.contains("such as QEMU") && text.contains("readonly=on"), "{text}");
}

#[test]
fn c11_qemu_and_a_disk_of_ours_read_together() {
    let (_folder, path) = image();
    let ours = Disk::open(&path, true).unwrap();
    let Some(qemu) = Qemu::start(&path, true) else { return };
    let qemu = qemu.unwrap_or_else(|error| panic!("both read: {error}"));
    drop(ours);
    Disk::open(&path, true).unwrap();
    drop(qemu);
}

#[test]
fn c11_each_kind_of_lock_is_enough_to_refuse() {
    let (_folder, path) = image();
    let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    other.lock_shared().unwrap();
    assert_eq!(holder(Disk::open(&path, false)), Some(Holder::Locked));
    assert_eq!(holder(Disk::open(&path, true)), None);
    other.unlock().unwrap();
    // Bytes that QEMU locks for reading: what a reader uses, and what it does not grant.
    for (byte, ours, by) in
        [(100, false, true), (100, true, false), (101, true, true), (103, true, true), (201, true, false)]
    {
        let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        range_locks::try_lock(&other, byte..byte + 1, Kind::Read).unwrap();
        assert_eq!(holder(Disk::open(&path, ours)), by.then_some(Holder::Qemu), "byte {byte}, readonly {ours}");
    }
    // A lock lasts as long as the file, also as a duplicate.
    let file = Disk::open(&path, false).unwrap().file.try_clone().unwrap();
    assert!(!range_locks::can_lock(&other, 299..300, Kind::Read).unwrap());
    drop(file);
    assert!(range_locks::can_lock(&other, 100..300, Kind::Write).unwrap());
}

/// A loop device with a file system on it; `None` where there is none.
struct Loop {
    device: PathBuf,
    folder: TempDir,
}

impl Loop {
    fn new(test: &str) -> Option<Self> {
        let (folder, path) = image();
        let run = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
            }
        };
        let path = path.to_str().unwrap();
        let made = run("mkfs.ext2", &["-q", path]).and_then(|_| run("losetup", &["--find", "--show", path]));
        match made {
            Ok(device) => Some(Self { device: device.into(), folder }),
            Err(why) => {
                println!("SKIPPED: {test}: {why}");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

#[test]
fn c11_a_mounted_block_device_is_refused_for_writing() {
    let Some(device) = Loop::new("c11_a_mounted_block_device_is_refused_for_writing") else { return };
    let target = device.folder.path().join("mounted");
    std::fs::create_dir(&target).unwrap();
    assert_eq!(holder(Disk::open(&device.device, false)), None, "nobody has it");
    let mounted = Command::new("mount").arg(&device.device).arg(&target).output().unwrap();
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr);
        return println!("SKIPPED: c11_a_mounted_block_device_is_refused_for_writing: {why}");
    }
    let opened = holder(Disk::open(&device.device, false));
    assert!(Command::new("umount").arg(&target).status().unwrap().success());
    assert_eq!(opened, Some(Holder::Exclusive));
    // The other way round: what a guest writes cannot be mounted.
    let _disk = Disk::open(&device.device, false).unwrap();
    let mounted = Command::new("mount").arg(&device.device).arg(&target).output().unwrap();
    assert!(!mounted.status.success());
}

#[test]
fn c11_one_block_device_by_two_nodes_is_one() {
    let Some(device) = Loop::new("c11_one_block_device_by_two_nodes_is_one") else { return };
    let number = std::fs::metadata(&device.device).unwrap().rdev();
    let (major, minor) = (libc::major(number).to_string(), libc::minor(number).to_string());
    let node = device.folder.path().join("node");
    let made = Command::new("mknod").arg(&node).args(["b", &major, &minor]).status().unwrap();
    assert!(made.success());
    // Its lock is another one, so two writers are kept apart by the kernel, and a reader by its number.
    let writer = Disk::open(&device.device, false).unwrap();
    match Disk::open(&node, false) {
        Err(DiskError::Open { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            return println!("SKIPPED: c11_one_block_device_by_two_nodes_is_one: no devices on this file system");
        }
        other => assert_eq!(holder(other), Some(Holder::Exclusive)),
    }
    let reader = Disk::open(&node, true).unwrap();
    for disks in [[&writer, &reader], [&reader, &writer]] {
        let mut devices = BlockDevices::default();
        devices.add(disks[0]).unwrap();
        let error = devices.add(disks[1]).unwrap_err();
        assert!(matches!(error, DiskError::InUse { by: Holder::SameDevice, .. }), "{error}");
    }
    drop(writer);
    let (one, two) = (Disk::open(&device.device, true).unwrap(), Disk::open(&node, true).unwrap());
    let mut devices = BlockDevices::default();
    devices.add(&one).and_then(|()| devices.add(&two)).unwrap();
}
