// SPDX-License-Identifier: Apache-2.0
//! A guest's register access allocates nothing on its thread: from the BAR over the admin virtqueue to
//! the PF's doorbell, with the PF in this process and behind a vfio-user socket. A process of its own,
//! as its allocator counts.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::{Access, Width};
use devices::contract::Wait;
use devices::contract::mock::{MockLine, MockMsi};
use devices::function::PciFunction;
use devices::function::detachable::Detachable;
use devices::function::vfio_user::{Server, VfioUserFunction};
use devices::pci::PciDevice;
use devices::soft_pf::{HiddenConfig, NetBackend, SoftPf, VfSpec};
use devices::transitional::{
    Deadlines, KickConfig, NotifyMode, Parts, PlatformParts, TransitionalConfig, TransitionalDevice,
};

const PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
struct Counting;

fn count() {
    // At a thread's end there is no counter any more, and nobody who asks.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[allow(unsafe_code)]
// SAFETY: all is done by the system's allocator; the counter needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// A guest's function, without the shadow: each access is a command.
struct Guest {
    device: Arc<TransitionalDevice>,
    _driver: Arc<PfDriver>,
}

impl Guest {
    fn new(pf: Arc<dyn PciFunction>, vf: &Arc<dyn PciFunction>) -> Self {
        let never = AtomicBool::new(false);
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &never };
        let driver = Arc::new(PfDriver::start(pf, wait.deadline).unwrap());
        driver.enable_vfs(1).unwrap();
        driver.negotiate_commands(&wait).unwrap();
        let member = NonZeroU16::new(1).unwrap();
        let notify = driver.notify_info(member, vf.as_ref(), &wait).unwrap();
        assert!(!notify.is_empty());
        let registers = Arc::new(AdminRegisters::new(Arc::clone(&driver) as Arc<dyn AdminChannel>, member, notify));
        let config = TransitionalConfig {
            shadow: false,
            deadlines: Deadlines { access: PATIENCE, ..Deadlines::default() },
            kicks: KickConfig { notify_mode: NotifyMode::Exit, ..KickConfig::default() },
            ..TransitionalConfig::new("guest")
        };
        let parts = Parts {
            vf: Arc::clone(vf),
            registers,
            platform: PlatformParts {
                msi: Arc::new(MockMsi::default()),
                port_events: None,
                irq_line: Some(Arc::new(MockLine::default())),
                irq_number: 11,
            },
            owner: Some(Arc::clone(driver.function())),
            cancelled: Arc::new(AtomicBool::new(false)),
        };
        Self { device: TransitionalDevice::new(config, parts).unwrap(), _driver: driver }
    }

    fn read(&self, offset: u64, width: Width) -> u64 {
        self.device.bar_read(0, Access { offset, width, vcpu: 0 })
    }

    fn write(&self, offset: u64, width: Width, value: u64) {
        let _ = self.device.bar_write(0, Access { offset, width, vcpu: 0 }, value);
    }

    /// What drivers read and write all the time.
    fn accesses(&self) {
        assert_eq!(self.read(18, Width::B1), 3, "status");
        assert_ne!(self.read(0, Width::B4), 0, "features");
        self.write(4, Width::B4, 0x20);
        self.write(14, Width::B2, 1);
        assert_eq!(self.read(14, Width::B2), 1, "queue select");
        assert_ne!(self.read(12, Width::B2), 0, "queue size");
        self.read(8, Width::B4);
        self.read(19, Width::B1);
        assert_eq!(self.read(20, Width::B4), 0x0403_0252, "MAC");
        for byte in 0..6 {
            self.read(20 + byte, Width::B1);
        }
        self.write(20, Width::B1, 0x52);
        self.write(16, Width::B2, 0);
        self.read(60, Width::B4);
    }

    /// A driver whose first kick comes before DRIVER_OK, and what that kick allocates.
    fn early_kick(&self) -> u64 {
        for status in [0, 1, 3] {
            self.write(18, Width::B1, status);
        }
        self.write(4, Width::B4, 0x20);
        self.write(14, Width::B2, 0);
        self.write(8, Width::B4, 1);
        let allocated = allocations(|| self.write(16, Width::B2, 0));
        assert_eq!(self.read(18, Width::B1), 3, "the guest's own status");
        self.write(18, Width::B1, 7);
        allocated
    }

    /// Allocations of a thousand rounds, after some that fill what is filled once.
    fn measure(&self) -> u64 {
        self.write(18, Width::B1, 0);
        self.write(18, Width::B1, 1);
        self.write(18, Width::B1, 3);
        (0..10).for_each(|_| self.accesses());
        let of_accesses = allocations(|| (0..1000).for_each(|_| self.accesses()));
        let starts = || self.device.report().count(devices::transitional::DeviceCounter::EarlyStarts);
        self.early_kick();
        let of_starts: u64 = (0..200).map(|_| self.early_kick()).sum();
        assert_eq!(starts(), 201);
        of_accesses + of_starts
    }
}

fn soft_pf() -> SoftPf {
    SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac: [0x52, 2, 3, 4, 5, 6] }]).unwrap()
}

/// As machines hold their functions.
fn detachable(function: Arc<dyn PciFunction>) -> Arc<dyn PciFunction> {
    Detachable::new(function).unwrap()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
    assert_eq!(allocations(|| {}), 0);
}

#[test]
fn with_a_pf_in_this_process() {
    let soft = soft_pf();
    assert_eq!(Guest::new(detachable(soft.pf()), &detachable(soft.vf(0).unwrap())).measure(), 0);
}

/// PF and VF are another process' for all that this side can see.
#[test]
fn with_a_pf_behind_a_socket() {
    let soft = soft_pf();
    let mut servers = Vec::new();
    let mut behind_a_socket = |name: &str, function: Arc<dyn PciFunction>| -> Arc<dyn PciFunction> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        servers.push(Server::spawn_on(function, theirs).unwrap());
        detachable(Arc::new(VfioUserFunction::from_stream(name, ours, PATIENCE).unwrap()))
    };
    let pf = behind_a_socket("pf", soft.pf());
    let vf = behind_a_socket("vf", soft.vf_slot(0, HiddenConfig::default()).unwrap());
    assert_eq!(Guest::new(pf, &vf).measure(), 0);
}
