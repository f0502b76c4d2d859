// SPDX-License-Identifier: Apache-2.0
//! Disk images with known contents.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A temporary disk image. Its bytes follow from its seed, so that reading the wrong sector shows.
pub struct TestDisk {
    dir: TempDir,
}

impl TestDisk {
    /// An image of `size` bytes.
    pub fn new(size: usize, seed: u32) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|e| e.to_string())?;
        let mut state = seed | 1;
        let bytes: Vec<u8> = (0..size)
            .map(|_| {
                // xorshift32: no pattern that repeats from sector to sector.
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            })
            .collect();
        fs::write(dir.path().join("disk.img"), bytes).map_err(|e| e.to_string())?;
        Ok(Self { dir })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk.img")
    }

    /// The folder it is in, for other files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new FIFO of this name in that folder.
    pub fn fifo(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.dir().join(name);
        let made = Command::new("mkfifo").arg(&path).status().map_err(|e| format!("mkfifo: {e}"))?;
        if made.success() { Ok(path) } else { Err("mkfifo failed".to_owned()) }
    }

    /// Its bytes now.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        fs::read(self.path()).map_err(|e| e.to_string())
    }

    /// [`fnv1a`] over its bytes.
    pub fn fnv1a(&self) -> Result<u32, String> {
        Ok(fnv1a(&self.bytes()?))
    }
}

/// FNV-1a, as the small guest computes it.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619))
}
