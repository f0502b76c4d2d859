// SPDX-License-Identifier: Apache-2.0
//! The C library's allocator reads files, on whatever thread it is called: it counts processors before it makes more arenas
//! (in sysfs, by glibc 2.39 and those before 2.35), and asks whether memory is overcommitted before it gives a part of an
//! arena back. With one arena for all threads it does neither. Nothing on the register path allocates.

/// Arenas.
const ARENAS: libc::c_int = 1;

/// Sets their number, before there are other threads.
#[allow(unsafe_code)]
pub(super) fn limit_arenas() {
    // SAFETY: takes two numbers, and no other thread allocates meanwhile.
    let done = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    if done == 0 {
        tracing::debug!("the allocator takes no limit of arenas");
    }
}
