// SPDX-License-Identifier: Apache-2.0
//! `heirloom soft-pf` as a process: its sockets, its end, its report, and our own PF driver on the other side of the
//! sockets. None of this needs KVM.
#![allow(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, Wait};
use devices::function::vfio_user::VfioUserFunction;
use devices::function::{Bars, Configuration, Dma, DmaRegion};
use serde_json::Value;
use tempfile::TempDir;
use tests::Heirloom;
use tests::fuse::FuseDisk;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestRegionMmap, MemoryRegionAddress};

const PATIENCE: Duration = Duration::from_secs(120);

struct Server {
    child: Child,
    folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// A driver of its PF that enabled `vfs` VFs, and how long its commands may take.
    fn driver(&self, vfs: u16) -> (PfDriver, Wait<'static>) {
        static NEVER: AtomicBool = AtomicBool::new(false);
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &NEVER };
        let driver = PfDriver::start(Arc::new(self.function("pf.sock")), wait.deadline).unwrap();
        driver.enable_vfs(vfs).unwrap();
        driver.negotiate_commands(&wait).unwrap();
        (driver, wait)
    }

    /// A server that listens.
    fn start(folder: &TempDir, words: &[&str]) -> Self {
        Self::start_with(folder, words, Stdio::null())
    }

    fn start_with(folder: &TempDir, words: &[&str], stdin: Stdio) -> Self {
        let folder = folder.path().join("sockets");
        let mut child = Command::new(tests::binary().unwrap())
            .args(["soft-pf", "--socket-dir"])
            .arg(&folder)
            .args(words)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on ") && line.contains("pf.sock"), "{line:?}");
        child.stdout = Some(out.into_inner());
        Self { child, folder }
    }

    fn function(&self, name: &str) -> VfioUserFunction {
        VfioUserFunction::connect(&self.folder.join(name), PATIENCE).unwrap()
    }

    /// SIGTERM; returns the exit code and what was said on standard output.
    fn end(mut self) -> (Option<i32>, String) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

fn refused(words: &[&str], code: i32, text: &str) {
    let finished = Heirloom::plain(&[&["soft-pf"], words].concat()).limit(PATIENCE).finish().unwrap();
    finished.expect_code(code).unwrap().expect_error(text).unwrap();
}

#[test]
fn help_has_an_example_and_bad_words_are_refused() {
    let help = Heirloom::plain(&["soft-pf", "--help"]).finish().unwrap().expect_code(0).unwrap().stdout;
    for word in ["--socket-dir", "--vf", "--pf", "--mixed", "--hidden-vf", "--report", "Examples:", "listening on"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
    let folder = TempDir::new().unwrap();
    let sockets = folder.path().join("sockets").display().to_string();
    let dir = format!("--socket-dir={sockets}");
    refused(&[&dir], 2, "--vf");
    refused(&[&dir, "--vf", "net,loopback", "--vf", "blk,file=/dev/null"], 2, "--mixed");
    refused(&[&dir, "--vf", "net,loopback", "--pf", "blk,file=/dev/null"], 2, "--mixed");
    let same = "net,loopback,mac=02:00:00:00:00:01";
    refused(&[&dir, "--vf", same, "--vf", same], 2, "two network cards have the address");
    refused(&[&dir, "--vf", "blk,file=/nonexistent/disk"], 3, "cannot open the disk image");
    refused(&["--socket-dir=/nonexistent/a/b", "--vf", "net,loopback"], 3, "folder for sockets");
    assert!(!std::path::Path::new(&sockets).exists(), "nothing is left");
}

#[test]
fn sockets_go_with_the_server_and_those_of_a_dead_one_are_taken_over() {
    let folder = TempDir::new().unwrap();
    let words = ["--vf", "net,loopback", "--vf", "net,loopback"];
    let mut first = Server::start(&folder, &words);
    let sockets = first.folder.clone();
    let names = || {
        let entries = std::fs::read_dir(&sockets).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["pf.sock", "vf0.sock", "vf1.sock"]);
    let dir = format!("--socket-dir={}", sockets.display());
    refused(&[&dir, "--vf", "net,loopback"], 3, "another server has its sockets");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(names().len(), 3, "SIGKILL leaves them behind");
    let second = Server::start(&folder, &words);
    assert_eq!(second.function("pf.sock").config_read(0, Width::B4).unwrap(), 0x1041_1af4);
    let (code, said) = second.end();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(names().is_empty(), "the folder was there before this server");
}

#[test]
fn our_pf_driver_drives_it_through_the_sockets_and_the_report_tells() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    let report_word = format!("--report={}", report.display());
    let vf1 = "net,loopback,mac=02:00:00:00:00:01";
    let server = Server::start(&folder, &["--vf", "net,loopback", "--vf", vf1, &report_word, "--report=-"]);
    let vf = server.function("vf1.sock");
    assert_eq!(vf.config_read(0, Width::B4).unwrap(), 0x1041_1af4, "can be examined before it exists");
    vf.region_write(2, 20, Width::B1, 1).unwrap();
    assert_eq!(vf.region_read(2, 20, Width::B1).unwrap(), 0, "and does nothing");

    let (driver, wait) = server.driver(2);
    assert!(driver.supports_legacy());
    let channel: Arc<dyn AdminChannel> = driver.channel();
    let registers = AdminRegisters::new(channel, NonZeroU16::new(2).unwrap(), None);
    let mac = [0, 5].map(|at| registers.read(Area::Device, at, Width::B1, &wait).unwrap());
    assert_eq!(mac, [2, 1]);
    registers.write(Area::Common, 18, Width::B1, 3, &wait).unwrap();
    assert_eq!(vf.region_read(2, 20, Width::B1).unwrap(), 3, "both interfaces are of one device");
    driver.stop().unwrap();

    let sockets = server.folder.clone();
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(!sockets.exists(), "the folder was the server's own");
    assert!(said.contains("soft/vf1 net") && said.contains("0 DMA faults"), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let count = |name: &str| report["commands"][name].as_u64().unwrap();
    assert_eq!((count("list_use"), count("common_write"), count("device_read")), (1, 1, 2));
    assert_eq!(report["pf"]["device_type"], 1);
}

/// A disk of a server, with a legacy driver: one request at a time.
struct Disk {
    vf: VfioUserFunction,
    registers: AdminRegisters,
    memory: DmaRegion,
    requests: u16,
}

impl Disk {
    /// Of a driver that accepts `features`.
    fn new(server: &Server, driver: &PfDriver, member: u16, features: u32, wait: &Wait<'_>) -> Self {
        let vf = server.function(&format!("vf{}.sock", member - 1));
        let file = File::from(rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.set_len(1 << 20).unwrap();
        let memory = GuestRegionMmap::from_range(GuestAddress(0), 1 << 20, Some(FileOffset::new(file, 0))).unwrap();
        let memory: DmaRegion = Arc::new(memory);
        vf.dma_map(&memory).unwrap();
        vf.config_write(4, Width::B2, 6).unwrap();
        let channel: Arc<dyn AdminChannel> = driver.channel();
        let registers = AdminRegisters::new(channel, NonZeroU16::new(member).unwrap(), None);
        for (at, width, value) in [(18, Width::B1, 3), (4, Width::B4, features), (8, Width::B4, 1), (18, Width::B1, 7)]
        {
            registers.write(Area::Common, at, width, value, wait).unwrap();
        }
        Self { vf, registers, memory, requests: 0 }
    }

    /// Asks for `operation` (0 reads, 1 writes) on sector 3 of the disk.
    fn ask(&mut self, operation: u32) {
        let put = |address: u64, bytes: &[u8]| self.memory.write_slice(bytes, MemoryRegionAddress(address)).unwrap();
        let data_flags = if operation == 0 { 3 } else { 1 };
        let chain = [(0x1_0000_u64, 16_u32, 1_u16, 1_u16), (0x1_1000, 512, data_flags, 2), (0x1_2000, 1, 2, 0)];
        for (index, (address, len, flags, next)) in (0..).zip(chain) {
            put(0x1000 + 16 * index, &address.to_le_bytes());
            put(0x1008 + 16 * index, &len.to_le_bytes());
            put(0x100c + 16 * index, &[flags.to_le_bytes(), next.to_le_bytes()].concat());
        }
        put(0x1_0000, &operation.to_le_bytes());
        put(0x1_0008, &3_u64.to_le_bytes());
        put(0x1_2000, &[0xff]);
        put(0x1804 + 2 * u64::from(self.requests), &[0, 0]);
        self.requests += 1;
        put(0x1802, &self.requests.to_le_bytes());
        self.vf.region_write(2, 0x3000, Width::B2, 0).unwrap();
    }

    fn answered(&self) -> bool {
        let mut used = [0; 2];
        self.memory.read_slice(&mut used, MemoryRegionAddress(0x2002)).unwrap();
        u16::from_le_bytes(used) == self.requests
    }

    /// Status of a request: 0 is success.
    fn request(&mut self, operation: u32) -> u8 {
        self.ask(operation);
        tests::wait_until(PATIENCE, || self.answered()).unwrap();
        let mut status = [0];
        self.memory.read_slice(&mut status, MemoryRegionAddress(0x1_2000)).unwrap();
        status[0]
    }

    fn works(&mut self) {
        assert_eq!(self.request(0), 0);
        let mut data = [0; 512];
        self.memory.read_slice(&mut data, MemoryRegionAddress(0x1_1000)).unwrap();
        assert_eq!(data, [3; 512]);
    }
}

#[test]
fn a1_a_disk_that_never_answers_stops_neither_the_pf_nor_other_vfs_nor_the_end() {
    let content: Vec<u8> = (0..16).flat_map(|sector| [sector as u8; 512]).collect();
    let storage = match FuseDisk::new(content.clone()) {
        Ok(storage) => storage,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("disk");
    std::fs::write(&file, content).unwrap();
    let blk = |path: &std::path::Path| format!("blk,file={}", path.display());
    let (hung, sound, report) = (blk(FuseDisk::PATH.as_ref()), blk(&file), folder.path().join("report.json"));
    let report_word = format!("--report={}", report.display());
    let words = ["--vf", &hung, "--vf", &sound, &report_word];
    let server = Server::start_with(&folder, &words, storage.stdin().unwrap());

    let driver = PfDriver::start(Arc::new(server.function("pf.sock")), Instant::now() + PATIENCE).unwrap();
    driver.enable_vfs(2).unwrap();
    let cancelled = AtomicBool::new(false);
    let wait = || Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
    driver.negotiate_commands(&wait()).unwrap();
    let mut disks = [1, 2].map(|member| Disk::new(&server, &driver, member, 0, &wait()));
    disks.iter_mut().for_each(Disk::works);

    storage.hang(true);
    disks[0].ask(0);
    disks[1].works();
    let status = |disk: &Disk| disk.registers.read(Area::Common, 18, Width::B1, &wait()).unwrap();
    assert_eq!((status(&disks[0]), status(&disks[1])), (7, 7), "commands for both");
    // A reset cannot end, and says so until its own deadline.
    let short = Wait { deadline: Instant::now() + Duration::from_millis(100), cancelled: &cancelled };
    assert!(disks[0].registers.write(Area::Common, 18, Width::B1, 0, &short).is_err());
    assert_eq!(status(&disks[0]), 0x40);
    disks[1].works();
    assert!(!disks[0].answered());

    let (code, _) = server.end();
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!((&report["vfs"][0]["buffers"], &report["vfs"][1]["buffers"]), (&1.into(), &3.into()));
}

/// VIRTIO_BLK_F_FLUSH (virtio 1.3, 5.2.3).
const FLUSH: u32 = 1 << 9;

/// A driver that did not accept FLUSH cannot ask for one: its writes are stable when they are answered.
#[test]
fn c10_writes_of_a_driver_without_flush_are_stable_when_they_are_answered() {
    let storage = match FuseDisk::new(vec![0; 4096]) {
        Ok(storage) => storage,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let folder = TempDir::new().unwrap();
    let words = ["--vf", &format!("blk,file={}", FuseDisk::PATH)];
    let server = Server::start_with(&folder, &words, storage.stdin().unwrap());
    let (driver, wait) = server.driver(1);
    let mut disk = Disk::new(&server, &driver, 1, 0, &wait);
    for count in 1..=3 {
        assert_eq!(disk.request(1), 0);
        let (writes, syncs) = storage.counts();
        assert!((writes, syncs) == (count, count), "{writes} writes, {syncs} syncs before the answer to write {count}");
    }
    drop(disk);
    // One that can ask does so when it wants to.
    let mut disk = Disk::new(&server, &driver, 1, FLUSH, &wait);
    assert_eq!((disk.request(1), storage.counts()), (0, (4, 3)));
    assert_eq!((disk.request(4), storage.counts()), (0, (4, 4)));
    drop((disk, driver));
    assert_eq!(server.end().0, Some(0));
}

/// A file system of the host with this much room. Its mount is taken away at once: it is there as long as the folder is
/// open.
fn small_file_system(kib: u32) -> Result<File, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("mounting a small file system needs root".to_owned());
    }
    let folder = TempDir::new().unwrap();
    let options = format!("size={kib}k,mode=700");
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", &options, "heirloom-test"]).arg(folder.path()).status();
    if !mount.is_ok_and(|status| status.success()) {
        return Err("mounting a tmpfs is not allowed here".to_owned());
    }
    let opened = File::open(folder.path());
    assert!(Command::new("umount").arg("-l").arg(folder.path()).status().unwrap().success());
    opened.map_err(|error| error.to_string())
}

/// The host's disk is full: the guest is told, so is the operator, and it goes on when there is room again.
#[test]
fn c12_a_full_disk_of_the_host_is_told_and_it_goes_on_when_there_is_room_again() {
    let small = match small_file_system(64) {
        Ok(small) => small,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let place = PathBuf::from(format!("/proc/self/fd/{}", small.as_raw_fd()));
    let (image, filler) = (place.join("disk.img"), place.join("filler"));
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let full = std::fs::write(&filler, vec![1; 128 << 10]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    // The server finds it at its standard input: it looks into no other process when it is confined.
    let words = ["blk,file=/proc/self/fd/0/disk.img".to_owned(), format!("--report={}", report.display())];
    let server = Server::start_with(&folder, &["--vf", &words[0], &words[1]], small.try_clone().unwrap().into());
    let (driver, wait) = server.driver(1);
    let mut disk = Disk::new(&server, &driver, 1, 0, &wait);
    assert_eq!([disk.request(1), disk.request(1), disk.request(0)], [1, 1, 0], "VIRTIO_BLK_S_IOERR for writes");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(disk.request(1), 0);
    drop((disk, driver));
    assert_eq!(server.end().0, Some(0));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let vf = &report["vfs"][0];
    assert_eq!(vf["host_errors"], 2, "{vf}");
    assert!(vf["last_host_error"].as_str().unwrap().contains("No space left"), "{vf}");
}

/// The storage hangs already when its disk is looked at: the server says so, and ends when it is told to.
#[test]
fn a1_a_disk_that_does_not_open_is_named_and_holds_no_end_up() {
    let storage = match FuseDisk::new(vec![0; 4096]) {
        Ok(storage) => storage,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    storage.hang_opens();
    let folder = TempDir::new().unwrap();
    let sockets = folder.path().join("sockets");
    let (file, disk) = (FuseDisk::PATH, format!("blk,file={}", FuseDisk::PATH));
    // Nor is its folder waited for. The disk's name lets a confined server open it.
    let words = ["soft-pf", "--socket-dir", file, "--vf", &disk];
    assert!(ends_while_it_waits(&words, &storage, &format!("opening the folder {file}")));
    let words = ["soft-pf", "--socket-dir", &sockets.display().to_string(), "--vf", &disk];
    assert!(ends_while_it_waits(&words, &storage, &format!("opening the disk image {file}")));
    assert!(!sockets.exists(), "the folder was the server's own");
}

/// Whether a server that waits for this ends by SIGTERM, and names it.
fn ends_while_it_waits(words: &[&str], storage: &FuseDisk, opening: &str) -> bool {
    let mut server = Heirloom::plain(words).stdin(storage.stdin().unwrap()).start().unwrap();
    let messages = server.messages().unwrap();
    messages.wait_for(opening, PATIENCE).unwrap();
    server.signal(tests::Signal::TERM).unwrap();
    assert_eq!(server.end(PATIENCE).unwrap().code(), Some(0));
    messages.rest().contains(&format!("ended by signal 15 while {opening}"))
}

/// The sandbox looks at the files that are named, before anybody could say that one does not answer. A signal ends that.
#[test]
fn a1_a_disk_that_never_answers_holds_no_end_up_while_the_sandbox_begins() {
    let storage = match FuseDisk::new(vec![0; 4096]) {
        Ok(storage) => storage,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    storage.hang(true);
    let folder = TempDir::new().unwrap();
    let (sockets, disk) = (folder.path().join("sockets"), format!("blk,file={}", FuseDisk::PATH));
    let words = ["soft-pf", "--sandbox=on", "--vf", &disk, "--socket-dir"];
    let server = Heirloom::plain(&words).arg(&sockets).stdin(storage.stdin().unwrap());
    let mut server = server.start().unwrap();
    tests::wait_until(PATIENCE, || storage.keeps_somebody_waiting()).unwrap();
    server.signal(tests::Signal::TERM).unwrap();
    assert_eq!(server.end(PATIENCE).unwrap().signal(), Some(15));
    assert!(!sockets.exists());
}

#[test]
fn a_hidden_vf_can_be_all_ones() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder, &["--vf", "net,loopback", "--hidden-vf", "ones"]);
    let vf = server.function("vf0.sock");
    assert_eq!(vf.config_read(0, Width::B4).unwrap(), 0xffff_ffff);
    assert_eq!(vf.region_read(2, 20, Width::B1).unwrap(), 0xff);
}
