// SPDX-License-Identifier: Apache-2.0
//! The tables: which system calls each kind of thread makes, and why. This is the one place where that stands; a call
//! that is in no table of a thread ends the process. Pure data.
//!
//! A thread is bound by the table of the thread that started it as well as by its own, so [`PROCESS`] has what all
//! others have. Calls that are bound by an argument are in `arguments.rs`.

use devices::contract::threads::ThreadKind;
use libc::*;

/// What the language and the C library do on every thread, whatever it is for: memory, locks, time, signals, the start
/// and end of threads, messages of a panic. Nothing here has a path or makes a descriptor of something new.
const EVERY: &[c_long] = &[
    // Descriptors that are there.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_close,
    SYS_poll,
    SYS_ppoll,
    SYS_lseek,
    // Signal handlers write to a socket on whatever thread they run.
    SYS_sendto,
    SYS_recvfrom,
    // Memory. mmap and mprotect are bound by an argument.
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_membarrier,
    // Locks and waiting.
    SYS_futex,
    SYS_sched_yield,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_restart_syscall,
    // Time, where the vDSO cannot tell it.
    SYS_clock_gettime,
    SYS_gettimeofday,
    // Signals: handlers, and the one that takes a vCPU out of guest code.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_tgkill,
    SYS_getpid,
    SYS_gettid,
    // Threads. clone is bound by an argument, clone3 answers ENOSYS.
    SYS_clone3,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_sched_getaffinity,
    SYS_exit,
    SYS_exit_group,
    // A new thread confines itself further.
    SYS_seccomp,
    SYS_capget,
    SYS_capset,
    // Keys of hash tables.
    SYS_getrandom,
];

/// Files that are open: disk images, VFIO's regions, memory.
const OPEN_FILES: &[c_long] = &[
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fallocate,
    SYS_fstat,
    SYS_ftruncate,
];

/// Messages on sockets and taps that are open, with descriptors of memory and eventfds among them.
const MESSAGES: &[c_long] = &[SYS_sendmsg, SYS_recvmsg, SYS_shutdown];

/// Waiting for many descriptors, and the eventfds of kicks and interrupts.
const EVENTS: &[c_long] = &[SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_eventfd2];

/// How a peer's eventfd is signalled without waiting for it (`devices/src/function/eventfds.rs`).
const SIGNALS: &[c_long] = &[SYS_io_submit, SYS_io_getevents];

/// What is known of a path. Opens nothing.
const LOOKS: &[c_long] = &[
    SYS_stat,
    SYS_lstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_readlink,
    SYS_readlinkat,
    SYS_access,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_getcwd,
    SYS_getdents64,
];

/// Files that are written move aside and begin anew (`vmm/src/output`).
const FOLDERS: &[c_long] = &[
    SYS_openat,
    SYS_open,
    SYS_rename,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlink,
    SYS_unlinkat,
    SYS_chmod,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_flock,
];

/// Clients that come to a socket that listens.
const CLIENTS: &[c_long] = &[SYS_accept4, SYS_accept, SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_getpeername];

/// What only the thread does that builds machines: sockets, memory, folders, limits.
const BUILDING: &[c_long] = &[
    SYS_bind,
    SYS_listen,
    SYS_connect,
    SYS_memfd_create,
    // Resets that wait longer each time.
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_mkdir,
    SYS_mkdirat,
    SYS_rmdir,
    SYS_dup,
    SYS_pipe2,
    SYS_mlock,
    SYS_mincore,
    SYS_prlimit64,
    SYS_getrlimit,
    SYS_sysinfo,
    SYS_uname,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_statfs,
    SYS_fstatfs,
    SYS_fadvise64,
    SYS_copy_file_range,
    SYS_sendfile,
    // --event-monitor fd=N takes a duplicate of it.
    SYS_pidfd_open,
    SYS_pidfd_getfd,
];

/// The whole process, and the thread that builds machines and runs the main loop.
pub(super) const PROCESS: &[&[c_long]] =
    &[EVERY, OPEN_FILES, MESSAGES, EVENTS, SIGNALS, LOOKS, FOLDERS, CLIENTS, BUILDING];

/// What a kind of thread calls.
pub(super) fn of(kind: ThreadKind) -> &'static [&'static [c_long]] {
    match kind {
        // Register accesses reach VFIO's regions, vfio-user's sockets and eventfds.
        ThreadKind::Vcpu => &[EVERY, OPEN_FILES, MESSAGES, EVENTS, SIGNALS],
        ThreadKind::Function => &[EVERY, OPEN_FILES, MESSAGES, EVENTS, SIGNALS],
        // The end of a request interrupts the guest.
        ThreadKind::Storage => &[EVERY, OPEN_FILES, SIGNALS],
        ThreadKind::PfWatch => &[EVERY, OPEN_FILES, MESSAGES, EVENTS, SIGNALS],
        // A descriptor of a peer is asked what it is: readlink of /proc/self/fd/N.
        ThreadKind::VfioUser => &[EVERY, OPEN_FILES, MESSAGES, EVENTS, SIGNALS, CLIENTS, LOOKS],
        ThreadKind::Writer => &[EVERY, OPEN_FILES, LOOKS, FOLDERS],
        // host.probe reads sysfs, and its opens are bound to reading by an argument; the socket is removed at the end.
        ThreadKind::Api => {
            &[EVERY, OPEN_FILES, MESSAGES, EVENTS, CLIENTS, LOOKS, &[SYS_unlink, SYS_unlinkat, SYS_uname]]
        }
        // The size of the terminal, and standard input.
        ThreadKind::Helper => &[EVERY],
    }
}
