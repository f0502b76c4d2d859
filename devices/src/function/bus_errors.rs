// SPDX-License-Identifier: Apache-2.0
//! Keeps the process alive when mapped memory goes away under it. Whoever gave us a file can make it
//! shorter, and a page of huge page files, or of a full file system, may be missing: an access then raises SIGBUS, also where a seal forbids the file to shrink. For ranges that are guarded, the handler
//! puts zeroed private memory in the file's place and notes it; the access goes on there. All other
//! SIGBUS go to whoever handled them before.
//!
//! The handler may do nothing but loads and stores of atomics, `mmap`, `sigaction` and `raise`: it runs
//! in the middle of anything.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Ranges that the whole process can have guarded.
const MOST: usize = 4096;

static RANGES: [Range; MOST] = [const { Range::free() }; MOST];
/// Held while a range changes; the handler takes no lock.
static TAKING: Mutex<()> = Mutex::new(());

/// A range of mapped memory. Free ones have length 0. The handler must not take the start of one owner and the length
/// of another for a range, so the version is odd while they change, and another one after that.
struct Range {
    version: AtomicUsize,
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

/// Where a range was when the handler looked: its start, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    start: usize,
    len: usize,
}

impl Range {
    const fn free() -> Self {
        Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }

    /// The range as it is, if `address` is in it. A range that changes just now has nobody yet, or nobody any more, who
    /// could make accesses to it.
    fn around(&self, address: usize) -> Option<Found> {
        let version = self.version.load(Ordering::Acquire);
        let (start, len) = (self.start.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (whole && address.wrapping_sub(start) < len).then_some(Found { start, len })
    }

    /// Makes it another range. One at a time: the caller holds [`TAKING`].
    fn change(&self, start: usize, len: usize) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.lost.store(false, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Puts private memory in the place of the range that [`Self::around`] found; `false` if there is none.
    #[allow(unsafe_code)]
    fn replace(&self, Found { start, len }: Found) -> bool {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the range is a mapping that its guard's maker owns and has not ended, as somebody makes
        // accesses to it. Nobody has references into it, as other processes can write it anyway.
        let place = unsafe { libc::mmap(ptr::without_provenance_mut(start), len, prot, flags, -1, 0) };
        self.lost.store(true, Ordering::Release);
        place.addr() == start
    }
}

/// A guarded range; dropping it ends that.
#[derive(Debug)]
pub struct Guard(usize);

impl Guard {
    /// Guards `len` bytes from `start`: a whole shared or private mapping, readable and writable, which
    /// stays where it is until the guard is dropped, and into which nobody has Rust references.
    ///
    /// # Errors
    /// When too many ranges are guarded, or the handler cannot be installed.
    pub fn new(start: *mut u8, len: usize) -> io::Result<Self> {
        install()?;
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let free = RANGES.iter().enumerate().find(|(_, range)| range.len.load(Ordering::Relaxed) == 0);
        let (index, range) = free.ok_or_else(|| io::Error::other("too many files are mapped"))?;
        range.change(start.expose_provenance(), len);
        Ok(Self(index))
    }

    /// Whether the memory was lost, at least in part: what is there now is shared with nobody.
    pub fn is_lost(&self) -> bool {
        RANGES.get(self.0).is_some_and(|range| range.lost.load(Ordering::Acquire))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(range) = RANGES.get(self.0) {
            range.change(0, 0);
        }
    }
}

/// What handled SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once.
#[allow(unsafe_code)]
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let failed = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: all zeroes are a valid `sigaction`: SIG_DFL, no flags, no restorer.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: without a new action, the old one is written to `action`, which lives past the call.
        if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) } != 0 {
            return Err(failed());
        }
        BEFORE.get_or_init(|| action);
        action.sa_sigaction = (on_bus_error as extern "C" fn(_, _, _)) as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for and does what handlers may do.
        match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(failed()),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

/// Returning repeats the access that failed.
#[allow(unsafe_code)]
extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a `siginfo_t` that is whole until it returns.
    let Some(info) = (unsafe { info.as_ref() }) else { return };
    // SAFETY: a SIGBUS has an address in it; one that a process sent has some number there, not used.
    let address = unsafe { info.si_addr() }.addr();
    let sent_by_process = info.si_code <= 0;
    if !sent_by_process
        && let Some((range, found)) = RANGES.iter().find_map(|range| Some((range, range.around(address)?)))
        && range.replace(found)
    {
        return;
    }
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: `before` is what sigaction gave for this signal.
    unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    if sent_by_process {
        // SAFETY: sends this thread a signal, which waits until this handler has returned.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
#[path = "bus_errors_tests.rs"]
mod tests;
