// SPDX-License-Identifier: Apache-2.0
//! A kernel image with the habits of the time before Linux 2.6.20, of `tests/guests/old_kernel`, in any old boot
//! protocol. Needs `as` and `ld` of GNU binutils, as every build here does.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{succeeded, workspace};

/// Kernel and filler: more than the low buffer takes, which ends below 0x90000.
const KERNEL_SIZE: usize = 720 << 10;
/// Where the kernel runs.
const KERNEL_START: u32 = 0x10_0000;
/// What its sum does not include: a jump, size, sum.
const SUM_FROM: usize = 16;

/// How the image is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct OldKernel {
    /// Boot protocol, such as 0x0203; its header ends where that protocol's does.
    pub protocol: u16,
    /// A bzImage, else a zImage.
    pub high: bool,
}

impl OldKernel {
    /// Builds the image in `folder`.
    ///
    /// # Errors
    /// What the tools say.
    pub fn build(self, folder: &Path) -> Result<PathBuf, String> {
        let failed = |e: std::io::Error| format!("cannot build an old kernel in {}: {e}", folder.display());
        let kernel = link(folder, "kernel", KERNEL_START, &[])?;
        std::fs::write(folder.join("kernel.runs"), runs(&whole_kernel(kernel)?)).map_err(failed)?;
        let start = if self.high { KERNEL_START } else { 0x1000 };
        let high = format!("HIGH={}", u8::from(self.high));
        let payload = link(folder, "decompressor", start, &["--defsym", &high])?;
        let image = folder.join("image");
        std::fs::write(&image, [self.setup(start), payload].concat()).map_err(failed)?;
        Ok(image)
    }

    /// Boot sector and one setup sector, empty but for the header.
    fn setup(self, start: u32) -> Vec<u8> {
        const LOADED_HIGH: u8 = 1;
        let mut setup = vec![0; 1024];
        let mut put = |at: usize, bytes: &[u8]| setup[at..at + bytes.len()].copy_from_slice(bytes);
        // What follows the header is code, and none of it is a field.
        let header_end: u8 = match self.protocol {
            ..0x202 => 0x28,
            0x202 => 0x2c,
            0x203 => 0x30,
            _ => 0x34,
        };
        put(0x202, &[0xcc; 0x1fe]);
        put(0x1f1, &[1]);
        put(0x1fe, &[0x55, 0xaa, 0xeb, header_end - 2]);
        put(0x202, b"HdrS");
        put(0x206, &self.protocol.to_le_bytes());
        put(0x208, &[0; 8]);
        put(0x210, &[0, u8::from(self.high) * LOADED_HIGH, 0, 0x80]);
        put(0x214, &start.to_le_bytes());
        put(0x218, &[0; 12]);
        if self.protocol >= 0x202 {
            put(0x228, &[0; 4]);
        }
        if self.protocol >= 0x203 {
            put(0x22c, &0x37ff_ffffu32.to_le_bytes());
        }
        setup
    }
}

/// Assembles `tests/guests/old_kernel/NAME.s` and links it to run at `start`; returns the bytes.
fn link(folder: &Path, name: &str, start: u32, options: &[&str]) -> Result<Vec<u8>, String> {
    let source = workspace().join("tests/guests/old_kernel").join(name).with_extension("s");
    let (object, binary) = (folder.join(name).with_extension("o"), folder.join(name).with_extension("bin"));
    let mut assemble = Command::new("as");
    assemble.arg("--32").args(options).arg("-I").arg(folder).arg("-o").arg(&object).arg(source);
    succeeded(&mut assemble, name)?;
    let mut link = Command::new("ld");
    link.args([
        "-m",
        "elf_i386",
        "--oformat",
        "binary",
        "-N",
        "-e",
        &start.to_string(),
        "-Ttext",
        &format!("{start:#x}"),
    ]);
    succeeded(link.arg("-o").arg(&binary).arg(object), name)?;
    std::fs::read(&binary).map_err(|e| e.to_string())
}

/// The code, then filler that differs from page to page, with size and sum.
fn whole_kernel(mut kernel: Vec<u8>) -> Result<Vec<u8>, String> {
    if !kernel.len().is_multiple_of(4) || kernel.len() > 4096 {
        return Err(format!("the old kernel's code has {} bytes", kernel.len()));
    }
    let code = kernel.len();
    kernel.extend((code..KERNEL_SIZE).map(|at| (at >> 12) as u8 ^ 0x5a));
    kernel[8..12].copy_from_slice(&(KERNEL_SIZE as u32).to_le_bytes());
    let words = kernel[SUM_FROM..].as_chunks::<4>().0;
    let sum = words.iter().fold(0u32, |sum, word| sum.wrapping_add(u32::from_le_bytes(*word)));
    kernel[12..16].copy_from_slice(&sum.to_le_bytes());
    Ok(kernel)
}

/// Run-length encoding: u16 length, u8 byte; ends with a length of 0.
fn runs(bytes: &[u8]) -> Vec<u8> {
    let mut runs: Vec<u8> = Vec::new();
    for chunk in bytes.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(0xffff)) {
        runs.extend((chunk.len() as u16).to_le_bytes());
        runs.extend(&chunk[..1]);
    }
    runs.extend([0; 2]);
    runs
}
