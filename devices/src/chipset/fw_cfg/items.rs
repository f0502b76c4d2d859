// SPDX-License-Identifier: Apache-2.0
//! What a machine tells its firmware: values by key, files by name, and the directory of files. Pure.
//!
//! Source: QEMU's docs/specs/fw_cfg.rst.

use std::collections::BTreeMap;

use thiserror::Error;

/// Keys that firmware knows without a directory.
pub mod key {
    /// Four letters that say that the device is there.
    pub const SIGNATURE: u16 = 0x00;
    /// Bit 0: the ports work; bit 1: so does DMA.
    pub const ID: u16 = 0x01;
    /// Number of processors that start, 16 bits.
    pub const NB_CPUS: u16 = 0x05;
    /// One more than the largest local APIC id there may be, 16 bits.
    pub const MAX_CPUS: u16 = 0x0f;
    /// The directory of files.
    pub const FILE_DIR: u16 = 0x19;
    /// First file.
    pub const FILE_FIRST: u16 = 0x20;
    /// A selector with this bit means the same without it (it once opened a key for writing).
    pub const WRITE_CHANNEL: u16 = 1 << 14;
}

const SIGNATURE: &[u8; 4] = b"QEMU";
const ID: u32 = 1 << 0 | 1 << 1;
/// Bytes of a name in the directory, its end included.
const NAME_SIZE: usize = 56;
/// More than any machine has; keys stay far below [`key::WRITE_CHANNEL`].
const MAX_FILES: usize = 256;

/// Why a file could not be added. Mistakes of the machine's assembly, or of an operator who names files.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FileError {
    /// Empty, too long, or with a NUL.
    #[error("'{0}' cannot be the name of a file for the firmware: use 1 to 55 ASCII characters")]
    Name(String),
    /// Twice the same name.
    #[error("the firmware is given two files '{0}'")]
    Twice(String),
    /// Sizes have 32 bits, and there is a limit for their number.
    #[error("the firmware cannot be given the file '{0}': there are too many, or it has more than 4 GiB")]
    TooMuch(String),
}

/// All that can be read.
pub struct Items {
    values: BTreeMap<u16, Vec<u8>>,
    files: Vec<(String, Vec<u8>)>,
}

impl Default for Items {
    fn default() -> Self {
        Self::new()
    }
}

impl Items {
    /// Nothing but what says that the device is there.
    pub fn new() -> Self {
        let values = [(key::SIGNATURE, SIGNATURE.to_vec()), (key::ID, ID.to_le_bytes().to_vec())];
        let mut items = Self { values: values.into(), files: Vec::new() };
        items.values.insert(key::FILE_DIR, items.directory());
        items
    }

    /// Sets a value of 16 bits.
    pub fn set_u16(&mut self, key: u16, value: u16) {
        self.values.insert(key, value.to_le_bytes().to_vec());
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The name is none, or is there already.
    pub fn add_file(&mut self, name: &str, content: Vec<u8>) -> Result<(), FileError> {
        let fits = (1..NAME_SIZE).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(FileError::Name(name.to_owned()));
        }
        if self.file(name).is_some() {
            return Err(FileError::Twice(name.to_owned()));
        }
        if self.files.len() >= MAX_FILES || u32::try_from(content.len()).is_err() {
            return Err(FileError::TooMuch(name.to_owned()));
        }
        self.files.push((name.to_owned(), content));
        self.values.insert(key::FILE_DIR, self.directory());
        Ok(())
    }

    /// A file's bytes.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(other, _)| other == name).map(|(_, content)| content.as_slice())
    }

    /// What the selector `selector` gives; nothing for a key that is not there.
    pub fn get(&self, selector: u16) -> &[u8] {
        let key = selector & !key::WRITE_CHANNEL;
        let file = key.checked_sub(key::FILE_FIRST).and_then(|index| self.files.get(usize::from(index)));
        match file {
            Some((_, content)) => content,
            None => self.values.get(&key).map_or(&[], Vec::as_slice),
        }
    }

    /// Count, then size, key and name of each file; big-endian.
    fn directory(&self) -> Vec<u8> {
        let mut directory = Vec::from((self.files.len() as u32).to_be_bytes());
        for (key, (name, content)) in (key::FILE_FIRST..).zip(&self.files) {
            directory.extend_from_slice(&(content.len() as u32).to_be_bytes());
            directory.extend_from_slice(&key.to_be_bytes());
            directory.extend_from_slice(&[0; 2]);
            let mut padded = [0; NAME_SIZE];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            directory.extend_from_slice(&padded);
        }
        directory
    }
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
