// SPDX-License-Identifier: Apache-2.0
//! [`VfioFunction`]: a function that the kernel's VFIO gives to this process.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vm_memory::GuestMemoryRegion;
use vmm_sys_util::eventfd::EventFd;

use super::attachment::{self, Attachment};
use super::device::Device;
use super::dma::DmaSpace;
use super::interrupts::{HostInterrupts, Kind};
use super::mappable;
use super::open_error::OpenError;
use super::preflight::preflight;
use super::{Bdf, DmaError, Mode, OpenOptions, ioctl};
use crate::bus::Width;
use crate::function::capabilities::MsixStructures;
use crate::function::{
    Bars, Configuration, Dma, DmaRegion, FunctionError, Interrupts, IntxEvents, KickLink, Lifetime, MappableArea,
    Named, Region, Result,
};
use crate::spec::pci::{COMMAND, Command, DEVICE_ID};

/// The variant driver whose region 0 is a legacy register space.
pub(super) const LEGACY_DRIVER: &str = "virtio_vfio_pci";

/// The kernel answers EAGAIN to a reset while somebody else resets or suspends the device.
const RESET_PATIENCE: Duration = Duration::from_secs(2);
const RESET_PAUSE: Duration = Duration::from_millis(10);

/// A function of the host. When it is dropped its interrupts, bus mastering and DMA mappings end, and
/// the kernel resets it; mappings that were made of [`PciFunction::mappable`] hold that up.
#[derive(Debug)]
pub struct VfioFunction {
    bdf: Bdf,
    driver: String,
    /// The device id that the kernel's PCI core knows.
    device_id: u16,
    msix: Option<MsixStructures>,
    interrupts: HostInterrupts,
    /// Whether region 0 is somebody else's, see [`Self::separate_legacy_region`].
    legacy_apart: AtomicBool,
    device: Arc<Device>,
    // Last: mappings end when nothing above can reach the device any more.
    attachment: Attachment,
}

impl VfioFunction {
    /// Opens a function in `space`, where it finds what other functions mapped there; DMA is off.
    ///
    /// # Errors
    /// With the cause and what to do about it. Nothing stays open or changed then.
    pub fn open(space: &Arc<DmaSpace>, options: &OpenOptions) -> std::result::Result<Self, OpenError> {
        let found = preflight(&options.paths, options.bdf)?;
        let (attachment, file) = attachment::attach(space, options, &found)?;
        let device = Arc::new(Device::new(options.bdf, file)?);
        let interrupts = HostInterrupts::new(&device)?;
        let mut function = Self {
            bdf: options.bdf,
            driver: found.driver,
            device_id: found.ids.1,
            msix: None,
            interrupts,
            legacy_apart: AtomicBool::new(false),
            device,
            attachment,
        };
        function.msix = MsixStructures::find(&function)?;
        tracing::debug!(function = %options.bdf, mode = %function.mode(), driver = function.driver, "opened");
        Ok(function)
    }

    /// Its address on the host.
    pub fn bdf(&self) -> Bdf {
        self.bdf
    }

    /// The driver it is bound to: `vfio-pci` or a variant.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The device id that the kernel's PCI core knows. A variant driver may show another one in configuration space.
    pub(super) fn device_id(&self) -> u16 {
        self.device_id
    }

    /// [`Mode::Group`] or [`Mode::Cdev`].
    pub fn mode(&self) -> Mode {
        self.attachment.mode()
    }

    /// Whether MSI-X is enabled on the host, whatever the guest believes.
    pub fn is_msix_enabled(&self) -> bool {
        self.interrupts.is_enabled(Kind::Msix)
    }

    /// Bytes of the legacy register space that `virtio_vfio_pci` puts in place of BAR 0; none where
    /// there is no such.
    pub fn legacy_region(&self) -> Option<u64> {
        let bar = self.device.bar(0).filter(|_| self.driver == LEGACY_DRIVER)?;
        bar.region.is_io.then_some(bar.region.size)
    }

    /// From now on the function looks like the VF that it is: without a BAR 0, with its own device id,
    /// and with I/O decoding always on, which the legacy region wants.
    pub(super) fn separate_legacy_region(&self) -> Result<()> {
        self.legacy_apart.store(true, Ordering::Release);
        self.config_write(COMMAND, Width::B2, self.config_read(COMMAND, Width::B2)?)
    }

    /// The legacy region, for [`super::VfioBar0Registers`].
    pub(super) fn legacy_read(&self, offset: u64, width: Width) -> Result<u64> {
        self.device.region_read(0, offset, width)
    }

    /// As [`Self::legacy_read`].
    pub(super) fn legacy_write(&self, offset: u64, width: Width, value: u64) -> Result<()> {
        self.device.region_write(0, offset, width, value)
    }

    fn is_legacy_apart(&self) -> bool {
        self.legacy_apart.load(Ordering::Acquire)
    }

    /// Switches bus mastering off, so that DMA ends. Says what COMMAND was.
    fn stop_dma(&self) -> Result<u32> {
        let command = self.config_read(COMMAND, Width::B2)?;
        self.config_write(COMMAND, Width::B2, command & !u32::from(Command::BUS_MASTER.bits()))?;
        Ok(command)
    }

    fn dma_failed(&self, what: &'static str, error: DmaError) -> FunctionError {
        FunctionError::Io { name: self.name().to_owned(), what, source: io::Error::other(error) }
    }
}

impl Named for VfioFunction {
    fn name(&self) -> &str {
        &self.device.name
    }
}

impl Configuration for VfioFunction {
    fn config_read(&self, offset: u16, width: Width) -> Result<u32> {
        let value = self.device.config_read(offset, width)?;
        let apart = self.is_legacy_apart() && width != Width::B8;
        Ok(if apart { show_device_id(offset, width, value, self.device_id) } else { value })
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<()> {
        let decode_io = offset == COMMAND && self.is_legacy_apart();
        self.device.config_write(offset, width, if decode_io { value | u32::from(Command::IO.bits()) } else { value })
    }
}

impl Bars for VfioFunction {
    fn region(&self, bar: u8) -> Option<Region> {
        if bar == 0 && self.is_legacy_apart() {
            return None;
        }
        self.device.bar(bar).map(|bar| bar.region)
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.device.region_read(bar, offset, width)
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        self.device.region_write(bar, offset, width, value)
    }
    fn mappable(&self, bar: u8) -> Result<Vec<MappableArea>> {
        let Some(found) = self.device.bar(bar).filter(|bar| bar.can_map) else { return Ok(Vec::new()) };
        let whole = 0..found.region.size;
        let allowed = found.caps.sparse.as_deref().unwrap_or(std::slice::from_ref(&whole));
        // Also where the kernel would let the table be mapped: the guest's vectors are not the host's.
        let holes: Vec<_> = self.msix.iter().flat_map(|msix| msix.holes(bar)).collect();
        let areas = mappable::areas(found.region.size, allowed, &holes);
        let area = |area: std::ops::Range<u64>| MappableArea {
            offset: area.start,
            size: area.end - area.start,
            file: Arc::clone(&self.device.file),
            file_offset: found.file_offset + area.start,
        };
        Ok(areas.into_iter().map(area).collect())
    }
    fn link_ioeventfd(&self, bar: u8, offset: u64, value: u16, event: &EventFd) -> Result<Box<dyn KickLink>> {
        Ok(Box::new(self.device.link(bar, offset, value, event)?))
    }
}

impl Interrupts for VfioFunction {
    fn msix_vectors(&self) -> u16 {
        self.interrupts.vectors(Kind::Msix)
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.interrupts.set(&self.device, Kind::Msix, events)
    }
    fn disable_msix(&self) -> Result<()> {
        self.interrupts.disable(&self.device, Kind::Msix)
    }
    fn msi_vectors(&self) -> u16 {
        self.interrupts.vectors(Kind::Msi)
    }
    fn set_msi(&self, events: &[Option<&EventFd>]) -> Result<()> {
        self.interrupts.set(&self.device, Kind::Msi, events)
    }
    fn has_intx(&self) -> bool {
        self.interrupts.vectors(Kind::Intx) != 0
    }
    fn set_intx(&self, events: Option<IntxEvents<'_>>) -> Result<()> {
        if events.is_some() && !self.has_intx() {
            return Err(FunctionError::Unsupported { name: self.name().to_owned(), what: "INTx" });
        }
        self.interrupts.set_intx(&self.device, events)
    }
}

impl Dma for VfioFunction {
    fn dma_map(&self, region: &DmaRegion) -> Result<()> {
        self.attachment.space.map(self.attachment.user, region).map_err(|error| {
            tracing::debug!(function = %self.bdf, start = region.start_addr().0, "not mapped for DMA");
            self.dma_failed("map memory for DMA", error)
        })
    }
    fn dma_unmap(&self, iova: u64) -> Result<()> {
        let unmapped = self.attachment.space.unmap(self.attachment.user, iova);
        unmapped.map_err(|error| self.dma_failed("unmap memory for DMA", error))
    }
}

impl Lifetime for VfioFunction {
    fn removal_event(&self) -> Option<&EventFd> {
        self.interrupts.removal.as_ref()
    }
    fn error_event(&self) -> Option<&EventFd> {
        self.interrupts.error.as_ref()
    }
    /// The kernel keeps configuration space across a reset, so what must be off is switched off before.
    fn reset(&self) -> Result<()> {
        if !self.device.can_reset {
            let what = "a reset (it has no function-level reset, and others share its bus)";
            return Err(FunctionError::Unsupported { name: self.name().to_owned(), what });
        }
        self.interrupts.disable_all(&self.device)?;
        let command = self.stop_dma()?;
        let limit = Instant::now() + RESET_PATIENCE;
        loop {
            match ioctl::reset(&self.device.file) {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && Instant::now() < limit => {
                    thread::sleep(RESET_PAUSE);
                }
                Err(source) => return Err(self.device.failed("reset the function", source)),
                Ok(()) => break,
            }
        }
        // virtio_vfio_pci forgets I/O decoding with a reset; others have all bits clear after one.
        self.config_write(COMMAND, Width::B2, after_reset(command))
    }
}

/// COMMAND after a reset, from what it was before. Memory decoding stays: BARs may be in the guest's memory, and an access
/// to a page of a function that does not decode is a SIGBUS. While the reset runs the kernel holds such accesses up.
fn after_reset(command: u32) -> u32 {
    command & u32::from(Command::MEMORY.bits())
}

/// Puts the device id into a value that was read at `offset`, where the read covers it.
fn show_device_id(offset: u16, width: Width, value: u32, device_id: u16) -> u32 {
    let mut bytes = value.to_le_bytes();
    for (n, byte) in bytes.iter_mut().enumerate().take(width.bytes()) {
        let at = usize::from(offset) + n;
        if let Some(own) = at.checked_sub(DEVICE_ID.into()).and_then(|at| device_id.to_le_bytes().get(at).copied()) {
            *byte = own;
        }
    }
    u32::from_le_bytes(bytes)
}

impl Drop for VfioFunction {
    fn drop(&mut self) {
        // The kernel does the same when the file is closed, which a mapping of a BAR may delay.
        for outcome in [self.interrupts.disable_all(&self.device), self.stop_dma().map(drop)] {
            match outcome {
                Ok(()) | Err(FunctionError::Gone { .. }) => {}
                Err(error) => tracing::warn!(%error, "the function was not stopped"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b8_a_reset_keeps_memory_decoding_and_nothing_else() {
        assert_eq!((after_reset(0x0407), after_reset(0x0406), after_reset(0x0405)), (2, 2, 0));
    }

    #[test]
    fn the_device_id_is_shown_in_reads_of_any_width() {
        let shown = |offset, width, value| show_device_id(offset, width, value, 0x1041);
        assert_eq!(shown(0, Width::B4, 0x1000_1af4), 0x1041_1af4);
        assert_eq!(shown(2, Width::B2, 0x1000), 0x1041);
        assert_eq!((shown(2, Width::B1, 0), shown(3, Width::B1, 0)), (0x41, 0x10));
        assert_eq!(shown(1, Width::B2, 0x001a), 0x411a);
        assert_eq!(shown(0, Width::B2, 0x1af4), 0x1af4);
        assert_eq!(shown(4, Width::B4, 0x10_0006), 0x10_0006);
    }
}
