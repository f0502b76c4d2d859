// SPDX-License-Identifier: Apache-2.0
//! Each test confines a child, which is this test program once more: what was given up does not come back.
#![allow(unsafe_code)]

use std::ffi::c_long;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use super::*;

/// Names what a child does; only children have it.
const CHILD: &str = "HEIRLOOM_TEST_SANDBOX";

/// The end of a child that does `what`: the body of [`child`], in a process of its own.
// One arena from the start, as in a program: the runner of tests has threads, and so arenas, before the sandbox begins.
fn end_of(what: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sandbox::tests::child", "--nocapture", "--test-threads=1"]);
    // The backtrace of a panic would read files, which the program does not print.
    command.env("MALLOC_ARENA_MAX", "1").env(CHILD, what).env("RUST_BACKTRACE", "0").output().unwrap()
}

fn is_killed(output: &Output) -> bool {
    output.status.signal() == Some(libc::SIGSYS)
}

fn says(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn kind(name: &str) -> Option<ThreadKind> {
    filters::KINDS.into_iter().find(|kind| format!("{kind:?}") == name)
}

/// A system call that asks for nothing sensible: what counts is whether the kernel takes it.
fn call(number: c_long, arguments: [c_long; 3]) -> c_long {
    let [a, b, c] = arguments;
    // SAFETY: the callers' calls get numbers that are no addresses of this process, or are refused before they are looked at.
    unsafe { libc::syscall(number, a, b, c) }
}

/// What children do. Does nothing in the parent.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let (name, action) = what.split_once(' ').unwrap();
    start(SandboxMode::On, None).unwrap();
    let action = action.to_owned();
    match kind(name) {
        Some(kind) => threads::spawn(kind, name, move || act(&action)).unwrap().join().unwrap(),
        None => act(&action),
    }
}

fn act(action: &str) {
    let words: Vec<_> = action.split(' ').collect();
    match words[..] {
        ["open"] => drop(File::open("/dev/null")),
        ["create"] => drop(File::create("/dev/null")),
        ["start"] => drop(Command::new("true").status()),
        ["lives"] => lives(),
        ["rights"] => println!("{}", fs::read_to_string("/proc/thread-self/status").unwrap()),
        ["clone3"] => {
            assert_eq!(call(libc::SYS_clone3, [0, 0, 0]), -1);
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS));
        }
        ["call", number, a, b, c] => {
            call(number.parse().unwrap(), [a, b, c].map(|argument| argument.parse().unwrap()));
        }
        _ => unreachable!("{action}"),
    }
}

/// What the language and the C library do for any thread.
fn lives() {
    let mut kept: Vec<Vec<u8>> = (0..64).map(|size| vec![1; size << 12]).collect();
    kept.truncate(3);
    // Clock: what is tested is that the call goes through.
    std::thread::sleep(std::time::Duration::from_millis(1));
    let lock = std::sync::Arc::new(std::sync::Mutex::new(0));
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let lock = lock.clone();
            std::thread::spawn(move || *lock.lock().unwrap() += vec![1; 100_000].len())
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*lock.lock().unwrap(), 1_200_000);
    assert!(std::thread::spawn(|| panic!("a panic is printed")).join().is_err());
    let _ = std::collections::HashMap::from([(1, 2)]);
}

#[test]
fn c5_each_kind_of_thread_ends_the_process_at_a_call_of_no_table_of_its_own() {
    let open = |kind| (kind, "open");
    use ThreadKind::*;
    let denied = [Vcpu, Function, Storage, PfWatch, VfioUser, Helper].map(open);
    for (kind, action) in denied.into_iter().chain([(Api, "create"), (Writer, "call 41 1 1 0")]) {
        let output = end_of(&format!("{kind:?} {action}"));
        assert!(is_killed(&output), "{kind:?}: {}", says(&output));
    }
    // The process itself: programs, TCP, code that is made at run time.
    for action in ["start", "call 41 2 1 0", "call 9 0 4096 4"] {
        let output = end_of(&format!("process {action}"));
        assert!(is_killed(&output), "{action}: {}", says(&output));
    }
}

#[test]
fn c5_each_kind_of_thread_does_what_any_thread_does() {
    for kind in filters::KINDS.map(|kind| format!("{kind:?}")).into_iter().chain(["process".to_owned()]) {
        for action in ["lives", "clone3"] {
            let output = end_of(&format!("{kind} {action}"));
            assert!(output.status.success(), "{kind}: {}", says(&output));
        }
    }
}

#[test]
fn c5_a_virtual_processor_that_is_taken_over_opens_nothing() {
    use libc::*;
    let ways = [
        (SYS_open, [0, 0, 0]),
        (SYS_creat, [0, 0, 0]),
        (SYS_openat, [0, 0, 0]),
        (SYS_openat2, [0, 0, 0]),
        (SYS_open_by_handle_at, [0, 0, 0]),
        (SYS_open_tree, [0, 0, 0]),
        (SYS_fsopen, [0, 0, 0]),
        (SYS_memfd_create, [0, 0, 0]),
        (SYS_socket, [1, 1, 0]),
        (SYS_socketpair, [1, 1, 0]),
        (SYS_accept4, [0, 0, 0]),
        (SYS_connect, [0, 0, 0]),
        (SYS_pidfd_open, [0, 0, 0]),
        (SYS_pidfd_getfd, [0, 0, 0]),
        (SYS_ptrace, [0, 0, 0]),
        (SYS_process_vm_readv, [0, 0, 0]),
        (SYS_execve, [0, 0, 0]),
        (SYS_fork, [0, 0, 0]),
        (SYS_vfork, [0, 0, 0]),
        // A process, not a thread.
        (SYS_clone, [0, 0, 0]),
        (SYS_io_uring_setup, [0, 0, 0]),
        (SYS_bpf, [0, 0, 0]),
        (SYS_userfaultfd, [0, 0, 0]),
        (SYS_perf_event_open, [0, 0, 0]),
        (SYS_mount, [0, 0, 0]),
        (SYS_unlink, [0, 0, 0]),
        (SYS_kill, [0, 0, 0]),
        // KVM_CREATE_VM, TIOCSTI (input into the terminal), F_SETOWN, PR_SET_DUMPABLE; code.
        (SYS_ioctl, [0, 0xae01, 0]),
        (SYS_ioctl, [0, 0x5412, 0]),
        (SYS_fcntl, [0, 8, 0]),
        (SYS_prctl, [4, 1, 0]),
        (SYS_mprotect, [0, 0, 4]),
    ];
    for (number, [a, b, c]) in ways {
        let output = end_of(&format!("Vcpu call {number} {a} {b} {c}"));
        assert!(is_killed(&output), "{number} {a} {b} {c}: {}", says(&output));
    }
}

#[test]
fn c5_rights_are_given_up_by_the_process_and_more_of_them_by_its_threads() {
    let field = |output: &Output, name: &str| {
        let text = says(output);
        assert!(output.status.success(), "{text}");
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start_matches(':').trim().to_owned();
        u64::from_str_radix(&value, 16).unwrap()
    };
    let process = end_of("process rights");
    assert_eq!(field(&process, "NoNewPrivs"), 1);
    assert_eq!(field(&process, "CapPrm") & !rights::BUILDER.bits(), 0);
    assert_eq!(field(&process, "CapInh"), 0);
    let writer = end_of("Writer rights");
    assert_eq!(field(&writer, "CapPrm") & !rights::kept(ThreadKind::Writer).bits(), 0);
    for kind in [ThreadKind::Vcpu, ThreadKind::Function, ThreadKind::Storage, ThreadKind::VfioUser, ThreadKind::Helper]
    {
        assert!(rights::kept(kind).is_empty(), "{kind:?}");
    }
}

#[test]
fn c5_named_files_alone_can_be_opened_and_there_is_no_tcp() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["named", "other", "disk"] {
        fs::write(path(name), "x").unwrap();
    }
    fs::create_dir(path("out")).unwrap();
    let mut paths = Paths::new();
    paths.add(&path("named"), Access::Read);
    paths.add(&path("disk"), Access::ReadWrite);
    paths.add(&path("out/log"), Access::Output);
    paths.add(&path("missing"), Access::Read);
    // On a thread that ends: it is confined alone, as no other comes of it.
    let tried = std::thread::spawn(move || {
        let path = |name: &str| folder.path().join(name);
        let mut held = SandboxInfo::default();
        set_no_new_privs();
        files::restrict(Some(&paths), &mut held).unwrap();
        if held.landlock == 0 {
            eprintln!("SKIPPED: this kernel has no Landlock");
            return held;
        }
        let denied = |done: io::Result<File>| done.unwrap_err().kind() == io::ErrorKind::PermissionDenied;
        File::open(path("named")).unwrap();
        File::options().read(true).write(true).open(path("disk")).unwrap();
        File::create(path("out/log")).unwrap();
        fs::rename(path("out/log"), path("out/log.1")).unwrap();
        assert!(denied(File::open(path("other"))));
        assert!(denied(File::options().write(true).open(path("named"))));
        assert!(denied(File::create(path("new"))));
        assert!(denied(File::open("/etc/passwd")));
        if held.tcp_denied {
            assert_eq!(TcpListener::bind("127.0.0.1:0").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        held
    });
    let held = tried.join().unwrap();
    assert_eq!(held.files_bound, held.landlock > 0);
}

fn set_no_new_privs() {
    rustix::thread::set_no_new_privs(true).unwrap();
}

#[test]
fn c5_it_is_told_what_holds_and_what_the_kernel_lacks() {
    let all = SandboxInfo { mode: SandboxMode::On, landlock: 6, files_bound: true, tcp_denied: true, scoped: true };
    assert_eq!(summary(&all), "system calls by kind of thread, named files alone, no TCP, no signals to others");
    let old = SandboxInfo { mode: SandboxMode::Log, ..SandboxInfo::default() };
    assert!(summary(&old).starts_with("system calls logged alone, all files of this user, TCP, which Landlock 4"));
    assert!(summary(&SandboxInfo::default()).starts_with("off: "));
}
