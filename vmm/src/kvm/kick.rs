// SPDX-License-Identifier: Apache-2.0
//! Getting a vCPU's thread out of KVM_RUN, whenever it is there or about to be.
//!
//! A signal alone is lost when it arrives just before KVM_RUN. So its handler, which runs on the vCPU's
//! own thread, sets `kvm_run.immediate_exit` (KVM API, section 5): then the next KVM_RUN returns EINTR.
//! The vCPU clears the flag when it sees that EINTR, and only then looks at what is wanted of it; whoever
//! kicks says what is wanted before the kick. Every order of these steps ends in the request being seen.

use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::thread::JoinHandle;

use libc::{c_int, c_void, siginfo_t};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler, unblock_signal};

use super::run_page::ImmediateExit;

thread_local! {
    /// The `immediate_exit` of the vCPU that this thread runs, or null. Constant initialiser and no destructor:
    /// the handler's access is a plain load.
    static FLAG: AtomicPtr<AtomicU8> = const { AtomicPtr::new(ptr::null_mut()) };
}

/// The real-time signal of kicks. It comes early in the range, and nobody else here uses real-time signals.
fn kick_signal() -> c_int {
    SIGRTMIN()
}

/// Async-signal-safe: two atomic accesses, no call, no allocation, no errno.
extern "C" fn on_kick(_signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {
    let flag = FLAG.with(|flag| flag.load(Ordering::Acquire));
    // SAFETY: `BoundVcpu` put the pointer there and takes it away on this thread before the page can go.
    if let Some(flag) = unsafe { flag.as_ref() } {
        flag.store(1, Ordering::SeqCst);
    }
}

/// Kicks vCPU threads; having one proves that the signal handler is installed.
#[derive(Clone, Copy, Debug)]
pub struct Kicker(());

impl Kicker {
    /// Installs the signal handler of the process, once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> io::Result<Self> {
        static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
        let installed =
            INSTALLED.get_or_init(|| register_signal_handler(kick_signal(), on_kick).map_err(|e| e.errno()));
        installed.map(|()| Self(())).map_err(io::Error::from_raw_os_error)
    }

    /// Makes the vCPU of `thread` leave KVM_RUN, or not enter it, once. Harmless at any other time, and when the
    /// thread has ended.
    pub fn kick<T>(&self, thread: &JoinHandle<T>) {
        if let Err(error) = thread.kill(kick_signal()) {
            tracing::debug!(%error, "kick of a vCPU thread failed");
        }
    }
}

/// While it lives, kicks of this thread reach one vCPU.
pub(crate) struct BoundVcpu {
    flag: ImmediateExit,
    /// Must be dropped on the thread it was made on.
    _not_send: PhantomData<*const ()>,
}

impl BoundVcpu {
    /// Binds the vCPU of `flag` to this thread and lets kicks through.
    pub(super) fn new(flag: ImmediateExit, _kicker: Kicker) -> io::Result<Self> {
        let pointer = ptr::from_ref(flag.flag()).cast_mut();
        FLAG.with(|own| own.store(pointer, Ordering::Release));
        let bound = Self { flag, _not_send: PhantomData };
        // Threads inherit the mask of the one that starts them, which may block everything for a signalfd.
        unblock_signal(kick_signal()).map_err(|error| io::Error::other(format!("cannot unblock kicks: {error:?}")))?;
        Ok(bound)
    }

    /// Whether there was a kick that KVM_RUN has not returned for yet.
    pub(crate) fn is_kicked(&self) -> bool {
        self.flag.flag().load(Ordering::SeqCst) != 0
    }
}

impl Drop for BoundVcpu {
    fn drop(&mut self) {
        FLAG.with(|own| own.store(ptr::null_mut(), Ordering::Release));
    }
}
