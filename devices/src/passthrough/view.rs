// SPDX-License-Identifier: Apache-2.0
//! The guest's configuration space, made from the function's. Every one of its 256 bytes is *ours*
//! (an emulated register), *shown* (read from the function; writes are dropped) or *forwarded* (both
//! go to the function). Capabilities stay where they are, because drivers know offsets by heart, and
//! those that a guest must not have are taken out of the list.
//!
//! Configuration mechanism 1 ends at 256 bytes, so no extended capability is ever seen: SR-IOV,
//! resizable BARs, ATS, PASID and their like need an owner that sees the whole host.

use crate::bus::Width;
use crate::function::capabilities::{Capability, CapabilityList};
use crate::function::{FunctionError, PciFunction};
use crate::pci::{
    BAR_COUNT, BarKind, ConfigError, ConfigSpace, Identity, MsixLayout, MsixLayoutError, MsixPlace, Subsystem,
};
use crate::spec::pci::{self, HEADER_END, HEADER_TYPE, REVISION_ID, STATUS, SUBSYSTEM_VENDOR_ID, express, id};
use crate::spec::virtio::{VENDOR_ID, cfg_type};

use super::msi::MsiCapability;

/// Bytes that configuration mechanism 1 reaches.
const SPACE: usize = 256;
const HEADER: usize = HEADER_END as usize;
/// STATUS bits that say what the function can: 66 MHz, fast back-to-back, DEVSEL timing.
const STATUS_FIXED: u32 = 0x06a0;
/// Power management: what of the status a guest can write; no soft reset: a guest that puts the
/// function to sleep and wakes it finds it as it was, since it never slept.
const POWER_STATE: u8 = 3;
const NO_SOFT_RESET: u8 = 1 << 3;

/// Who has a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// An emulated register.
    Ours,
    /// The function, for reads.
    Shown,
    /// The function.
    Forwarded,
}

/// Where the capabilities are that have to be acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// MSI-X.
    pub msix: Option<u16>,
    /// The byte, and the bit in it, that start a function-level reset.
    pub reset: [Option<(u16, u8)>; 2],
}

/// The guest's configuration space when it is made.
pub(super) struct View {
    /// Emulated registers.
    pub space: ConfigSpace,
    /// Who has which byte.
    pub owners: Box<[Owner; SPACE]>,
    /// Capabilities to act on.
    pub places: Places,
    /// MSI-X table and pending bits, if the guest gets MSI-X.
    pub msix: Option<MsixLayout>,
    /// MSI, if the guest gets it.
    pub msi: Option<MsiCapability>,
}

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The function cannot be read.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// A BAR that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// MSI-X that cannot be.
    #[error(transparent)]
    Msix(#[from] MsixLayoutError),
    /// The MSI-X structures are not in a BAR.
    #[error("the MSI-X table or pending bits of {name} are not inside a memory BAR (BAR {bar})")]
    MsixOutsideBar {
        /// The function.
        name: String,
        /// BAR number in the capability.
        bar: u8,
    },
    /// No PCI function answers, or a bridge does.
    #[error("{name} answers as header type {header:#04x}: endpoints (type 0) can be passed through")]
    Header {
        /// The function.
        name: String,
        /// Header type register without its multi-function bit.
        header: u8,
    },
}

impl View {
    /// Looks at `function`. `pin` is whether it keeps its interrupt pin, wired to `line`.
    pub(super) fn new(function: &dyn PciFunction, pin: bool, line: u8) -> Result<Self, ViewError> {
        let header = function.config_read(HEADER_TYPE, Width::B1)? as u8 & 0x7f;
        if header != 0 {
            return Err(ViewError::Header { name: function.name().to_owned(), header });
        }
        let mut space = ConfigSpace::new(&identity(function)?);
        add_bars(&mut space, function)?;
        let status = function.config_read(STATUS, Width::B2)? & STATUS_FIXED;
        space.patch(STATUS, Width::B2, status);
        match pin {
            true => space.set_interrupt(1, line),
            false => space.set_interrupt(0, 0xff),
        }
        let mut owners = Box::new([Owner::Shown; SPACE]);
        owners[..HEADER].fill(Owner::Ours);
        let mut view = Self { space, owners, places: Places::default(), msix: None, msi: None };
        view.add_capabilities(function)?;
        Ok(view)
    }

    fn add_capabilities(&mut self, function: &dyn PciFunction) -> Result<(), ViewError> {
        let mut shown = Vec::new();
        for capability in CapabilityList::read(function)?.found {
            if self.add_capability(function, capability)? {
                shown.push(capability);
            }
        }
        let nexts = shown.iter().skip(1).map(|c| c.offset).chain([0]);
        for (capability, next) in shown.iter().zip(nexts) {
            self.keep(capability.offset.into(), &[capability.id, next], &[]);
        }
        self.space.set_capability_list(shown.first().map_or(0, |capability| capability.offset));
        Ok(())
    }

    /// Takes a capability in; `false` if the guest must not see it.
    fn add_capability(&mut self, function: &dyn PciFunction, found: Capability) -> Result<bool, ViewError> {
        let at = u16::from(found.offset);
        match found.id {
            id::MSIX if self.places.msix.is_none() => return self.add_msix(function, at),
            id::MSI if self.msi.is_none() => return Ok(self.add_msi(function, at)?),
            // A second one would be a second way to the same interrupts.
            id::MSIX | id::MSI => return Ok(false),
            id::POWER_MANAGEMENT => {
                let capabilities = function.config_read(at + 2, Width::B2)? & 0x07ff;
                self.keep(at + 2, &(capabilities as u16).to_le_bytes(), &[]);
                self.keep(at + 4, &[NO_SOFT_RESET, 0, 0, 0], &[POWER_STATE]);
            }
            id::EXPRESS => self.add_express(function, at)?,
            id::ADVANCED_FEATURES => {
                self.keep(at + 4, &[0, 0], &[]);
                self.places.reset[1] = Some((at + 4, 1));
            }
            id::VITAL_PRODUCT_DATA => self.forward(at + 2, 6),
            id::VENDOR => return Ok(self.add_vendor(function, at)?),
            id::SLOT | id::HOT_SWAP | id::HOT_PLUG | id::ENHANCED_ALLOCATION => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    /// Device control is kept here: payload sizes are for who sees the whole bus.
    fn add_express(&mut self, function: &dyn PciFunction, at: u16) -> Result<(), FunctionError> {
        let capabilities = read_in(function, at + express::DEVICE_CAPABILITIES, Width::B4)?;
        let control = read_in(function, at + express::DEVICE_CONTROL, Width::B2)? as u16 & !express::INITIATE_FLR;
        self.keep(at + express::DEVICE_CONTROL, &control.to_le_bytes(), &(!express::INITIATE_FLR).to_le_bytes());
        if capabilities & express::FLR_CAPABLE != 0 {
            self.places.reset[0] = Some((at + express::DEVICE_CONTROL + 1, (express::INITIATE_FLR >> 8) as u8));
        }
        Ok(())
    }

    fn add_vendor(&mut self, function: &dyn PciFunction, at: u16) -> Result<bool, FunctionError> {
        let virtio = function.config_read(pci::VENDOR_ID, Width::B2)? == u32::from(VENDOR_ID);
        // It lets a guest write to a BAR, the vector table included, without our seeing it.
        if virtio && read_in(function, at + 3, Width::B1)? == u32::from(cfg_type::PCI) {
            return Ok(false);
        }
        let len = read_in(function, at + 2, Width::B1)? as u16;
        self.forward(at + 2, len.saturating_sub(2));
        Ok(true)
    }

    fn add_msix(&mut self, function: &dyn PciFunction, at: u16) -> Result<bool, ViewError> {
        let vectors = function.msix_vectors();
        if vectors == 0 || usize::from(at) + 12 > SPACE {
            return Ok(false);
        }
        let table = MsixPlace::from_register(function.config_read(at + 4, Width::B4)?);
        let pba = MsixPlace::from_register(function.config_read(at + 8, Width::B4)?);
        let layout = MsixLayout::new(vectors, table, pba)?;
        for bar in [table.bar, pba.bar] {
            let size = function.region(bar).filter(|region| !region.is_io).map_or(0, |region| region.size);
            if layout.bar_size(bar).is_none_or(|needed| size < needed && needed > 4096) || size == 0 {
                return Err(ViewError::MsixOutsideBar { name: function.name().to_owned(), bar });
            }
        }
        let (body, writable) = layout.capability();
        self.keep(at + 2, &body, &writable);
        self.places.msix = Some(at);
        self.msix = Some(layout);
        Ok(true)
    }

    fn add_msi(&mut self, function: &dyn PciFunction, at: u16) -> Result<bool, FunctionError> {
        let control = function.config_read(at + 2, Width::B2)? as u16;
        let Some(msi) = MsiCapability::new(at, control, function.msi_vectors()) else { return Ok(false) };
        let (body, writable) = msi.registers();
        self.keep(at + 2, &body, &writable);
        self.msi = Some(msi);
        Ok(true)
    }

    /// Bytes from `offset` on are emulated.
    fn keep(&mut self, offset: u16, value: &[u8], writable: &[u8]) {
        self.space.define(offset, value, writable);
        self.own(offset, value.len(), Owner::Ours);
    }

    /// `len` bytes from `offset` on are the function's, for writes too.
    fn forward(&mut self, offset: u16, len: u16) {
        self.own(offset, len.into(), Owner::Forwarded);
    }

    /// What is ours stays ours: capabilities of a broken list may overlap.
    fn own(&mut self, offset: u16, len: usize, owner: Owner) {
        let owners = self.owners.iter_mut().skip(offset.into()).take(len);
        owners.filter(|old| **old != Owner::Ours).for_each(|old| *old = owner);
    }
}

/// Reads a register of a capability; 0 where it would lie behind the 256 bytes.
fn read_in(function: &dyn PciFunction, offset: u16, width: Width) -> Result<u32, FunctionError> {
    if usize::from(offset) + width.bytes() > SPACE {
        return Ok(0);
    }
    function.config_read(offset, width)
}

fn identity(function: &dyn PciFunction) -> Result<Identity, FunctionError> {
    let read = |register| function.config_read(register, Width::B4);
    let (ids, class) = (read(pci::VENDOR_ID)?, read(REVISION_ID)?);
    let subsystem = read(SUBSYSTEM_VENDOR_ID)?;
    let [revision_id, prog_if, sub, base] = class.to_le_bytes();
    Ok(Identity {
        vendor_id: ids as u16,
        device_id: (ids >> 16) as u16,
        revision_id,
        class_code: [prog_if, sub, base],
        subsystem: Subsystem { vendor_id: subsystem as u16, id: (subsystem >> 16) as u16 },
    })
}

fn add_bars(space: &mut ConfigSpace, function: &dyn PciFunction) -> Result<(), ConfigError> {
    for bar in 0..BAR_COUNT {
        let Some(region) = function.region(bar) else { continue };
        let prefetchable = region.prefetchable;
        let kind = match (region.is_io, region.is_64bit) {
            (true, _) => BarKind::Io,
            (false, true) => BarKind::Memory64 { prefetchable },
            (false, false) => BarKind::Memory32 { prefetchable },
        };
        space.add_bar(bar, kind, region.size)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
