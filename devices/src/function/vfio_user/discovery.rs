// SPDX-License-Identifier: Apache-2.0
//! What a client asks a vfio-user server when it connects, and the checks of what it says: sizes of
//! BARs, parts that can be mapped, interrupts.

use std::io;
use std::sync::Arc;

use super::connection::{Connection, Failure};
use super::version::{self, Capabilities};
use super::wire::{self, DeviceInfo, IrqInfo, RegionAccess, RegionInfo, Request, SparseArea, read_data, region_flag};
use super::{CONFIG_REGION, irqs};
use crate::function::capabilities::MsixStructures;
use crate::function::received::Received;
use crate::function::{MappableArea, Region};
use crate::spec::pci::BAR0;
use crate::spec::pci::CONFIG_SPACE_SIZE;

/// Room for a reply to GET_REGION_INFO, with its capabilities.
const REGION_ROOM: u32 = 4096;
const PAGE: u64 = 4096;
const DEVICE_IS_PCI: u32 = 2;
/// A PCI function can have no more vectors of MSI-X.
const MAX_VECTORS: u32 = 2048;

/// One BAR.
#[derive(Default)]
pub(super) struct Bar {
    pub region: Option<Region>,
    pub areas: Vec<MappableArea>,
}

/// What the function is.
#[derive(Default)]
pub(super) struct Discovered {
    pub bars: [Bar; 6],
    pub msix: u16,
    pub msi: u16,
    pub intx: bool,
}

fn nonsense(what: impl Into<String>) -> Failure {
    Failure::Lost(io::Error::new(io::ErrorKind::InvalidData, what.into()))
}

/// Agrees on a version; returns what the server takes.
pub(super) fn negotiate(connection: &Connection) -> Result<Capabilities, Failure> {
    let text = Capabilities::ours().encode(true);
    let request = Request::Version { major: version::MAJOR, minor: version::MINOR, text: &text };
    connection.ask(&request, &[], |payload, _| {
        let (major, minor, text) = wire::version(payload)?;
        if major != version::MAJOR || minor > version::MINOR {
            return Err(nonsense(format!("the server speaks version {major}.{minor}, not 0.{}", version::MINOR)));
        }
        Capabilities::decode(text).map_err(|error| nonsense(error.to_string()))
    })
}

/// Asks for everything.
pub(super) fn discover(connection: &Connection) -> Result<Discovered, Failure> {
    let info = connection.ask(&Request::GetInfo(16), &[], |payload, _| Ok(DeviceInfo::decode(payload)?))?;
    if info.flags & DEVICE_IS_PCI == 0 || info.regions <= CONFIG_REGION {
        return Err(nonsense("the server's device is not a PCI function"));
    }
    let mut found = Discovered::default();
    let config = region_info(connection, CONFIG_REGION)?.0;
    if config.size < 256 || config.size > CONFIG_SPACE_SIZE as u64 {
        return Err(nonsense(format!("configuration space has {} bytes", config.size)));
    }
    let mut upper_half = false;
    for (index, bar) in (0..).zip(&mut found.bars) {
        let (info, areas, file) = region_info(connection, index)?;
        let register = bar_register(connection, index)?;
        if std::mem::take(&mut upper_half) || info.size == 0 {
            continue;
        }
        if !info.size.is_power_of_two() || info.size > 1 << 62 {
            return Err(nonsense(format!("BAR {index} has {:#x} bytes, which is not a power of two", info.size)));
        }
        let region = region(info.size, register);
        upper_half = region.is_64bit;
        bar.region = Some(region);
        if let Some(file) = file.filter(|_| !region.is_io) {
            bar.areas = mappable(&info, areas, file)?;
        }
    }
    found.intx = irq_count(connection, info.irqs, irqs::INTX)? != 0;
    found.msi = irq_count(connection, info.irqs, irqs::MSI)?;
    found.msix = irq_count(connection, info.irqs, irqs::MSIX)?;
    Ok(found)
}

fn region(size: u64, register: u32) -> Region {
    let is_io = register & 1 != 0;
    let memory = |bits: u32| !is_io && register & bits != 0;
    Region { size, is_io, is_64bit: memory(4), prefetchable: memory(8) }
}

type RegionReply = (RegionInfo, Option<Vec<SparseArea>>, Option<Received>);

fn region_info(connection: &Connection, index: u32) -> Result<RegionReply, Failure> {
    let request = Request::GetRegionInfo { argsz: REGION_ROOM, index };
    connection.ask(&request, &[], |payload, fds| {
        let info = RegionInfo::decode(payload)?;
        let fd = fds.drain(..).next().filter(|_| info.flags & region_flag::MMAP != 0);
        Ok((info, info.decode_areas(payload)?, fd))
    })
}

fn bar_register(connection: &Connection, index: u32) -> Result<u32, Failure> {
    let access = RegionAccess { offset: u64::from(BAR0) + 4 * u64::from(index), region: CONFIG_REGION, count: 4 };
    connection.ask(&Request::RegionRead(access), &[], |payload, _| {
        let data = read_data(payload, &access)?;
        Ok(data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    })
}

/// Without a list of areas the whole BAR can be mapped. The guest will make accesses to the file, and a page that is
/// gone, or that the server has to fetch, is a processor of the guest that stops or hangs: what is not sure to be
/// there is reached by messages.
fn mappable(info: &RegionInfo, areas: Option<Vec<SparseArea>>, file: Received) -> Result<Vec<MappableArea>, Failure> {
    let Some(file) = file.lasting_memory() else {
        tracing::warn!(
            bar = info.index,
            "the vfio-user server offers a BAR in a file that is not memory, or that it can shorten: each access \
             to the BAR is a message; it can be mapped as a memfd with the seal F_SEAL_SHRINK"
        );
        return Ok(Vec::new());
    };
    let file = Arc::new(file);
    let len = file.metadata().map_err(Failure::Lost)?.len();
    let whole = SparseArea { offset: 0, size: info.size };
    let areas = areas.unwrap_or_else(|| if info.size.is_multiple_of(PAGE) { vec![whole] } else { Vec::new() });
    let mut last_end = 0;
    let check = |area: SparseArea| {
        let end = area.offset.checked_add(area.size).filter(|end| *end <= info.size)?;
        let file_offset = info.offset.checked_add(area.offset)?;
        let in_file = file_offset.checked_add(area.size)? <= len;
        let aligned = [area.offset, area.size, file_offset].iter().all(|value| value.is_multiple_of(PAGE));
        let sorted = area.offset >= std::mem::replace(&mut last_end, end);
        (in_file && aligned && sorted && area.size != 0).then(|| MappableArea {
            offset: area.offset,
            size: area.size,
            file: file.clone(),
            file_offset,
        })
    };
    let checked: Option<Vec<_>> = areas.into_iter().map(check).collect();
    checked.ok_or_else(|| nonsense(format!("the mappable parts of BAR {} are not inside it and its file", info.index)))
}

fn irq_count(connection: &Connection, kinds: u32, index: u32) -> Result<u16, Failure> {
    if index >= kinds {
        return Ok(0);
    }
    let info = connection.ask(&Request::GetIrqInfo { index }, &[], |payload, _| Ok(IrqInfo::decode(payload)?))?;
    u16::try_from(info.count.min(MAX_VECTORS)).map_err(|_| nonsense("too many interrupts"))
}

impl Discovered {
    /// Takes the pages of the MSI-X table and pending bits, which nobody may map, out of what can be mapped.
    pub(super) fn cut(&mut self, msix: &MsixStructures) {
        for (number, bar) in (0..).zip(&mut self.bars) {
            for hole in msix.holes(number) {
                let areas = std::mem::take(&mut bar.areas).into_iter();
                bar.areas = areas.flat_map(|area| without(area, hole.start, hole.end)).collect();
            }
        }
    }
}

/// The parts of `area` outside of `first..end`, which are page borders.
fn without(area: MappableArea, first: u64, end: u64) -> impl Iterator<Item = MappableArea> {
    let area_end = area.offset + area.size;
    let parts = [(area.offset, area_end.min(first)), (area.offset.max(end), area_end)];
    parts.into_iter().filter(|(from, to)| from < to).map(move |(from, to)| MappableArea {
        offset: from,
        size: to - from,
        file: area.file.clone(),
        file_offset: area.file_offset + (from - area.offset),
    })
}
