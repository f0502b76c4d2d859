// SPDX-License-Identifier: Apache-2.0
//! Disks, driven by a legacy driver through the PF and by a modern one through the VF's BAR.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use super::super::VfSpec;
use super::super::testing::{
    Bench, Ram, Vring, device_config, disk, driver_ok, eventually, kick, modern_queue, negotiate, offered, read,
    settle, write,
};
use vmm_sys_util::eventfd::EventFd;

use crate::bus::Width;
use crate::contract::mock::give_it_time;
use crate::function::PciFunction;

const RAM: usize = 0x40_0000;
const HEADER: u64 = 0x10_0000;
const DATA: u64 = 0x11_0000;
const STATUS: u64 = 0x12_0000;
const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

struct Disk {
    bench: Bench,
    vf: Arc<dyn PciFunction>,
    ram: Ram,
    ring: Vring,
    file: File,
}

fn spec(sectors: u64, read_only: bool) -> (Vec<VfSpec>, File) {
    let file = disk(sectors);
    // Reopened, so that the test does not move the position that is the VF's.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let own = File::options().read(true).write(!read_only).open(path).unwrap();
    (vec![VfSpec::Blk { size: None, file: own, read_only, id: "serial-0123456789abcdef".to_owned() }], file)
}

impl Disk {
    /// A legacy driver, without MSI-X.
    fn legacy(sectors: u64, read_only: bool) -> Self {
        let (specs, file) = spec(sectors, read_only);
        let mut bench = Bench::ready(specs);
        let (vf, ram) = bench.vf(0, RAM);
        bench.legacy_write(1, 18, 1, 1);
        bench.legacy_write(1, 18, 1, 3);
        let features = bench.legacy_read(1, false, 0, 4).unwrap();
        bench.legacy_write(1, 4, 4, features & !(1 << 29));
        let ring = bench.legacy_queue(1, 0, &ram, 0x1000);
        bench.legacy_write(1, 18, 1, 7);
        Self { bench, vf, ram, ring, file }
    }

    fn modern(sectors: u64) -> Self {
        let (specs, file) = spec(sectors, false);
        let bench = Bench::ready(specs);
        let (vf, ram) = bench.vf(0, RAM);
        assert!(negotiate(vf.as_ref(), offered(vf.as_ref()) & !(1 << 29)));
        let ring = modern_queue(vf.as_ref(), &ram, 0, 0x1000);
        driver_ok(vf.as_ref());
        Self { bench, vf, ram, ring, file }
    }

    fn header(&self, kind: u32, sector: u64) {
        self.ram.put(HEADER, &kind.to_le_bytes());
        self.ram.put(HEADER + 4, &[0; 4]);
        self.ram.put(HEADER + 8, &sector.to_le_bytes());
        self.ram.put(STATUS, &[0xee]);
    }

    /// One request; returns status and used length.
    fn request(&mut self, kind: u32, sector: u64, data: u32, to_device: bool) -> (u8, u32) {
        self.header(kind, sector);
        let mut elements = vec![(HEADER, 16, false), (DATA, data, !to_device), (STATUS, 1, true)];
        elements.retain(|element| element.1 > 0);
        let head = self.ring.add(&elements);
        kick(self.vf.as_ref(), 0);
        let (id, len) = self.ring.wait();
        assert_eq!(id, u32::from(head));
        (self.ram.get(STATUS, 1)[0], len)
    }

    fn sector(&mut self, sector: u64) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        self.file.seek(SeekFrom::Start(sector * 512)).unwrap();
        self.file.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn isr(&mut self) -> u32 {
        self.bench.legacy_read(1, false, 19, 1).unwrap()
    }

    /// A chain that the device must not return, as the queue is broken by it.
    fn expect_stopped(&mut self) {
        kick(self.vf.as_ref(), 0);
        settle();
        assert_eq!(self.ring.poll(), None);
    }

    /// The driver's way out: reset and set up again. The device works then.
    fn recover(&mut self) {
        self.bench.legacy_write(1, 18, 1, 0);
        self.bench.legacy_write(1, 4, 4, 1 << 28);
        self.ring = self.bench.legacy_queue(1, 0, &self.ram, 0x1000);
        self.bench.legacy_write(1, 18, 1, 7);
        assert_eq!(self.request(0, 1, 512, false), (OK, 513));
        assert_eq!(self.ram.get(DATA, 512), [1; 512]);
    }
}

fn reads_and_writes(mut disk: Disk) {
    assert_eq!(disk.request(0, 3, 1024, false), (OK, 1025));
    assert_eq!(disk.ram.get(DATA, 1024), [[3; 512], [4; 512]].concat());
    disk.ram.put(DATA, &[0xa5; 512]);
    assert_eq!(disk.request(1, 15, 512, true), (OK, 1));
    assert_eq!(disk.sector(15), [0xa5; 512]);
    assert_eq!(disk.sector(14), [14; 512]);
    assert_eq!(disk.request(4, 0, 0, true), (OK, 1));
    assert_eq!(disk.request(8, 0, 20, false), (OK, 21));
    assert_eq!(disk.ram.get(DATA, 20), b"serial-0123456789abc");
    disk.ram.put(DATA, &[0x77; 32]);
    assert_eq!(disk.request(8, 0, 32, false), (OK, 33));
    assert_eq!(disk.ram.get(DATA + 20, 12), [0; 12], "the used length covers zeroes, not what was there");
}

#[test]
fn a_legacy_driver_reads_and_writes() {
    reads_and_writes(Disk::legacy(16, false));
}

#[test]
fn a_modern_driver_reads_and_writes() {
    reads_and_writes(Disk::modern(16));
}

#[test]
fn requests_outside_of_the_disk_are_errors() {
    let mut disk = Disk::legacy(16, false);
    disk.ram.put(DATA, &[0x77; 1024]);
    assert_eq!(disk.request(0, 15, 1024, false), (IOERR, 1025));
    assert_eq!(disk.ram.get(DATA, 1024), [0; 1024], "the used length covers zeroes, not what was there");
    assert_eq!(disk.request(1, 15, 1024, true).0, IOERR);
    assert_eq!(disk.request(0, u64::MAX, 512, false).0, IOERR);
    assert_eq!(disk.request(1, u64::MAX / 512, 512, true).0, IOERR);
    assert_eq!(disk.request(0, 0, 100, false).0, IOERR, "no whole sector");
    assert_eq!(disk.sector(15), [15; 512]);
}

#[test]
fn unknown_requests_are_unsupported() {
    let mut disk = Disk::legacy(16, false);
    assert_eq!(disk.request(2, 0, 512, false).0, UNSUPP);
    assert_eq!(disk.request(u32::MAX, 0, 0, false), (UNSUPP, 1));
}

#[test]
fn a_read_only_disk_says_so_and_takes_no_write() {
    let mut disk = Disk::legacy(16, true);
    assert_eq!(disk.bench.legacy_read(1, false, 0, 4).unwrap() & 1 << 5, 1 << 5);
    disk.ram.put(DATA, &[0xa5; 512]);
    assert_eq!(disk.request(1, 2, 512, true), (IOERR, 1));
    assert_eq!(disk.request(0, 2, 512, false), (OK, 513));
    assert_eq!(disk.request(4, 0, 0, true), (OK, 1));
    assert_eq!(disk.sector(2), [2; 512]);
}

#[test]
fn configuration_is_the_same_on_both_interfaces() {
    let mut disk = Disk::legacy(2048, false);
    for (offset, len, value) in [(0, 8, 2048), (12, 4, 126), (16, 2, 2), (18, 1, 16), (19, 1, 63), (20, 4, 512)] {
        let width = Width::from_bytes(len as usize).unwrap();
        assert_eq!(device_config(disk.vf.as_ref(), offset, width), value);
        let low = disk.bench.legacy_read(1, true, offset as u8, len.min(4));
        assert_eq!(low, Ok(value as u32), "offset {offset}");
    }
    assert_eq!(disk.bench.legacy_read(1, false, 12, 2), Ok(128));
}

#[test]
fn interrupts_obey_the_flag_and_msix() {
    let mut disk = Disk::legacy(16, false);
    assert_eq!(disk.isr(), 0);
    disk.request(4, 0, 0, true);
    eventually("ISR", || (disk.isr() == 1).then_some(()));
    assert_eq!(disk.isr(), 0, "reading clears");

    disk.ram.put_u16(disk.ring.avail, 1);
    disk.request(4, 0, 0, true);
    settle();
    assert_eq!(disk.isr(), 0, "VIRTQ_AVAIL_F_NO_INTERRUPT");
    disk.ram.put_u16(disk.ring.avail, 0);

    let event = vmm_sys_util::eventfd::EventFd::new(libc::EFD_NONBLOCK).unwrap();
    disk.vf.set_msix(&[None, Some(&event)]).unwrap();
    disk.bench.legacy_write(1, 22, 2, 1);
    disk.request(4, 0, 0, true);
    assert_eq!(eventually("interrupt", || event.read().ok()), 1);
    assert_eq!(disk.isr(), 0, "not used while MSI-X is enabled");
    disk.vf.disable_msix().unwrap();
    disk.request(4, 0, 0, true);
    eventually("ISR", || (disk.isr() == 1).then_some(()));
    assert!(event.read().is_err());
}

#[test]
fn a_kick_without_a_buffer_makes_no_interrupt() {
    let mut disk = Disk::legacy(16, false);
    disk.request(4, 0, 0, true);
    eventually("ISR", || (disk.isr() == 1).then_some(()));
    kick(disk.vf.as_ref(), 0);
    settle();
    assert_eq!(disk.isr(), 0);
}

#[test]
fn event_idx_suppresses_interrupts() {
    let mut disk = Disk::legacy(16, false);
    disk.bench.legacy_write(1, 4, 4, 1 << 28 | 1 << 29);
    let used_event = disk.ring.avail + 4 + 2 * 128;
    disk.ram.put_u16(used_event, 2);
    disk.request(4, 0, 0, true);
    disk.request(4, 0, 0, true);
    settle();
    assert_eq!(disk.isr(), 0);
    disk.request(4, 0, 0, true);
    eventually("ISR", || (disk.isr() == 1).then_some(()));
    let avail_event = disk.ring.used + 4 + 8 * 128;
    eventually("avail_event", || (disk.ram.get_u16(avail_event) == 3).then_some(()));
}

#[test]
fn broken_rings_stop_the_queue_until_reset() {
    let mut disk = Disk::legacy(16, false);
    // A loop; a head outside; an index that jumps; a request without room for the status; one whose
    // room is larger than any request's.
    let breakers: [fn(&mut Disk); 6] = [
        |disk| {
            disk.ring.set_descriptor(0, (HEADER, 16, 1, 0));
            disk.ring.publish(0);
        },
        |disk| disk.ring.publish(0x8000),
        |disk| disk.ram.put_u16(disk.ring.avail + 2, 0x7000),
        |disk| {
            disk.ring.add(&[(HEADER, 16, false)]);
        },
        |disk| {
            disk.ring.add(&[(HEADER, 16, false), (0, 0x7fff_ffff, true), (STATUS, 1, true)]);
        },
        |disk| {
            disk.ring.add(&[(0x9000_0000, 16, false), (STATUS, 1, true)]);
        },
    ];
    for breaker in breakers {
        disk.header(0, 1);
        breaker(&mut disk);
        disk.expect_stopped();
        disk.recover();
    }
}

#[test]
fn data_outside_of_memory_is_an_io_error_or_stops_the_queue() {
    let mut disk = Disk::legacy(16, false);
    disk.header(1, 1);
    disk.ring.add(&[(HEADER, 16, false), (0xffff_0000, 512, false), (STATUS, 1, true)]);
    kick(disk.vf.as_ref(), 0);
    disk.ring.wait();
    assert_eq!(disk.ram.get(STATUS, 1), [IOERR]);
    disk.header(0, 1);
    disk.ring.add(&[(HEADER, 16, false), (0xffff_0000, 512, true), (STATUS, 1, true)]);
    disk.expect_stopped();
    disk.recover();
}

#[test]
fn a_queue_outside_of_memory_does_nothing() {
    let mut disk = Disk::legacy(16, false);
    for pfn in [u32::MAX, (RAM >> 12) as u32, (RAM >> 12) as u32 - 1] {
        disk.bench.legacy_write(1, 18, 1, 0);
        disk.bench.legacy_write(1, 8, 4, pfn);
        disk.bench.legacy_write(1, 18, 1, 7);
        assert_eq!(disk.bench.legacy_read(1, false, 8, 4), Ok(pfn));
        kick(disk.vf.as_ref(), 0);
        settle();
        assert_eq!(disk.bench.legacy_read(1, false, 18, 1), Ok(7), "legacy has no NEEDS_RESET");
    }
    disk.recover();
}

#[test]
fn a_modern_driver_hears_of_a_broken_queue() {
    let mut disk = Disk::modern(16);
    disk.ring.publish(0x8000);
    kick(disk.vf.as_ref(), 0);
    eventually("DEVICE_NEEDS_RESET", || (read(disk.vf.as_ref(), 20, Width::B1) == 0x4f).then_some(()));
    assert_eq!(read(disk.vf.as_ref(), 0x1000, Width::B1), 2, "configuration interrupt");
}

#[test]
fn no_dma_after_a_reset_returned() {
    let mut disk = Disk::legacy(16, false);
    for round in 0..40_u32 {
        // Many requests in flight, and a reset while they are served.
        for _ in 0..40 {
            disk.header(0, 2);
            disk.ring.add(&[(HEADER, 16, false), (DATA, 4096, true), (STATUS, 1, true)]);
        }
        kick(disk.vf.as_ref(), 0);
        give_it_time(std::time::Duration::from_micros(u64::from(round) * 20));
        disk.bench.legacy_write(1, 18, 1, 0);
        disk.ram.put(DATA, &[0xc3; 4096]);
        disk.ram.put(disk.ring.used, &[0xc3; 1030]);
        kick(disk.vf.as_ref(), 0);
        give_it_time(std::time::Duration::from_millis(1));
        assert_eq!(disk.ram.get(DATA, 4096), [0xc3; 4096]);
        assert_eq!(disk.ram.get(disk.ring.used, 1030), [0xc3; 1030]);
        disk.recover();
    }
}

#[test]
fn no_dma_after_unmap_returned() {
    let mut disk = Disk::legacy(16, false);
    for round in 0..40_u32 {
        for _ in 0..40 {
            disk.header(0, 2);
            disk.ring.add(&[(HEADER, 16, false), (DATA, 4096, true), (STATUS, 1, true)]);
        }
        kick(disk.vf.as_ref(), 0);
        give_it_time(std::time::Duration::from_micros(u64::from(round) * 20));
        disk.vf.dma_unmap(0).unwrap();
        disk.ram.put(DATA, &[0xc3; 4096]);
        give_it_time(std::time::Duration::from_millis(1));
        assert_eq!(disk.ram.get(DATA, 4096), [0xc3; 4096]);
        disk.vf.dma_map(&disk.ram.region).unwrap();
        disk.recover();
    }
}

#[test]
fn no_dma_after_unmap_or_without_bus_master() {
    let mut disk = Disk::legacy(16, false);
    disk.vf.config_write(4, Width::B2, 2).unwrap();
    disk.header(0, 1);
    disk.ring.add(&[(HEADER, 16, false), (DATA, 512, true), (STATUS, 1, true)]);
    disk.expect_stopped();
    disk.vf.config_write(4, Width::B2, 6).unwrap();
    disk.ring.wait();
    assert_eq!(disk.ram.get(DATA, 512), [1; 512], "found when bus mastering came back");

    disk.vf.dma_unmap(0).unwrap();
    assert!(disk.vf.dma_unmap(0).is_err());
    disk.header(0, 2);
    disk.ring.add(&[(HEADER, 16, false), (DATA, 512, true), (STATUS, 1, true)]);
    disk.expect_stopped();
    assert_eq!(disk.ram.get(DATA, 512), [1; 512]);
    disk.vf.dma_map(&disk.ram.region).unwrap();
    assert!(disk.vf.dma_map(&disk.ram.region).is_err(), "overlap");
    disk.recover();
}

#[test]
fn addresses_that_are_not_mapped_are_counted() {
    let mut disk = Disk::modern(8);
    let faults = |disk: &Disk| {
        let report = disk.bench.soft.report().vfs.remove(0);
        (report.dma_faults, report.last_dma_fault, report.rings_broken)
    };
    assert_eq!(faults(&disk), (0, None, 0));
    // A failed write leaves the queue working; a read cannot even be blanked, and stops it.
    for (count, kind) in [(1, 1), (2, 0)] {
        disk.header(kind, 0);
        disk.ring.add(&[(HEADER, 16, false), (0x7000_0000, 512, kind == 0), (STATUS, 1, true)]);
        kick(disk.vf.as_ref(), 0);
        if kind == 0 {
            disk.expect_stopped();
        } else {
            disk.ring.wait();
            assert_eq!(disk.ram.get(STATUS, 1), [IOERR]);
        }
        assert!(faults(&disk).0 >= count);
        assert_eq!(faults(&disk).1, Some(0x7000_0000));
    }
}

/// `O_NONBLOCK` belongs to the open file of an eventfd: a client in another process can switch it off, and
/// fill the counter. The VF's lock is held during the interrupt, and admin commands need it.
#[test]
fn an_interrupt_that_nobody_takes_holds_no_queue_and_no_command_up() {
    let mut d = Disk::modern(8);
    let trap = EventFd::new(0).unwrap();
    trap.write(u64::MAX - 1).unwrap();
    d.vf.set_msix(&[Some(&trap), Some(&trap)]).unwrap();
    write(d.vf.as_ref(), 0x16, Width::B2, 0);
    write(d.vf.as_ref(), 0x1a, Width::B2, 1);
    for _ in 0..300 {
        assert_eq!(d.request(0, 0, 512, false).0, OK);
    }
    assert_eq!(d.bench.legacy_read(1, false, 18, 1).unwrap() & 4, 4, "an admin command reaches the VF");
    assert!(trap.read().unwrap() >= u64::MAX - 1);
}
