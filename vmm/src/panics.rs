// SPDX-License-Identifier: Apache-2.0
//! Panics, which are bugs of this program: none goes unnoticed, on any thread. The terminal is restored, the message
//! is printed (without waiting for a reader), and whoever asked for it is told, so that the machine
//! ends in order, with the reason. A panic of a vCPU's thread is a crash of the guest, and nothing else.
#![forbid(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::last_words::last_words;
use crate::terminal;

type Handler = Arc<dyn Fn(String) + Send + Sync>;

/// Global because a panic on any thread must find it.
static TOLD: Mutex<Option<Handler>> = Mutex::new(None);

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Takes care of panics from now on, for the life of the process.
pub fn watch() {
    std::panic::set_hook(Box::new(|info| {
        terminal::restore();
        if !CAUGHT.get() {
            let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(told) = told {
                told(reason(info));
            }
        }
        last_words(format!("heirloom: {}: this is a bug in heirloom; please report it", reason(info)));
    }));
}

/// Has `told` called, on the thread that panics, with the reason of every panic that [`caught`] does not catch. There
/// is one who is told; the last one counts.
pub fn tell(told: impl Fn(String) + Send + Sync + 'static) {
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(told));
}

/// Runs `work`, whose panic is its caller's matter.
///
/// # Errors
/// The message of the panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    done.map_err(|panic| message(&*panic))
}

fn reason(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(String::new, |location| format!(" at {location}"));
    let name = thread::current().name().unwrap_or("without a name").to_owned();
    format!("thread {name} panicked{place}: {}", message(info.payload()))
}

/// What a panic was given.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
