// SPDX-License-Identifier: Apache-2.0
//! Whether a disk's VF serves kicks before DRIVER_OK, which drivers of Linux before 3.19 wait for: it is given a queue
//! and asked for its first sector, without DRIVER_OK and, if that did not help, with it. It is reset before and after.
//! What the guest of a transitional function gets has nothing to do with this: no such function is made here.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, NotifyAddress, Wait};
use devices::function::{DmaRegion, PciFunction};
use devices::spec::pci::COMMAND;
use devices::spec::virtio::legacy::{DEVICE_STATUS, QUEUE_ADDRESS, QUEUE_NOTIFY, QUEUE_SELECT, QUEUE_SIZE};
use devices::spec::virtio::status;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use super::checks::{Checks, chain};

/// How long a disk may take for a sector.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

const RUNNING: u32 = 0x406;
const QUIET: u32 = 0x402;

/// What the driver writes to device_status, before and with its announcement.
const DRIVER: u32 = (status::ACKNOWLEDGE | status::DRIVER) as u32;
const DRIVER_OK: u32 = DRIVER | status::DRIVER_OK as u32;

/// Memory for the VF: header, sector and status byte of a request, and the queue behind them.
const MEMORY: u64 = 0x10_0000;
const HEADER: u64 = MEMORY;
const SECTOR: u64 = MEMORY + 0x200;
const RESULT: u64 = MEMORY + 0x400;
const RING: u64 = MEMORY + 0x1000;
const ALIGN: u64 = 0x1000;

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Serves,
    Ignores,
    /// Not even with DRIVER_OK.
    NeverAnswers,
}

/// Asks the VF `member`, a disk that nobody uses.
pub(super) fn check(
    checks: &mut Checks,
    driver: &Arc<PfDriver>,
    member: NonZeroU16,
    vf: &Arc<dyn PciFunction>,
    wait: &Wait<'_>,
) {
    match ask(driver, member, vf, wait) {
        Ok(found) => say(checks, found),
        Err(error) => checks.unknown("early_kicks", error, None),
    }
}

fn say(checks: &mut Checks, found: Found) {
    match found {
        Found::Serves => checks
            .pass("early_kicks", "a sector was read before DRIVER_OK: guests before Linux 3.19 work with any early="),
        Found::Ignores => checks.warn(
            "early_kicks",
            "nothing happens before DRIVER_OK: with early=pass, guests before Linux 3.19 hang when they find the disk",
            "leave early= at auto: heirloom starts the device for them",
        ),
        Found::NeverAnswers => checks.fail(
            "early_kicks",
            "no sector could be read, not even with DRIVER_OK",
            "is there a medium behind the disk? Look at the device's firmware and its log",
        ),
    }
}

type Failure = String;

fn text(error: impl std::error::Error) -> Failure {
    chain(&error)
}

fn ask(
    driver: &Arc<PfDriver>,
    member: NonZeroU16,
    vf: &Arc<dyn PciFunction>,
    wait: &Wait<'_>,
) -> Result<Found, Failure> {
    vf.reset().map_err(text)?;
    let notify = driver.notify_info(member, vf.as_ref(), wait).map_err(text)?;
    let registers = AdminRegisters::new(Arc::clone(driver) as Arc<dyn AdminChannel>, member, notify);
    let disk = Disk { driver, vf, registers, wait };
    let found = disk.run();
    disk.end();
    found
}

/// A disk that is driven from here.
struct Disk<'a> {
    driver: &'a PfDriver,
    vf: &'a Arc<dyn PciFunction>,
    registers: AdminRegisters,
    wait: &'a Wait<'a>,
}

impl Disk<'_> {
    fn read(&self, offset: u8, width: Width) -> Result<u32, Failure> {
        self.registers.read(Area::Common, offset, width, self.wait).map_err(text)
    }

    fn write(&self, offset: u8, width: Width, value: u32) -> Result<(), Failure> {
        self.registers.write(Area::Common, offset, width, value, self.wait).map_err(text)
    }

    fn run(&self) -> Result<Found, Failure> {
        self.vf.config_write(COMMAND, Width::B2, RUNNING).map_err(text)?;
        self.write(DEVICE_STATUS, Width::B1, DRIVER)?;
        self.write(QUEUE_SELECT, Width::B2, 0)?;
        let size = u16::try_from(self.read(QUEUE_SIZE, Width::B2)?).map_err(text)?;
        if !size.is_power_of_two() {
            return Err(format!("queue 0 has {size} entries"));
        }
        let ring = Ring::new(size)?;
        self.vf.dma_map(&ring.region).map_err(text)?;
        let found = self.read_a_sector(&ring);
        // The device has to be quiet before its memory goes.
        self.end();
        let unmapped = self.vf.dma_unmap(MEMORY).map_err(text);
        found.and_then(|found| unmapped.map(|()| found))
    }

    fn read_a_sector(&self, ring: &Ring) -> Result<Found, Failure> {
        self.write(QUEUE_ADDRESS, Width::B4, (RING / ALIGN) as u32)?;
        self.kick()?;
        if ring.is_used_within(PATIENCE)? {
            return Ok(Found::Serves);
        }
        self.write(DEVICE_STATUS, Width::B1, DRIVER_OK)?;
        self.kick()?;
        Ok(if ring.is_used_within(PATIENCE)? { Found::Ignores } else { Found::NeverAnswers })
    }

    fn kick(&self) -> Result<(), Failure> {
        let (function, bar, offset) = match self.registers.notify_addresses().first() {
            Some(NotifyAddress::Member { bar, offset }) => (self.vf, bar, offset),
            Some(NotifyAddress::Owner { bar, offset }) => (self.driver.function(), bar, offset),
            None => return self.write(QUEUE_NOTIFY, Width::B2, 0),
        };
        function.region_write(*bar, *offset, Width::B2, 0).map_err(text)
    }

    /// No DMA any more, and a device as after power-on. What fails here, failed before.
    fn end(&self) {
        let _ = self.vf.config_write(COMMAND, Width::B2, QUIET);
        let _ = self.write(DEVICE_STATUS, Width::B1, 0);
        let _ = self.vf.reset();
    }
}

/// A split ring with one request in it: read sector 0 (virtio 1.3, 2.7 and 5.2.6).
struct Ring {
    region: DmaRegion,
    memory: GuestMemoryMmap,
    used: u64,
}

impl Ring {
    fn new(size: u16) -> Result<Self, Failure> {
        let size = u64::from(size);
        let avail = RING + 16 * size;
        let used = (avail + 6 + 2 * size).next_multiple_of(ALIGN);
        let end = (used + 6 + 8 * size).next_multiple_of(ALIGN);
        let region = MmapRegion::new((end - MEMORY) as usize).map_err(text)?;
        let region = GuestRegionMmap::new(region, GuestAddress(MEMORY)).ok_or("no such memory")?;
        let region: DmaRegion = Arc::new(region);
        let memory = GuestMemoryMmap::from_arc_regions(vec![Arc::clone(&region)]).map_err(text)?;
        const NEXT: u16 = 1;
        const WRITE: u16 = 2;
        let chain = [(HEADER, 16, NEXT), (SECTOR, 512, NEXT | WRITE), (RESULT, 1, WRITE)];
        let put = |at: u64, bytes: &[u8]| memory.write_slice(bytes, GuestAddress(at)).map_err(text);
        for (index, (address, len, flags)) in (0_u16..).zip(chain) {
            let (address, len): (u64, u32) = (address, len);
            let [flags, next] = [flags, index + 1].map(u16::to_le_bytes);
            let descriptor = [&address.to_le_bytes()[..], &len.to_le_bytes(), &flags, &next].concat();
            put(RING + 16 * u64::from(index), &descriptor)?;
        }
        // Available: flags 0, index 1, the chain at 0.
        put(avail, &[0, 0, 1, 0, 0, 0])?;
        Ok(Self { region, memory, used })
    }

    fn is_used_within(&self, limit: Duration) -> Result<bool, Failure> {
        let end = Instant::now() + limit;
        loop {
            let index: u16 = self.memory.read_obj(GuestAddress(self.used + 2)).map_err(text)?;
            if index != 0 {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }
}
