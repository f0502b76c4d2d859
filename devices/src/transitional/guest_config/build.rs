// SPDX-License-Identifier: Apache-2.0
//! The guest's configuration space, made from the VF's: transitional identity, BAR0 for ports, the
//! VF's memory BARs under their own numbers, MSI-X where the VF has it, virtio capabilities as they
//! are. The VF's PCI Express and power management capabilities are left out: a function with an I/O
//! BAR behind INTx is a conventional one. Pure.

use super::vf::{MsixLocation, VfInfo};
use crate::function::PciFunction;
use crate::pci::{BAR_COUNT, BarKind, ConfigSpace, Identity, MsixLayout};
use crate::spec::pci::id;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::settings::{Interface, TransitionalError};

/// What the guest's function shall have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Device type.
    pub device: DeviceType,
    /// MSI-X capability, if the guest gets one.
    pub msix: Option<MsixLayout>,
    /// Which interfaces are shown.
    pub interface: Interface,
    /// Interrupt line for INTA; `None`: no interrupt pin.
    pub irq: Option<u8>,
    /// Bytes of the expansion ROM's BAR, a power of two; `None`: no expansion ROM.
    pub rom: Option<u64>,
}

/// A configuration space, and the offset of its MSI-X capability.
pub(crate) struct Built {
    /// The configuration space, BARs unplaced.
    pub space: ConfigSpace,
    /// Offset of the MSI-X capability.
    pub msix_offset: Option<u16>,
}

/// What the function says it is.
pub(crate) fn identity(device: DeviceType, interface: Interface) -> Identity {
    match interface {
        Interface::Legacy | Interface::Both => device.identity(),
        Interface::Modern => device.modern_identity(),
    }
}

/// Builds the guest's configuration space.
pub(crate) fn build(shape: &Shape, vf: &dyn PciFunction, info: &VfInfo) -> Result<Built, TransitionalError> {
    let mut space = ConfigSpace::new(&identity(shape.device, shape.interface));
    if shape.interface != Interface::Modern {
        space.add_bar(0, BarKind::Io, shape.device.bar0_size().into())?;
    }
    let for_msix = |bar| shape.msix.as_ref().is_some_and(|msix| msix.bar_size(bar).is_some());
    for bar in 1..BAR_COUNT {
        let Some(region) = vf.region(bar) else { continue };
        if shape.interface == Interface::Legacy && !for_msix(bar) {
            continue;
        }
        let prefetchable = region.prefetchable;
        let kind =
            if region.is_64bit { BarKind::Memory64 { prefetchable } } else { BarKind::Memory32 { prefetchable } };
        space.add_bar(bar, kind, region.size)?;
    }
    if let Some(size) = shape.rom {
        space.add_rom(size)?;
    }
    let msix_offset = match &shape.msix {
        Some(layout) => {
            let (body, writable) = layout.capability();
            Some(space.add_capability(id::MSIX, &body, &writable)?)
        }
        None => None,
    };
    if shape.interface != Interface::Legacy {
        for capability in &info.virtio {
            space.add_capability(id::VENDOR, &capability.body, &[])?;
        }
    }
    match shape.irq {
        Some(line) => space.set_interrupt(1, line),
        None => space.set_interrupt(0, 0xff),
    }
    Ok(Built { space, msix_offset })
}

/// The guest's MSI-X at the VF's place. Table and PBA must lie in memory BARs that the VF has.
pub(crate) fn msix_layout(
    vf: &dyn PciFunction,
    at: MsixLocation,
    vectors: u16,
) -> Result<MsixLayout, TransitionalError> {
    let layout = MsixLayout::new(vectors, at.table, at.pba)?;
    for bar in [at.table.bar, at.pba.bar] {
        let size = if bar == 0 { None } else { vf.region(bar).map(|region| region.size) };
        let needed = layout.bar_size(bar).unwrap_or(0);
        // `bar_size` rounds up to a page; the structures of a smaller BAR are inside if it is the least.
        if size.is_none_or(|size| size < needed && needed > 4096) {
            return Err(TransitionalError::MsixOutsideBar { bar });
        }
    }
    Ok(layout)
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
