// SPDX-License-Identifier: Apache-2.0
//! System calls that are bound by an argument: for each, the values that a kind of thread may give. A call that has
//! rules here is allowed where one of them holds. Pure data; see `calls.rs`.

use devices::contract::threads::ThreadKind;
use libc::*;

/// A rule: argument number, and mask and value that it must have. Arguments are looked at as 32 bits, as the kernel takes
/// these.
pub(super) type Rule = (u8, u32, u32);

/// All bits.
const WHOLE: u32 = u32::MAX;
/// Type and number of an ioctl (asm-generic/ioctl.h); the size of what it takes is the kernel's to check.
const REQUEST: u32 = 0xffff;
/// The type of an ioctl.
const TYPE: u32 = 0xff00;

/// An ioctl's type and number.
const fn request(kind: u8, number: u8) -> Rule {
    (1, REQUEST, (kind as u32) << 8 | number as u32)
}

/// All ioctls of a type.
const fn requests(kind: u8) -> Rule {
    (1, TYPE, (kind as u32) << 8)
}

/// KVM's ioctls (linux/kvm.h).
const KVM: u8 = 0xae;
/// Those of VFIO and iommufd (linux/vfio.h, linux/iommufd.h).
const VFIO: u8 = b';';
/// Those of terminals, sockets and the tun driver (asm-generic/ioctls.h, linux/if_tun.h).
const TERMINAL: u8 = b'T';

/// No code is made at run time: a page is never executable.
const NO_CODE: &[Rule] = &[(2, PROT_EXEC as u32, 0)];
/// Threads alone: no process is ever started.
const THREADS: &[Rule] = &[(0, CLONE_THREAD as u32, CLONE_THREAD as u32)];
/// The name of a thread, the names that glibc gives to its memory, and what goes before a filter.
const NAMES: &[Rule] =
    &[(0, WHOLE, PR_SET_NAME as u32), (0, WHOLE, PR_SET_VMA as u32), (0, WHOLE, PR_SET_NO_NEW_PRIVS as u32)];
/// Duplicates, flags, seals, and locks that belong to an open file.
const FILE_CONTROLS: &[Rule] = &[
    (1, WHOLE, F_DUPFD_CLOEXEC as u32),
    (1, WHOLE, F_GETFD as u32),
    (1, WHOLE, F_SETFD as u32),
    (1, WHOLE, F_GETFL as u32),
    (1, WHOLE, F_SETFL as u32),
    (1, WHOLE, F_GET_SEALS as u32),
    (1, WHOLE, F_ADD_SEALS as u32),
    (1, WHOLE, F_OFD_GETLK as u32),
    (1, WHOLE, F_OFD_SETLK as u32),
];
/// Unix sockets: there is no network here.
const UNIX: &[Rule] = &[(0, WHOLE, AF_UNIX as u32)];
/// Nothing is made or cut: host.probe reads sysfs and opens /dev/kvm.
const NOTHING_NEW: &[Rule] = &[(2, (O_CREAT | O_TRUNC) as u32, 0)];

/// A terminal that is restored; waiting or not.
const TERMINALS: &[Rule] = &[
    request(TERMINAL, 0x01), // TCGETS
    request(TERMINAL, 0x02), // TCSETS
    request(TERMINAL, 0x03), // TCSETSW
    request(TERMINAL, 0x04), // TCSETSF
    request(TERMINAL, 0x21), // FIONBIO
];
/// Its size.
const WINDOW: &[Rule] = &[request(TERMINAL, 0x13)]; // TIOCGWINSZ

/// What a virtual processor asks of KVM: to run; what a crash report and a pause need of it; and what its exits change
/// of the machine: memory slots, routes, eventfds.
const VCPU: &[Rule] = &[
    request(KVM, 0x80), // KVM_RUN: the first, as it is the one that counts
    request(KVM, 0x61), // KVM_IRQ_LINE
    request(KVM, 0x76), // KVM_IRQFD
    request(KVM, 0x79), // KVM_IOEVENTFD
    request(KVM, 0x6a), // KVM_SET_GSI_ROUTING
    request(KVM, 0x46), // KVM_SET_USER_MEMORY_REGION
    request(KVM, 0x81), // KVM_GET_REGS
    request(KVM, 0x83), // KVM_GET_SREGS
    request(KVM, 0x85), // KVM_TRANSLATE
    request(KVM, 0xad), // KVM_KVMCLOCK_CTRL
    request(KVM, 0xe1), // KVM_SET_DEVICE_ATTR: the offset of the time stamp counter
    request(KVM, 0xe2), // KVM_GET_DEVICE_ATTR
    request(KVM, 0x88), // KVM_GET_MSRS
    request(KVM, 0x89), // KVM_SET_MSRS
    request(VFIO, 108), // VFIO_DEVICE_GET_REGION_INFO
    request(VFIO, 110), // VFIO_DEVICE_SET_IRQS
    request(VFIO, 111), // VFIO_DEVICE_RESET
    request(VFIO, 116), // VFIO_DEVICE_IOEVENTFD
    request(VFIO, 117), // VFIO_DEVICE_FEATURE
];

/// The thread that builds machines.
const BUILDER: &[Rule] = &[
    requests(KVM),
    requests(VFIO),
    request(TERMINAL, 0xca), // TUNSETIFF
    request(TERMINAL, 0xd0), // TUNSETOFFLOAD
    request(TERMINAL, 0xd2), // TUNGETIFF
    request(TERMINAL, 0xd5), // TUNATTACHFILTER
    request(TERMINAL, 0xd6), // TUNDETACHFILTER
    request(TERMINAL, 0xd8), // TUNSETVNETHDRSZ
    request(0x89, 0x33),     // SIOCGIFINDEX
    request(0x12, 0x72),     // BLKGETSIZE64
    request(0x12, 0x68),     // BLKSSZGET
];

/// A PF that starts over: its interrupts, its reset, its DMA mappings.
const PF: &[Rule] = &[requests(VFIO), request(KVM, 0x61), request(KVM, 0x76)];

/// The clock, the terminal's keys and a serial port's input interrupt the guest: KVM_IRQ_LINE.
const LINES: &[Rule] = &[request(KVM, 0x61)];

/// host.probe measures KVM.
const API: &[Rule] = &[requests(KVM)];

/// A call and the groups of rules for it, one of which must hold.
pub(super) type Bound = (c_long, &'static [&'static [Rule]]);

/// What every thread may call within bounds.
const EVERY: [Bound; 5] = [
    (SYS_mmap, &[NO_CODE]),
    (SYS_mprotect, &[NO_CODE]),
    (SYS_clone, &[THREADS]),
    (SYS_prctl, &[NAMES]),
    (SYS_fcntl, &[FILE_CONTROLS]),
];

/// What the whole process may call within bounds.
pub(super) fn of_process() -> Vec<Bound> {
    let own: &[Bound] = &[(SYS_ioctl, &[BUILDER, TERMINALS, WINDOW]), (SYS_socket, &[UNIX]), (SYS_socketpair, &[UNIX])];
    [&EVERY[..], own].concat()
}

/// What a kind of thread may call within bounds.
pub(super) fn of(kind: ThreadKind) -> Vec<Bound> {
    let own: &[Bound] = match kind {
        ThreadKind::Vcpu => &[(SYS_ioctl, &[VCPU, TERMINALS, WINDOW])],
        ThreadKind::PfWatch => &[(SYS_ioctl, &[PF, TERMINALS])],
        ThreadKind::Api => &[(SYS_ioctl, &[API, TERMINALS]), (SYS_openat, &[NOTHING_NEW]), (SYS_socket, &[UNIX])],
        ThreadKind::Helper => &[(SYS_ioctl, &[LINES, TERMINALS, WINDOW])],
        ThreadKind::Function | ThreadKind::Storage | ThreadKind::VfioUser | ThreadKind::Writer => {
            &[(SYS_ioctl, &[TERMINALS, WINDOW])]
        }
    };
    [&EVERY[..], own].concat()
}
