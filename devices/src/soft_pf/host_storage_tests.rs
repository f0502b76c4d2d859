// SPDX-License-Identifier: Apache-2.0
//! Disks on storage of the host that stops answering, or fails: a FUSE server of these tests.

use std::sync::Arc;
use std::sync::mpsc;

use super::VfSpec;
use super::testing::{Bench, PATIENCE, Ram, Vring, disk, enable_function, eventually, kick};
use crate::bus::Width;
use crate::function::PciFunction;
use crate::function::fuse::FuseDisk;

const RAM: usize = 0x40_0000;
const HEADER: u64 = 0x10_0000;
const DATA: u64 = 0x11_0000;
const STATUS: u64 = 0x18_0000;
const SECTORS: usize = 64;
/// Legacy status register, and its values.
const DEVICE_STATUS: u8 = 18;
const LIVE: u32 = 7;
const NEEDS_RESET: u32 = 0x40;
/// EAGAIN, TRYAGAIN.
const AGAIN: (u16, u16) = (11, 7);
const F_FLUSH: u32 = 1 << 9;

/// VF 1 is on FUSE, VF 2 on a file that is always there.
struct Pair {
    bench: Bench,
    storage: FuseDisk,
    disks: [Driver; 2],
}

/// The legacy driver of one disk.
struct Driver {
    member: u64,
    vf: Arc<dyn PciFunction>,
    ram: Ram,
    ring: Vring,
}

fn content() -> Vec<u8> {
    (0..SECTORS).flat_map(|sector| [sector as u8; 512]).collect()
}

impl Driver {
    fn new(bench: &mut Bench, member: u64, features: u32) -> Self {
        let (vf, ram) = bench.vf(member as usize - 1, RAM);
        let ring = Self::set_up(bench, member, &ram, features);
        Self { member, vf, ram, ring }
    }

    fn set_up(bench: &mut Bench, member: u64, ram: &Ram, features: u32) -> Vring {
        bench.legacy_write(member, DEVICE_STATUS, 1, 3);
        bench.legacy_write(member, 4, 4, features);
        let ring = bench.legacy_queue(member, 0, ram, 0x1000);
        bench.legacy_write(member, DEVICE_STATUS, 1, LIVE);
        ring
    }

    /// Begins a request with its data, header and status at a place of its own.
    fn begin(&mut self, kind: u32, sector: u64, data: u32, place: u64) {
        self.add(kind, sector, data, place);
        kick(self.vf.as_ref(), 0);
    }

    /// As [`Self::begin`], without a kick.
    fn add(&mut self, kind: u32, sector: u64, data: u32, place: u64) {
        let (header, status) = (HEADER + 16 * place, STATUS + place);
        self.ram.put(header, &kind.to_le_bytes());
        self.ram.put(header + 8, &sector.to_le_bytes());
        self.ram.put(status, &[0xee]);
        let mut elements = vec![(header, 16, false), (DATA + 4096 * place, data, kind != 1), (status, 1, true)];
        elements.retain(|element| element.1 > 0);
        self.ring.add(&elements);
    }

    /// One request; returns its status.
    fn request(&mut self, kind: u32, sector: u64, data: u32) -> u8 {
        self.begin(kind, sector, data, 0);
        self.ring.wait();
        self.ram.get(STATUS, 1)[0]
    }
}

impl Pair {
    /// `None` where there is no FUSE; it says so.
    fn new(features: u32) -> Option<Self> {
        let storage = match FuseDisk::new(content()) {
            Ok(storage) => storage,
            Err(why) => {
                eprintln!("SKIPPED: {why}");
                return None;
            }
        };
        let own = storage.file.try_clone().unwrap();
        let blk = |file, id: &str| VfSpec::Blk { size: None, file, read_only: false, id: id.to_owned() };
        let mut bench = Bench::ready(vec![blk(own, "fuse"), blk(disk(SECTORS as u64), "file")]);
        let disks = [1, 2].map(|member| Driver::new(&mut bench, member, features));
        Some(Self { bench, storage, disks })
    }

    fn status(&mut self) -> u32 {
        self.bench.legacy_read(1, false, DEVICE_STATUS, 1).unwrap()
    }

    /// A read of the disk on FUSE that the host does not answer.
    fn hang(&mut self, place: u64) {
        self.storage.hang(true);
        self.disks[0].begin(0, 5, 512, place);
        eventually("the request is with the host", || (!self.idle()).then_some(()));
    }

    fn idle(&self) -> bool {
        self.bench.soft.vfs[0].threaded.function.in_flight.is_idle()
    }

    fn other_disk_works(&mut self) {
        assert_eq!(self.disks[1].request(0, 9, 512), 0);
        assert_eq!(self.disks[1].ram.get(DATA, 512), [9; 512]);
    }
}

/// What `work` returns, on a thread of its own, so that a test that would hang fails.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = said.send(work());
    });
    heard.recv_timeout(PATIENCE).expect("it waits for storage that never answers")
}

#[test]
fn a1_a_disk_that_never_answers_holds_up_no_register_no_figure_and_no_other_disk() {
    let Some(mut pair) = Pair::new(0) else { return };
    assert_eq!(pair.disks[0].request(0, 3, 512), 0);
    assert_eq!(pair.disks[0].ram.get(DATA, 512), [3; 512]);
    let pair = in_time(move || {
        pair.hang(1);
        assert_eq!(pair.status(), LIVE, "a register of the same VF");
        assert_eq!(pair.bench.soft.report().vfs[0].buffers, 1, "figures");
        pair.other_disk_works();
        // More requests than there are threads.
        (2..40).for_each(|place| pair.disks[0].begin(0, 7, 512, place));
        assert_eq!(pair.status(), LIVE);
        assert!(pair.disks[0].ring.poll().is_none());
        let event = vmm_sys_util::eventfd::EventFd::new(libc::EFD_NONBLOCK).unwrap();
        drop(pair.disks[0].vf.link_ioeventfd(2, 0x3000, 0, &event).unwrap());
        pair
    });
    // The host answers again, and every request is done.
    pair.storage.hang(false);
    let mut pair = pair;
    for _ in 1..40 {
        pair.disks[0].ring.wait();
    }
    assert_eq!(pair.disks[0].ram.get(STATUS + 1, 39), [0; 39]);
    assert_eq!(pair.disks[0].ram.get(DATA + 4096, 512), [5; 512]);
}

#[test]
fn a1_a_reset_that_cannot_end_says_so_and_keeps_the_memory() {
    let Some(mut pair) = Pair::new(0) else { return };
    pair.hang(1);
    let mut pair = in_time(move || {
        // The PF waits for nobody: whoever asks, asks again.
        let reset = |pair: &mut Pair| pair.bench.try_legacy_write(1, DEVICE_STATUS, 1, 0);
        assert_eq!(reset(&mut pair), Err(AGAIN));
        assert_eq!(reset(&mut pair), Err(AGAIN));
        assert_eq!(pair.status(), NEEDS_RESET);
        assert_eq!(pair.bench.try_legacy_write(1, DEVICE_STATUS, 1, 3), Err(AGAIN));
        assert_eq!(pair.status(), NEEDS_RESET, "nothing begins before the end");
        pair.other_disk_works();
        // A function-level reset and the end of a mapping wait, and tell.
        assert!(pair.disks[0].vf.reset().is_err());
        assert!(pair.disks[0].vf.dma_unmap(0).is_err());
        pair
    });
    let region = Arc::clone(&pair.disks[0].ram.region);
    let users = Arc::strong_count(&region);
    pair.disks[0].ram.put(DATA + 4096, &[0x77; 512]);
    pair.storage.hang(false);
    eventually("the reset ends", || (pair.status() == 0).then_some(()));
    eventually("the memory is let go of", || (Arc::strong_count(&region) == users - 1).then_some(()));
    assert_eq!(pair.disks[0].ring.poll(), None, "nobody waits for the answer any more");
    // And the disk works again.
    enable_function(pair.disks[0].vf.as_ref());
    pair.disks[0].vf.dma_map(&region).unwrap();
    pair.disks[0].ring = Driver::set_up(&mut pair.bench, 1, &pair.disks[0].ram.clone(), 0);
    assert_eq!(pair.disks[0].request(0, 4, 512), 0);
}

/// What the host has not begun when the device is reset never begins, and what it has is answered to nobody, whatever the
/// driver sets up meanwhile.
#[test]
fn a1_what_was_asked_before_a_reset_is_neither_begun_nor_answered_after_it() {
    let Some(mut pair) = Pair::new(0) else { return };
    pair.storage.hang(true);
    let before = pair.storage.reads();
    // All are taken at once, and are more than there are threads.
    for place in 1..40 {
        pair.disks[0].ram.put(DATA + 4096 * place, &[0x77; 512]);
        pair.disks[0].add(0, 5, 512, place);
    }
    kick(pair.disks[0].vf.as_ref(), 0);
    eventually("they are with the host", || (!pair.idle()).then_some(()));
    for (register, len, value) in [(DEVICE_STATUS, 1, 0), (14, 2, 0), (8, 4, 0x20_0000 >> 12)] {
        assert_eq!(pair.bench.try_legacy_write(1, register, len, value), Err(AGAIN));
    }
    pair.disks[0].ring = Vring::new(&pair.disks[0].ram, 0x20_0000, pair.disks[0].ring.size);
    pair.storage.hang(false);
    eventually("the reset ends", || (pair.status() == 0).then_some(()));
    assert_eq!(pair.disks[0].ring.poll(), None, "nobody asked in this ring");
    pair.bench.legacy_write(1, DEVICE_STATUS, 1, LIVE);
    assert_eq!(pair.disks[0].request(0, 4, 512), 0);
    assert_eq!(pair.disks[0].ring.poll(), None);
    let begun = (1..40).filter(|place| pair.disks[0].ram.get(DATA + 4096 * place, 512) != [0x77; 512]).count();
    assert!(begun <= 8, "{begun} of 39 for 8 threads");
    assert!(pair.storage.reads() - before <= 9);
}

#[test]
fn a1_without_bus_mastering_no_request_is_given_back_until_it_is_on_again() {
    let Some(mut pair) = Pair::new(0) else { return };
    pair.hang(1);
    let mut pair = in_time(move || {
        pair.disks[0].vf.config_write(4, Width::B2, 2).unwrap();
        pair
    });
    assert_eq!(pair.status(), LIVE | NEEDS_RESET, "DMA goes on, and nothing but a reset helps");
    pair.storage.hang(false);
    eventually("the request ends", || pair.idle().then_some(()));
    assert_eq!(pair.disks[0].ram.get(STATUS + 1, 1), [0xee]);
    assert_eq!(pair.disks[0].ring.poll(), None);
    assert_eq!(pair.disks[0].member, 1);
}

#[test]
fn a1_the_end_of_the_software_pf_waits_for_no_disk() {
    let Some(mut pair) = Pair::new(0) else { return };
    pair.hang(1);
    let Pair { bench, storage, disks } = pair;
    let region = Arc::clone(&disks[0].ram.region);
    in_time(move || drop(bench));
    drop(disks);
    assert!(Arc::strong_count(&region) > 1, "the thread that is left behind has the memory");
    storage.hang(false);
    eventually("it ends when the host answers", || (Arc::strong_count(&region) == 1).then_some(()));
}

#[test]
fn c10_writes_of_a_driver_that_cannot_flush_are_stable_when_they_are_completed() {
    for features in [0, F_FLUSH] {
        let Some(mut pair) = Pair::new(features) else { return };
        pair.disks[0].ram.put(DATA, &[0xab; 512]);
        assert_eq!(pair.disks[0].request(1, 7, 512), 0);
        let (writes, syncs) = pair.storage.counts();
        assert_eq!((writes, syncs), (1, u64::from(features == 0)));
        assert_eq!(pair.storage.content()[7 * 512..8 * 512], [0xab; 512]);
        if features == F_FLUSH {
            assert_eq!(pair.disks[0].request(4, 0, 0), 0);
            assert_eq!(pair.storage.counts(), (1, 1));
        }
    }
}

#[test]
fn c12_errors_of_the_host_are_counted_told_once_and_forgotten_when_it_works_again() {
    let Some(mut pair) = Pair::new(0) else { return };
    let (said, heard) = mpsc::channel();
    let said = std::sync::Mutex::new(said);
    pair.bench.soft.on_host_error(0, Box::new(move |what| said.lock().unwrap().send(what.to_owned()).unwrap()));
    for (kind, error, text) in
        [(1, libc::ENOSPC, "write the disk at sector 7"), (0, libc::EIO, "read the disk at sector 7")]
    {
        pair.storage.fail(error);
        (0..3).for_each(|_| assert_eq!(pair.disks[0].request(kind, 7, 512), 1));
        let told = heard.recv_timeout(PATIENCE).unwrap();
        assert!(told.contains(text), "{told}");
        assert!(heard.try_recv().is_err(), "an episode is told once");
        pair.storage.fail(0);
        assert_eq!(pair.disks[0].request(kind, 7, 512), 0, "it goes on");
    }
    pair.storage.shrink(512);
    assert_eq!(pair.disks[0].request(0, 9, 512), 1);
    let report = pair.bench.soft.report().vfs.remove(0);
    assert_eq!(report.host_errors, 7);
    assert!(report.last_host_error.unwrap().contains("was shortened"));
    assert_eq!(pair.bench.soft.host_errors(1), (0, None));
}
