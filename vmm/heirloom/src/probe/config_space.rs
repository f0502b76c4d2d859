// SPDX-License-Identifier: Apache-2.0
//! MSI-X vectors by the configuration space that sysfs shows; root sees all of it, others its first 64 bytes.

use std::fs;
use std::io;
use std::path::Path;

use devices::bus::Width;
use devices::function::capabilities::CapabilityList;
use devices::spec::pci::id;

/// What others see.
const SEEN_BY_ALL: usize = 64;

/// Number of MSI-X vectors of the function whose sysfs folder this is.
///
/// # Errors
/// When this user may not see it.
pub(super) fn msix_vectors(function: &Path) -> io::Result<u16> {
    let bytes = fs::read(function.join("config"))?;
    if bytes.len() <= SEEN_BY_ALL {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let read = |offset: u16, width: Width| {
        let at = usize::from(offset);
        let field = bytes.get(at..at + width.bytes()).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok::<u32, io::Error>(field.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    };
    let list = CapabilityList::walk(read)?;
    let Some(msix) = list.found.iter().find(|capability| capability.id == id::MSIX) else { return Ok(0) };
    // Message Control (PCI Local Bus Specification 3.0, 6.8.2.3): table size less one in bits 10:0.
    Ok((read(u16::from(msix.offset) + 2, Width::B2)? as u16 & 0x7ff) + 1)
}
