// SPDX-License-Identifier: Apache-2.0
//! A driver for a modern virtio disk over `PciFunction`: one queue, one request at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use devices::bus::Width;
use devices::function::capabilities::{CapabilityList, VIRTIO_CAP_LEN, VirtioCapability};
use devices::function::{DmaRegion, KickLink, PciFunction};
use devices::spec::pci::{COMMAND, Command, id};
use devices::spec::virtio::{cfg_type, common, feature};
use vm_memory::{Bytes, GuestAddress, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

use crate::Outcome;

pub(crate) const SECTOR: usize = 512;
/// A request takes less than a millisecond; a machine that emulates everything may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to believe that nothing comes.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

/// Addresses of the selected queue, in the order of its parts in memory.
const QUEUE_ADDRESSES: [u64; 3] = [common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE];

/// What is accepted of the upper 32 feature bits.
const FEATURES_HIGH: u32 = ((feature::VERSION_1 | feature::ACCESS_PLATFORM) >> 32) as u32;
const QUEUE_LEN: u16 = 16;

/// Where things are in the DMA memory.
const AVAIL: u64 = 0x1000;
const USED: u64 = 0x2000;
const HEADER: u64 = 0x3000;
const DATA: u64 = 0x4000;
const STATUS_BYTE: u64 = 0x5000;
pub(crate) const LEN: usize = 0x6000;

/// Memory for a disk's driver at `iova`.
pub(crate) fn memory(iova: u64) -> Result<DmaRegion, String> {
    Ok(Arc::new(GuestRegionMmap::from_range(GuestAddress(iova), LEN, None).map_err(text)?))
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The message of an error and of all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words += &format!(": {cause}");
        next = cause.source();
    }
    words
}

/// A disk that runs.
pub(crate) struct Disk<'a> {
    function: &'a dyn PciFunction,
    memory: DmaRegion,
    common: (u8, u64),
    doorbell: (u8, u64),
    requests: u16,
}

impl<'a> Disk<'a> {
    /// From any state to DRIVER_OK. `memory` is mapped for the function; queue 0 has `vector`.
    pub(crate) fn start(function: &'a dyn PciFunction, memory: &DmaRegion, vector: u16) -> Outcome<Self> {
        let command = function.config_read(COMMAND, Width::B2).map_err(text)?
            | u32::from((Command::MEMORY | Command::BUS_MASTER).bits());
        function.config_write(COMMAND, Width::B2, command).map_err(text)?;
        let (common, _) = structure(function, cfg_type::COMMON)?;
        let mut disk = Self { function, memory: memory.clone(), common, doorbell: (0, 0), requests: 0 };
        disk.memory.write_slice(&[0; LEN], MemoryRegionAddress(0)).map_err(text)?;
        disk.reset()?;
        for status in [1, 3] {
            disk.write(common::DEVICE_STATUS, Width::B1, status)?;
        }
        disk.write(common::DEVICE_FEATURE_SELECT, Width::B4, 1)?;
        let offered = disk.read(common::DEVICE_FEATURE, Width::B4)? as u32;
        for (half, bits) in [(0, 0), (1, offered & FEATURES_HIGH)] {
            disk.write(common::DRIVER_FEATURE_SELECT, Width::B4, half)?;
            disk.write(common::DRIVER_FEATURE, Width::B4, bits.into())?;
        }
        disk.write(common::DEVICE_STATUS, Width::B1, 0xb)?;
        if disk.status()? != 0xb {
            return Err(format!("features {offered:#x} << 32 refused, status {:#x}", disk.status()?));
        }
        disk.set_up_queue(vector)?;
        disk.write(common::DEVICE_STATUS, Width::B1, 0xf)?;
        Ok(disk)
    }

    fn set_up_queue(&mut self, vector: u16) -> Outcome {
        self.write(common::QUEUE_SELECT, Width::B2, 0)?;
        self.write(common::QUEUE_SIZE, Width::B2, QUEUE_LEN.into())?;
        self.write(common::QUEUE_MSIX_VECTOR, Width::B2, vector.into())?;
        if self.read(common::QUEUE_MSIX_VECTOR, Width::B2)? != u64::from(vector) {
            return Err(format!("the device does not take vector {vector}"));
        }
        for (register, at) in QUEUE_ADDRESSES.into_iter().zip([0, AVAIL, USED]) {
            let address = self.memory.start_addr().0 + at;
            self.write(register, Width::B4, address & 0xffff_ffff)?;
            self.write(register + 4, Width::B4, address >> 32)?;
        }
        let (notify, multiplier) = structure(self.function, cfg_type::NOTIFY)?;
        let offset = self.read(common::QUEUE_NOTIFY_OFF, Width::B2)? * u64::from(multiplier);
        self.doorbell = (notify.0, notify.1 + offset);
        self.write(common::QUEUE_ENABLE, Width::B2, 1)
    }

    /// The device's own reset.
    pub(crate) fn reset(&self) -> Outcome {
        self.write(common::DEVICE_STATUS, Width::B1, 0)?;
        let end = Instant::now() + PATIENCE;
        while self.status()? != 0 {
            if Instant::now() > end {
                return Err("the device does not reset".into());
            }
        }
        Ok(())
    }

    pub(crate) fn status(&self) -> Outcome<u64> {
        self.read(common::DEVICE_STATUS, Width::B1)
    }

    fn read(&self, register: u64, width: Width) -> Outcome<u64> {
        self.function.region_read(self.common.0, self.common.1 + register, width).map_err(|e| chain(&e))
    }

    fn write(&self, register: u64, width: Width, value: u64) -> Outcome {
        self.function.region_write(self.common.0, self.common.1 + register, width, value).map_err(|e| chain(&e))
    }

    /// Puts a read of one sector into the ring, and does not kick.
    pub(crate) fn offer_read(&mut self, sector: u64) -> Outcome {
        let base = self.memory.start_addr().0;
        let put = |bytes: &[u8], at| self.memory.write_slice(bytes, MemoryRegionAddress(at)).map_err(text);
        put(&[&[0; 8][..], &sector.to_le_bytes()].concat(), HEADER)?;
        put(&[0xee; SECTOR], DATA)?;
        put(&[0xff], STATUS_BYTE)?;
        let chain = [(HEADER, 16_u32, 1_u16, 1_u16), (DATA, SECTOR as u32, 3, 2), (STATUS_BYTE, 1, 2, 0)];
        for (index, (at, len, flags, next)) in chain.into_iter().enumerate() {
            let descriptor =
                [&(base + at).to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
            put(&descriptor.concat(), 16 * index as u64)?;
        }
        put(&0_u16.to_le_bytes(), AVAIL + 4 + 2 * u64::from(self.requests % QUEUE_LEN))?;
        self.requests = self.requests.wrapping_add(1);
        let at = MemoryRegionAddress(AVAIL + 2);
        self.memory.store(self.requests.to_le(), at, Ordering::Release).map_err(text)
    }

    pub(crate) fn kick(&self) -> Outcome {
        self.function.region_write(self.doorbell.0, self.doorbell.1, Width::B2, 0).map_err(|e| chain(&e))
    }

    /// A link from `event` to the doorbell of queue 0.
    pub(crate) fn link(&self, event: &EventFd) -> Outcome<Box<dyn KickLink>> {
        self.function.link_ioeventfd(self.doorbell.0, self.doorbell.1, 0, event).map_err(|e| chain(&e))
    }

    /// Requests that the device has returned.
    pub(crate) fn used(&self) -> Outcome<u16> {
        self.memory.load::<u16>(MemoryRegionAddress(USED + 2), Ordering::Acquire).map(u16::from_le).map_err(text)
    }

    pub(crate) fn data(&self) -> Outcome<[u8; SECTOR]> {
        let mut bytes = [0; SECTOR];
        self.memory.read_slice(&mut bytes, MemoryRegionAddress(DATA)).map_err(text)?;
        Ok(bytes)
    }

    /// A whole request: the interrupt comes on `event`, the data is the disk's.
    pub(crate) fn read_sector(&mut self, sector: u64, event: &EventFd) -> Outcome {
        self.offer_read(sector)?;
        self.kick()?;
        self.finish_read(sector, event)
    }

    /// Waits for the end of the request that was offered last.
    pub(crate) fn finish_read(&self, sector: u64, event: &EventFd) -> Outcome {
        if !signalled(event, PATIENCE) {
            return Err(format!(
                "no interrupt; used {} of {}, status {:#x}",
                self.used()?,
                self.requests,
                self.status()?
            ));
        }
        let end = Instant::now() + PATIENCE;
        while self.used()? != self.requests {
            if Instant::now() > end {
                return Err("an interrupt without a used buffer".into());
            }
        }
        let data = self.data()?;
        if data != pattern(sector) { Err(format!("sector {sector} reads {:02x?}...", &data[..8])) } else { Ok(()) }
    }
}

/// Place of a virtio structure, and the word behind its capability.
fn structure(function: &dyn PciFunction, cfg_type: u8) -> Outcome<((u8, u64), u32)> {
    let list = CapabilityList::read(function).map_err(text)?;
    for found in list.found.iter().filter(|c| c.id == id::VENDOR) {
        let Some(cap) = VirtioCapability::read(function, found.offset).map_err(text)? else { continue };
        if cap.cfg_type == cfg_type && cap.is_inside(function) {
            let behind = u16::from(found.offset) + u16::from(VIRTIO_CAP_LEN);
            let word = function.config_read(behind, Width::B4).map_err(text)?;
            return Ok(((cap.bar, cap.offset.into()), word));
        }
    }
    Err(format!("{} has no virtio structure of type {cfg_type}", function.name()))
}

/// Where the ISR is.
pub(crate) fn isr(function: &dyn PciFunction) -> Outcome<(u8, u64)> {
    structure(function, cfg_type::ISR).map(|(place, _)| place)
}

/// What the test's image has in a sector.
pub(crate) fn pattern(sector: u64) -> [u8; SECTOR] {
    std::array::from_fn(|n| (n as u8).wrapping_mul(7) ^ sector as u8)
}

/// Whether `event` is signalled within `limit`; takes the signal.
pub(crate) fn signalled(event: &EventFd, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        if event.read().is_ok() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1)); // Clock: between two looks.
    }
}

pub(crate) fn event() -> Outcome<EventFd> {
    EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(text)
}
