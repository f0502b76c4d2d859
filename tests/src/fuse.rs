// SPDX-License-Identifier: Apache-2.0
//! A file system with one file, by the kernel's FUSE protocol (include/uapi/linux/fuse.h): storage of the host that
//! stops answering, or fails, when a test says so. It needs root, and takes its mount away as soon as the file is open.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const ROOT: u64 = 1;
const NODE: u64 = 2;
const IN_HEADER: usize = 40;
/// The largest write, and its headers.
const REQUEST: usize = (1 << 20) + 4096;
/// FOPEN_DIRECT_IO: every read comes here, none is answered from the page cache.
const DIRECT_IO: u32 = 1;

/// The storage, until it is dropped.
pub struct FuseDisk {
    /// The file, open for reading and writing.
    pub file: File,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    content: Mutex<Vec<u8>>,
    hangs: AtomicBool,
    /// Openings are not answered.
    hangs_opens: AtomicBool,
    /// Which ones were not.
    held: Mutex<Vec<[u8; 8]>>,
    /// A request has come that is not taken.
    waited_for: AtomicBool,
    ends: AtomicBool,
    /// Error number of reads, writes and flushes; 0 is none.
    error: AtomicI32,
    reads: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
}

impl State {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An opening that is held, to be answered now.
    fn take_held(&self, unique: [u8; 8]) -> Option<[u8; 8]> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = held.iter().position(|other| *other == unique)?;
        Some(held.swap_remove(at))
    }
}

impl FuseDisk {
    /// Storage with this content.
    ///
    /// # Errors
    /// Why there can be none here, for a test that is skipped then.
    pub fn new(content: Vec<u8>) -> Result<Self, String> {
        let disk = Self::mount(content)?;
        // The kernel learns that there is no FLUSH. It would ask at each close, also at that of a copy which a child
        // has between fork and exec, and such a child holds everybody up who looks at it.
        drop(disk.file.try_clone().map_err(|e| e.to_string())?);
        Ok(disk)
    }

    /// Storage of `len` bytes that answers nothing any more: not how large it is, not a page, not the flush at its
    /// close.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn silent(len: usize) -> Result<Self, String> {
        let disk = Self::mount(vec![0; len])?;
        disk.hang(true);
        Ok(disk)
    }

    fn mount(content: Vec<u8>) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a FUSE server needs root to mount".to_owned());
        }
        let device = File::options().read(true).write(true).open("/dev/fuse").map_err(|e| format!("/dev/fuse: {e}"))?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let stdin = device.try_clone().map_err(|e| e.to_string())?;
        let mounted = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "heirloom-test"])
            .arg(folder.path())
            .stdin(Stdio::from(stdin))
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return Err("mounting a FUSE file system is not allowed here".to_owned());
        }
        let state = Arc::new(State { content: Mutex::new(content), ..State::default() });
        let serving = Arc::clone(&state);
        let server = std::thread::spawn(move || serve(device, &serving));
        let file = File::options().read(true).write(true).open(folder.path().join("disk"));
        // The file keeps it; nothing is left behind whatever becomes of the test.
        let unmounted = Command::new("umount").arg("-l").arg(folder.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            return Err("cannot unmount".to_owned());
        }
        let file = file.map_err(|e| e.to_string())?;
        Ok(Self { file, state, server: Some(server) })
    }

    /// The file as standard input of a process, which finds it at [`Self::PATH`]. A confined process looks into no other.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn stdin(&self) -> Result<Stdio, String> {
        self.file.try_clone().map(Stdio::from).map_err(|e| e.to_string())
    }

    /// See there.
    pub const PATH: &str = "/proc/self/fd/0";

    /// No request is taken any more, or they are again.
    pub fn hang(&self, hangs: bool) {
        // Nothing is being answered then.
        let _content = self.state.content();
        self.state.hangs.store(hangs, Ordering::Release);
        self.state.waited_for.store(false, Ordering::Release);
    }

    /// It is not opened any more, while all else is answered. What looks at it before that, as the sandbox does, goes on.
    pub fn hang_opens(&self) {
        self.state.hangs_opens.store(true, Ordering::Release);
    }

    /// Whether somebody waits for it, while it takes no request.
    pub fn keeps_somebody_waiting(&self) -> bool {
        self.state.waited_for.load(Ordering::Acquire)
    }

    /// Reads, writes and flushes end with this error number; 0 is none.
    pub fn fail(&self, error: i32) {
        self.state.error.store(error, Ordering::Release);
    }

    /// The file gets shorter under its users.
    pub fn shrink(&self, len: usize) {
        self.state.content().truncate(len);
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.state.reads.load(Ordering::Acquire)
    }

    /// Writes and syncs so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.state.writes.load(Ordering::Acquire), self.state.syncs.load(Ordering::Acquire))
    }

    /// What is stored.
    pub fn content(&self) -> Vec<u8> {
        self.state.content().clone()
    }
}

impl Drop for FuseDisk {
    fn drop(&mut self) {
        // Its end is an error for all that wait for an answer.
        self.state.ends.store(true, Ordering::Release);
        let _ = self.server.take().map(JoinHandle::join);
    }
}

fn serve(mut device: File, state: &State) {
    let mut request = vec![0; REQUEST];
    loop {
        // All that wait at the end are answered, not only cut off: a child between fork and exec may have the device.
        let ends = state.ends.load(Ordering::Acquire);
        let mut ready = [PollFd::new(&device, PollFlags::IN)];
        let slice = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        match (poll(&mut ready, Some(&slice)), ends) {
            (Ok(0), false) => continue,
            (Ok(0), true) => {
                let held = std::mem::take(&mut *state.held.lock().unwrap_or_else(PoisonError::into_inner));
                // EIO
                held.into_iter().for_each(|unique| drop(device.write(&reply(unique, Err(5)))));
                return;
            }
            _ => {}
        }
        let mut content = state.content();
        if state.hangs.load(Ordering::Acquire) && !ends {
            state.waited_for.store(true, Ordering::Release);
            drop(content);
            std::thread::sleep(std::time::Duration::from_millis(1)); // Clock: between two looks.
            continue;
        }
        match device.read(&mut request) {
            Ok(len) if len >= IN_HEADER => {
                if let Some(reply) = answer(&request[..len], state, &mut content) {
                    // The request may have been given up.
                    let _ = device.write(&reply);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NotFound) => {}
            _ => return,
        }
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// The reply to a request; some have none.
fn answer(request: &[u8], state: &State, content: &mut [u8]) -> Option<Vec<u8>> {
    let (opcode, unique, node) =
        (u32::from_le_bytes(number(request, 4)), number::<8>(request, 8), u64::from_le_bytes(number(request, 16)));
    let body = &request[IN_HEADER..];
    let result = match opcode {
        // FORGET, BATCH_FORGET
        2 | 42 => return None,
        // INTERRUPT: EINTR for an opening that is held.
        36 => return state.take_held(number(body, 0)).map(|unique| reply(unique, Err(4))),
        // EIO; what there is no FLUSH for is not an error.
        _ if state.ends.load(Ordering::Acquire) => Err(if opcode == 25 { 38 } else { 5 }),
        // LOOKUP: nothing is remembered by the kernel.
        1 => Ok([&NODE.to_le_bytes()[..], &[0; 32], &attributes(NODE, content)].concat()),
        // GETATTR, SETATTR
        3 | 4 => Ok([&[0; 16][..], &attributes(node, content)].concat()),
        // OPEN
        14 if state.hangs_opens.load(Ordering::Acquire) => {
            state.held.lock().unwrap_or_else(PoisonError::into_inner).push(unique);
            return None;
        }
        14 => Ok([&[0; 8][..], &DIRECT_IO.to_le_bytes(), &[0; 4]].concat()),
        15 | 16 | 20 => data(opcode, body, state, content),
        // RELEASE, DESTROY
        18 | 38 => Ok(Vec::new()),
        // INIT: version 7.31, writes of up to 1 MiB, no features.
        26 => {
            let words = [7, 31, 0, 0, 0x000c_0010, 1 << 20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0_u32];
            Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
        }
        // ENOSYS
        _ => Err(38),
    };
    Some(reply(unique, result))
}

/// The reply to a request: what it asked for, or an error number.
fn reply(unique: [u8; 8], result: Result<Vec<u8>, i32>) -> Vec<u8> {
    let (error, body) = result.map_or_else(|error: i32| (-error, Vec::new()), |body| (0, body));
    let len = 16 + body.len() as u32;
    [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique, &body].concat()
}

/// READ, WRITE and FSYNC.
fn data(opcode: u32, body: &[u8], state: &State, content: &mut [u8]) -> Result<Vec<u8>, i32> {
    let error = state.error.load(Ordering::Acquire);
    if error != 0 {
        return Err(error);
    }
    let offset = u64::from_le_bytes(number(body, 8)) as usize;
    let size = u32::from_le_bytes(number(body, 16)) as usize;
    match opcode {
        15 => {
            state.reads.fetch_add(1, Ordering::AcqRel);
            Ok(content.iter().skip(offset).take(size).copied().collect())
        }
        16 => {
            state.writes.fetch_add(1, Ordering::AcqRel);
            let bytes = body.get(40..40 + size).ok_or(22)?;
            content.get_mut(offset..offset + size).ok_or(28)?.copy_from_slice(bytes);
            Ok([&(size as u32).to_le_bytes()[..], &[0; 4]].concat())
        }
        _ => {
            state.syncs.fetch_add(1, Ordering::AcqRel);
            Ok(Vec::new())
        }
    }
}

/// `struct fuse_attr`.
fn attributes(node: u64, content: &[u8]) -> Vec<u8> {
    let size = if node == ROOT { 0 } else { content.len() as u64 };
    let mode: u32 = if node == ROOT { 0o40755 } else { 0o100_666 };
    let long = [node, size, size / 512, 0, 0, 0].map(u64::to_le_bytes).concat();
    let words = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
    [long, words].concat()
}
