// SPDX-License-Identifier: Apache-2.0
//! An open VFIO device: its configuration space and BARs, by reading and writing the device file.
//!
//! Source: Linux, include/uapi/linux/vfio.h and drivers/vfio/pci/vfio_pci_rdwr.c.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vfio_bindings::bindings::vfio;
use vmm_sys_util::eventfd::EventFd;

use super::info_chain::{RegionCaps, region_caps};
use super::{Bdf, OpenError, ioctl};
use crate::bus::Width;
use crate::function::{FunctionError, KickLink, Region, Result};
use crate::spec::pci::BAR0;

const BARS: usize = 6;
/// Configuration space of a function without extended capabilities ends here.
const CONVENTIONAL: u64 = 256;
const EXTENDED: u64 = 4096;

/// A BAR.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) region: Region,
    /// Whether the kernel lets it be mapped.
    pub(super) can_map: bool,
    /// Where it begins in the device file.
    pub(super) file_offset: u64,
    pub(super) caps: RegionCaps,
}

/// A device file and where things are in it.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) file: Arc<File>,
    pub(super) can_reset: bool,
    config_offset: u64,
    config_size: u64,
    bars: [Option<Bar>; BARS],
}

impl Device {
    /// Asks the device for its regions.
    pub(super) fn new(bdf: Bdf, file: Arc<File>) -> std::result::Result<Self, OpenError> {
        let call = |what| move |source| OpenError::Call { bdf, what, source };
        let info = ioctl::device_info(&file).map_err(call("ask VFIO for its regions"))?;
        if info.flags & vfio::VFIO_DEVICE_FLAGS_PCI == 0 || info.num_regions <= vfio::VFIO_PCI_CONFIG_REGION_INDEX {
            return Err(OpenError::NotPci { bdf, flags: info.flags });
        }
        let config = ioctl::region_info(&file, vfio::VFIO_PCI_CONFIG_REGION_INDEX);
        let (config, _) = config.map_err(call("ask VFIO for its configuration space"))?;
        if !(CONVENTIONAL..=EXTENDED).contains(&config.size) {
            return Err(OpenError::Unknown("a configuration space of another size"));
        }
        let mut device = Self {
            name: bdf.to_string(),
            can_reset: info.flags & vfio::VFIO_DEVICE_FLAGS_RESET != 0,
            config_offset: config.offset,
            config_size: config.size,
            bars: [const { None }; BARS],
            file,
        };
        for index in 0..BARS {
            let bar = device.read_bar(index).map_err(call("ask VFIO for its BARs"))?;
            if let Some(place) = device.bars.get_mut(index) {
                *place = bar;
            }
        }
        Ok(device)
    }

    /// What VFIO and the BAR's register say. The register shows the kind without being sized.
    fn read_bar(&self, index: usize) -> io::Result<Option<Bar>> {
        let (info, answer) = ioctl::region_info(&self.file, index as u32)?;
        // Sizes that are not powers of two are not a BAR's, offsets that wrap are nobody's.
        if !info.size.is_power_of_two() || info.offset.checked_add(info.size).is_none() {
            return Ok(None);
        }
        let mut register = [0; 4];
        self.file.read_exact_at(&mut register, self.config_offset + u64::from(BAR0) + 4 * index as u64)?;
        let register = u32::from_le_bytes(register);
        let is_io = register & 1 != 0;
        let region = Region {
            size: info.size,
            is_io,
            is_64bit: !is_io && register >> 1 & 3 == 2,
            prefetchable: !is_io && register & 8 != 0,
        };
        let can_map = !is_io && info.flags & vfio::VFIO_REGION_INFO_FLAG_MMAP != 0;
        Ok(Some(Bar { region, can_map, file_offset: info.offset, caps: region_caps(&answer, info.cap_offset) }))
    }

    pub(super) fn bar(&self, bar: u8) -> Option<&Bar> {
        self.bars.get(usize::from(bar))?.as_ref()
    }

    /// Reads configuration space. Behind its end are ones, as on the bus.
    pub(super) fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        match self.config_place(offset, width)? {
            Some(place) => self.read(place, width, "read its configuration space").map(|value| value as u32),
            None => Ok(width.all_ones() as u32),
        }
    }

    /// Writes configuration space. Behind its end nothing happens, as on the bus.
    pub(super) fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        match self.config_place(offset, width)? {
            Some(place) => self.write(place, width, value.into(), "write its configuration space"),
            None => Ok(()),
        }
    }

    fn config_place(&self, offset: u16, width: Width) -> Result<Option<u64>> {
        let end = u64::from(offset) + width.bytes() as u64;
        if end > EXTENDED || width == Width::B8 {
            return Err(self.out_of_range("configuration space".into(), offset.into(), width));
        }
        Ok((end <= self.config_size).then(|| self.config_offset + u64::from(offset)))
    }

    /// Reads a BAR.
    pub(super) fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.read(self.bar_place(bar, offset, width)?, width, "read a BAR")
    }

    /// Writes a BAR.
    pub(super) fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.write(self.bar_place(bar, offset, width)?, width, value, "write a BAR")
    }

    fn bar_place(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        let end = offset.checked_add(width.bytes() as u64);
        match (self.bar(bar), end) {
            (Some(found), Some(end)) if end <= found.region.size => Ok(found.file_offset + offset),
            _ => Err(self.out_of_range(format!("BAR {bar}"), offset, width)),
        }
    }

    fn read(&self, place: u64, width: Width, what: &'static str) -> Result<u64> {
        let mut bytes = [0; 8];
        let part = bytes.get_mut(..width.bytes()).unwrap_or_default();
        let got = self.file.read_at(part, place).map_err(|source| self.failed(what, source))?;
        if got == width.bytes() { Ok(u64::from_le_bytes(bytes)) } else { Err(self.failed(what, short())) }
    }

    fn write(&self, place: u64, width: Width, value: u64, what: &'static str) -> Result<()> {
        let bytes = value.to_le_bytes();
        let part = bytes.get(..width.bytes()).unwrap_or_default();
        let put = self.file.write_at(part, place).map_err(|source| self.failed(what, source))?;
        if put == width.bytes() { Ok(()) } else { Err(self.failed(what, short())) }
    }

    /// Stores `value` at `offset` of `bar` for each signal on `event`, until the link is dropped.
    pub(super) fn link(self: &Arc<Self>, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Link> {
        let offset = self.bar_place(bar, offset, Width::B2)?;
        let linked = ioctl::ioeventfd(&self.file, offset, value, Some(event.as_raw_fd()));
        linked.map_err(|source| self.failed("link an ioeventfd", source))?;
        Ok(Link { device: Arc::clone(self), offset, value })
    }

    /// An error of the system.
    pub(super) fn failed(&self, what: &'static str, source: io::Error) -> FunctionError {
        let name = self.name.clone();
        match source.raw_os_error() {
            Some(libc::ENODEV) => FunctionError::Gone { name },
            _ => FunctionError::Io { name, what, source },
        }
    }

    fn out_of_range(&self, what: String, offset: u64, width: Width) -> FunctionError {
        FunctionError::OutOfRange { name: self.name.clone(), what, offset, width: width.bytes() }
    }
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel moved fewer bytes than asked")
}

/// A VFIO ioeventfd.
pub(super) struct Link {
    device: Arc<Device>,
    offset: u64,
    value: u16,
}

impl KickLink for Link {
    /// The kernel does not count.
    fn count(&self) -> Option<u64> {
        None
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Err(error) = ioctl::ioeventfd(&self.device.file, self.offset, self.value, None) {
            tracing::warn!(function = self.device.name, %error, "an ioeventfd stays linked");
        }
    }
}
