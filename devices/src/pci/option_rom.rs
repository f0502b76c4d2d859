// SPDX-License-Identifier: Apache-2.0
//! A function's expansion ROM: which files are one, the image made to fit a function, and what reads of its BAR give.
//! Pure.
//!
//! Source: PCI Firmware 3.0, 5.1.2 (ROM header, PCI data structure); PCI Local Bus 3.0, 6.2.5.2 (the BAR).

use thiserror::Error;

use crate::bus::Width;

/// Largest expansion ROM: the specification asks for no more address space.
pub const MAX_SIZE: usize = 16 << 20;
/// Smallest BAR.
const MIN_BAR: u64 = 2 << 10;
/// Lengths in a ROM count these.
const UNIT: usize = 512;
/// Offsets in an image: its length in units, the byte that makes its sum 0, the offset of the PCI data structure.
const LENGTH: usize = 0x02;
const CHECKSUM: usize = 0x06;
const DATA_POINTER: usize = 0x18;
/// Offsets in the PCI data structure: vendor id, image length in units, type of code, and whether it is the last image.
const VENDOR: usize = 0x04;
const IMAGE_LENGTH: usize = 0x10;
const CODE_TYPE: usize = 0x14;
const INDICATOR: usize = 0x15;
/// Bytes of the structure, as far as it is looked at.
const DATA_SIZE: usize = 0x18;
/// Code for a BIOS.
const CODE_BIOS: u8 = 0;

/// Why bytes are not an expansion ROM.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OptionRomError {
    /// Empty or too large.
    #[error("an expansion ROM has 1 byte to 16 MiB, and this file has {}", if *.0 > MAX_SIZE { "more".to_owned() } else { "none".to_owned() })]
    Size(usize),
    /// No 55 aa.
    #[error("it does not begin with 55 aa, as every expansion ROM does")]
    Signature,
    /// No PCI data structure.
    #[error(
        "it has no PCI data structure (PCIR) where its header points, so it is not the expansion ROM of a PCI card"
    )]
    NoPcir,
    /// An image that is longer than the file.
    #[error("it says that it has {says} bytes, and the file has {has}: it is cut off")]
    CutOff {
        /// End of the image by its header.
        says: usize,
        /// Bytes of the file.
        has: usize,
    },
    /// Nothing in it for a BIOS.
    #[error("it has no code for a BIOS, only for EFI or another system")]
    NoBiosCode,
    /// A wrong sum.
    #[error("the bytes of its BIOS image do not add up to 0: it is damaged")]
    Checksum,
}

/// A valid expansion ROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRom {
    bytes: Box<[u8]>,
    /// Where the image for a BIOS begins, and its bytes.
    bios: (usize, usize),
}

/// One image of a ROM.
struct Image {
    length: usize,
    code_type: u8,
    last: bool,
}

impl OptionRom {
    /// Checks a file.
    ///
    /// # Errors
    /// It is not an expansion ROM that a BIOS would execute.
    pub fn new(bytes: Vec<u8>) -> Result<Self, OptionRomError> {
        if bytes.is_empty() || bytes.len() > MAX_SIZE {
            return Err(OptionRomError::Size(bytes.len()));
        }
        let mut at = 0;
        loop {
            let image = Image::at(&bytes, at)?;
            if image.code_type == CODE_BIOS {
                let bios = (at, check_bios_image(&bytes, at)?);
                return Ok(Self { bytes: bytes.into(), bios });
            }
            if image.last {
                return Err(OptionRomError::NoBiosCode);
            }
            at += image.length;
        }
    }

    /// The same ROM as the card of this identity has it: firmware compares the ids in the ROM with the function's. An
    /// image that serves several devices names one of them.
    pub fn for_function(mut self, vendor_id: u16, device_id: u16) -> Self {
        let (start, length) = self.bios;
        let Some(image) = self.bytes.get_mut(start..start + length) else { return self };
        let Some(data) = data_offset(image) else { return self };
        let before = sum(image);
        if let Some(ids) = image.get_mut(data + VENDOR..data + VENDOR + 4) {
            ids.copy_from_slice(&(u32::from(device_id) << 16 | u32::from(vendor_id)).to_le_bytes());
        }
        let change = sum(image).wrapping_sub(before);
        if let Some(checksum) = image.get_mut(CHECKSUM) {
            *checksum = checksum.wrapping_sub(change);
        }
        self
    }

    /// Bytes of the BAR: a power of two.
    pub fn bar_size(&self) -> u64 {
        (self.bytes.len() as u64).next_power_of_two().max(MIN_BAR)
    }

    /// What a read of the BAR gives: all ones behind the end.
    pub fn read(&self, offset: u64, width: Width) -> u64 {
        let byte = |at: u64| usize::try_from(at).ok().and_then(|at| self.bytes.get(at)).copied().unwrap_or(0xff);
        (0..width.bytes() as u64).fold(0, |value, n| value | u64::from(byte(offset.saturating_add(n))) << (8 * n))
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

/// Where the PCI data structure of an image is that is whole.
fn data_offset(image: &[u8]) -> Option<usize> {
    let data = word(image, DATA_POINTER)?;
    let structure = image.get(data..data.checked_add(DATA_SIZE)?)?;
    structure.starts_with(b"PCIR").then_some(data)
}

impl Image {
    /// The image that begins at `at`.
    fn at(bytes: &[u8], at: usize) -> Result<Self, OptionRomError> {
        let rest = bytes.get(at..).unwrap_or_default();
        if !rest.starts_with(&[0x55, 0xaa]) {
            return Err(OptionRomError::Signature);
        }
        let data = data_offset(rest).ok_or(OptionRomError::NoPcir)?;
        let byte = |offset: usize| rest.get(data + offset).copied().unwrap_or(0);
        let length = word(rest, data + IMAGE_LENGTH).unwrap_or(0) * UNIT;
        if length == 0 || length > rest.len() {
            return Err(OptionRomError::CutOff { says: at + length, has: bytes.len() });
        }
        Ok(Self { length, code_type: byte(CODE_TYPE), last: byte(INDICATOR) & 0x80 != 0 })
    }
}

/// Checks the image for a BIOS at `start`; returns the bytes that its header counts, which have to add up to 0.
fn check_bios_image(bytes: &[u8], start: usize) -> Result<usize, OptionRomError> {
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.get(LENGTH).map_or(0, |units| usize::from(*units)) * UNIT;
    let Some(image) = rest.get(..length).filter(|image| !image.is_empty()) else {
        return Err(OptionRomError::CutOff { says: start + length, has: bytes.len() });
    };
    // The structure, too, has to be in what the firmware copies.
    data_offset(image).ok_or(OptionRomError::NoPcir)?;
    if sum(image) == 0 { Ok(length) } else { Err(OptionRomError::Checksum) }
}

#[cfg(test)]
#[path = "option_rom_tests.rs"]
mod tests;
