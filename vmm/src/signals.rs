// SPDX-License-Identifier: Apache-2.0
//! SIGINT, SIGTERM, SIGHUP and SIGQUIT as calls of a function instead of sudden ends. One that was ignored when the
//! process started stays ignored, as whoever started it asked for: `nohup heirloom run`.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use devices::contract::threads::{self, ThreadKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2, SIGXFSZ};

/// What tests make a thread panic with, which nothing else can be relied on to do. Builds without debug assertions, such as
/// releases, do not know it.
const PANIC: Option<i32> = if cfg!(debug_assertions) { Some(SIGUSR2) } else { None };

/// Takes over the signals for the life of the process and has a thread call `on_signal` with each. A
/// thread of its own, as the main loop may be the one that hangs, or be over.
///
/// # Errors
/// When the system has no handler, socket or thread to give.
pub fn watch(on_signal: impl Fn(i32) + Send + 'static) -> io::Result<()> {
    let (mut pipe, writer) = UnixStream::pair()?;
    // With a handler, a write past the limit of file sizes is an error of that write (EFBIG), which the guest
    // gets for its disk, and not the end of the process.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let latest = Arc::new(AtomicUsize::new(0));
    let ignored = mask(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), "SigIgn").unwrap_or(0);
    let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().chain(PANIC);
    for signal in signals.filter(|signal| ignored & bit(*signal) == 0) {
        // The number is stored before the byte is written: actions run in the order of registration.
        signal_hook::flag::register_usize(signal, Arc::clone(&latest), signal as usize)?;
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    threads::spawn(ThreadKind::Helper, "signals", move || {
        let mut bytes = [0; 64];
        // The handlers hold the other end, so this does not end before the process does.
        while wait(&mut pipe, &mut bytes) {
            let signal = latest.swap(0, Ordering::Relaxed);
            assert_ne!(Some(signal as i32), PANIC, "a test wants to see a panic");
            if signal != 0 {
                on_signal(signal as i32);
            }
        }
    })?;
    Ok(())
}

/// A signal's bit in the masks of `/proc/PID/status`.
fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// A mask of signals in the `status` of a process, such as `SigIgn` (proc(5)). Bit `n` is signal `n + 1`.
pub fn mask(status: &str, name: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(mask?.trim(), 16).ok()
}

/// Waits for a handler to write.
fn wait(pipe: &mut UnixStream, bytes: &mut [u8]) -> bool {
    loop {
        match pipe.read(bytes) {
            Ok(count) => return count > 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status =
            "Name:\theirloom\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        let ignored = mask(status, "SigIgn").unwrap();
        assert_ne!(ignored & bit(SIGHUP), 0);
        assert_eq!(ignored & (bit(SIGINT) | bit(SIGTERM) | bit(SIGQUIT)), 0);
        assert_eq!(mask("", "SigIgn"), None);
        assert_eq!(mask("SigIgn:\tnonsense\n", "SigIgn"), None);
    }
}
