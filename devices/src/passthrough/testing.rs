// SPDX-License-Identifier: Apache-2.0
//! A function in memory with every kind of capability, and a platform that counts, for tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{PassthroughDevice, PassthroughParts};
use crate::bus::Width;
use crate::contract::platform::{IrqLine, MsiInterrupt, MsiMessage, MsiSource, Resampled};
use crate::function::{
    DmaRegion, FunctionError, IntxEvents, KickLink, MappableArea, PciFunction, Region, Result as FunctionResult,
};

pub const PM: u16 = 0x40;
pub const MSI: u16 = 0x50;
pub const MSIX: u16 = 0x70;
pub const EXPRESS: u16 = 0x80;
pub const VIRTIO_ACCESS: u16 = 0xbc;
pub const VENDOR: u16 = 0xd0;
pub const VPD: u16 = 0xe0;
pub const ALLOCATION: u16 = 0xe8;
pub const RESET: u16 = 0xf4;

/// The function. BAR 0 has 64 ports, BAR 2 is 64-bit memory of 16 KiB with the MSI-X structures in
/// its last page.
#[derive(Debug)]
pub struct TestFunction {
    pub config: Mutex<Vec<u8>>,
    pub log: Mutex<Vec<String>>,
    pub fails: AtomicBool,
}

impl TestFunction {
    pub fn new() -> Arc<Self> {
        let mut c = vec![0; 4096];
        let mut set = |at: u16, bytes: &[u8]| c[usize::from(at)..][..bytes.len()].copy_from_slice(bytes);
        set(0, &[0xf4, 0x1a, 0x41, 0x10, 0, 0, 0x10, 0, 7, 0, 0, 2]);
        set(0x2c, &[0xf4, 0x1a, 0x41, 0x11]);
        set(0x30, &[1, 0, 0xf0, 0xfe]);
        set(0x34, &[PM as u8]);
        set(0x3d, &[1]);
        set(PM, &[0x01, MSI as u8, 0xc3, 0xff, 0x03, 0x81]);
        set(MSI, &[0x05, MSIX as u8, 0x86, 0x01]);
        set(MSIX, &[0x11, EXPRESS as u8, 3, 0, 2, 0x30, 0, 0, 2, 0x38, 0, 0]);
        set(EXPRESS, &[0x10, VIRTIO_ACCESS as u8, 2, 0, 1, 0x80, 0, 0x10, 0x10, 0x28]);
        set(VIRTIO_ACCESS, &[0x09, VENDOR as u8, 0x14, 5]);
        set(VENDOR, &[0x09, VPD as u8, 0x10, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        set(VPD, &[0x03, ALLOCATION as u8]);
        set(ALLOCATION, &[0x14, RESET as u8, 1, 0]);
        set(RESET, &[0x13, 0, 6, 3]);
        set(0x100, &[0x10, 0, 1, 0]);
        Arc::new(Self { config: Mutex::new(c), log: Mutex::default(), fails: AtomicBool::new(false) })
    }

    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn act(&self, what: String) -> FunctionResult<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(FunctionError::Gone { name: "test".to_owned() });
        }
        self.log.lock().unwrap().push(what);
        Ok(())
    }
}

impl PciFunction for TestFunction {
    fn name(&self) -> &str {
        "test"
    }
    fn config_read(&self, offset: u16, width: Width) -> FunctionResult<u32> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(FunctionError::Gone { name: "test".to_owned() });
        }
        let config = self.config.lock().unwrap();
        let bytes = &config[usize::from(offset)..][..width.bytes()];
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> FunctionResult<()> {
        self.act(format!("config {offset:x}.{}={value:x}", width.bytes()))
    }
    fn region(&self, bar: u8) -> Option<Region> {
        match bar {
            0 => Some(Region { size: 64, is_io: true, is_64bit: false, prefetchable: false }),
            2 => Some(Region { size: 0x4000, is_io: false, is_64bit: true, prefetchable: true }),
            _ => None,
        }
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> FunctionResult<u64> {
        self.act(format!("read {bar}+{offset:x}.{}", width.bytes()))?;
        Ok(width.truncate(0x1122_3344_5566_7788))
    }
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> FunctionResult<()> {
        self.act(format!("write {bar}+{offset:x}.{}={value:x}", width.bytes()))
    }
    fn mappable(&self, bar: u8) -> FunctionResult<Vec<MappableArea>> {
        let file = Arc::new(File::open("/dev/null").unwrap());
        Ok((bar == 2).then_some(MappableArea { offset: 0, size: 0x3000, file, file_offset: 0 }).into_iter().collect())
    }
    fn msix_vectors(&self) -> u16 {
        4
    }
    fn set_msix(&self, events: &[Option<&EventFd>]) -> FunctionResult<()> {
        self.act(format!("msix {}", events.iter().flatten().count()))
    }
    fn disable_msix(&self) -> FunctionResult<()> {
        self.act("msix off".to_owned())
    }
    fn msi_vectors(&self) -> u16 {
        8
    }
    fn set_msi(&self, events: &[Option<&EventFd>]) -> FunctionResult<()> {
        self.act(format!("msi {}", events.iter().flatten().count()))
    }
    fn has_intx(&self) -> bool {
        true
    }
    fn set_intx(&self, events: Option<IntxEvents<'_>>) -> FunctionResult<()> {
        self.act(format!("intx {}", if events.is_some() { "on" } else { "off" }))
    }
    fn dma_map(&self, _: &DmaRegion) -> FunctionResult<()> {
        Ok(())
    }
    fn dma_unmap(&self, _: u64) -> FunctionResult<()> {
        Ok(())
    }
    fn reset(&self) -> FunctionResult<()> {
        self.act("reset".to_owned())
    }
    fn link_ioeventfd(&self, _: u8, _: u64, _: u16, _: &EventFd) -> FunctionResult<Box<dyn KickLink>> {
        Err(FunctionError::Unsupported { name: "test".to_owned(), what: "ioeventfd" })
    }
}

/// A line that counts who is wired to it.
#[derive(Default)]
pub struct TestLine {
    pub wired: Arc<AtomicU64>,
    pub cannot: bool,
}

struct Wire(Arc<AtomicU64>);

impl Resampled for Wire {}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl IrqLine for TestLine {
    fn set(&self, _: bool) {}
    fn resample(&self, _: &EventFd, _: &EventFd) -> std::io::Result<Box<dyn Resampled>> {
        if self.cannot {
            return Err(std::io::ErrorKind::Unsupported.into());
        }
        self.wired.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Wire(self.wired.clone())))
    }
}

/// Messages that are delivered, by number of the interrupt.
#[derive(Clone, Default)]
pub struct TestMsi {
    pub routes: Arc<Mutex<BTreeMap<usize, MsiMessage>>>,
    next: Arc<AtomicU64>,
}

struct TestInterrupt(EventFd, usize, TestMsi);

impl MsiSource for TestMsi {
    fn allocate(&self) -> std::io::Result<Arc<dyn MsiInterrupt>> {
        let number = self.next.fetch_add(1, Ordering::SeqCst) as usize;
        Ok(Arc::new(TestInterrupt(EventFd::new(EFD_NONBLOCK)?, number, self.clone())))
    }
}

impl MsiInterrupt for TestInterrupt {
    fn event(&self) -> &EventFd {
        &self.0
    }
    fn enable(&self, message: MsiMessage) -> std::io::Result<()> {
        self.2.routes.lock().unwrap().insert(self.1, message);
        Ok(())
    }
    fn disable(&self) -> std::io::Result<()> {
        self.2.routes.lock().unwrap().remove(&self.1);
        Ok(())
    }
}

/// A device over the function, and what is around it.
pub struct Bench {
    pub function: Arc<TestFunction>,
    pub device: Arc<PassthroughDevice>,
    pub wired: Arc<AtomicU64>,
    /// Numbers 0 to 3 are MSI-X vectors, 4 to 11 MSI's.
    pub routes: Arc<Mutex<BTreeMap<usize, MsiMessage>>>,
}

impl Bench {
    pub fn new() -> Self {
        let (function, line, msi) = (TestFunction::new(), TestLine::default(), TestMsi::default());
        let (wired, routes) = (line.wired.clone(), msi.routes.clone());
        let parts = PassthroughParts {
            function: function.clone(),
            msi: Arc::new(msi),
            irq_line: Some(Arc::new(line)),
            irq_number: 10,
        };
        Self { device: PassthroughDevice::new("dev", parts).unwrap(), function, wired, routes }
    }
}
