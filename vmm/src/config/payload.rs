// SPDX-License-Identifier: Apache-2.0
//! What a machine boots: a kernel with what belongs to it, or a firmware image. Opens and reads files,
//! creates nothing.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU8;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use api::{BootProtocol, PayloadConfig, VmConfig};
use arch::flash;
use thiserror::Error;

use super::ConfigError;
use crate::waits;

/// What messages call the images.
const KERNEL: &str = "the kernel";
const INITRD: &str = "the initial RAM disk";

/// Where distributions install SeaBIOS for `-M pc` machines, in the order of preference (Debian and Fedora, then Arch,
/// then SUSE).
const FIRMWARE_PATHS: [&str; 4] = [
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/seabios/bios.bin",
    "/usr/share/qemu/bios-256k.bin",
    "/usr/share/qemu/bios.bin",
];

/// What to boot.
#[derive(Debug)]
pub enum PayloadPlan {
    /// A kernel, started directly.
    Kernel(KernelPlan),
    /// Firmware, which starts what it finds.
    Firmware(FirmwareImage),
}

/// A kernel and what it is started with.
#[derive(Debug)]
pub struct KernelPlan {
    /// Kernel image.
    pub file: File,
    /// Where it came from, for messages.
    pub path: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<File>,
    /// Kernel command line.
    pub cmdline: String,
    /// How to enter the kernel.
    pub boot: BootProtocol,
}

/// A firmware image of a right size.
#[derive(Debug)]
pub struct FirmwareImage {
    /// Its bytes; they end at 4 GiB in the guest.
    pub bytes: Vec<u8>,
    /// Where it came from.
    pub path: PathBuf,
    /// Seconds for which it offers its menu; none is no menu.
    pub boot_menu: Option<NonZeroU8>,
}

/// Why a firmware image cannot be used.
#[derive(Debug, Error)]
pub enum FirmwareError {
    /// None was named, and none is installed.
    #[error(
        "there is neither a kernel nor a firmware: give --kernel FILE, or --firmware FILE, or install SeaBIOS \
         (Debian: apt install seabios); looked for {}", FIRMWARE_PATHS.join(", ")
    )]
    NotInstalled,
    /// The system says no.
    #[error("cannot read the firmware {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No firmware image.
    #[error("the firmware {} cannot be used", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        source: flash::FlashError,
    },
}

impl PayloadPlan {
    /// Opens what `config` names, or looks for an installed firmware where it names nothing.
    pub(super) fn check(config: &PayloadConfig) -> Result<Self, ConfigError> {
        let Some(kernel) = &config.kernel else { return firmware(config) };
        if config.firmware.is_some() {
            return wrong(
                "payload.firmware",
                "there are a kernel and a firmware: leave --firmware out to start the kernel directly, or --kernel to \
                 start what the firmware finds on the disks",
            );
        }
        if config.boot_menu.is_some() {
            return wrong("payload.boot_menu", "the boot menu is the firmware's: leave it out, or the kernel");
        }
        Ok(Self::Kernel(KernelPlan {
            file: open_file(KERNEL, kernel)?,
            path: kernel.clone(),
            initrd: config.initramfs.as_deref().map(|path| open_file(INITRD, path)).transpose()?,
            cmdline: config.cmdline.clone().unwrap_or_default(),
            boot: config.boot,
        }))
    }

    /// The files that are read again when the guest resets itself, and what messages call them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &File)> {
        let kernel = match self {
            Self::Kernel(kernel) => Some(kernel),
            Self::Firmware(_) => None,
        };
        kernel.into_iter().flat_map(|kernel| {
            std::iter::once((KERNEL, &kernel.file)).chain(kernel.initrd.as_ref().map(|file| (INITRD, file)))
        })
    }

    /// Whether the machine starts as a PC does, by its firmware.
    pub fn is_firmware(&self) -> bool {
        matches!(self, Self::Firmware(_))
    }
}

/// The field of the configuration that names the file that messages call `what`.
pub(super) fn field(what: &str) -> &'static str {
    if what == KERNEL { "payload.kernel" } else { "payload.initramfs" }
}

fn wrong<T>(field: &'static str, text: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Value { field, text: text.to_owned() })
}

/// Refuses a machine that could start nothing: no kernel, no firmware of the operator's, and no device to start from.
pub(super) fn check_bootable(config: &VmConfig) -> Result<(), ConfigError> {
    let named = config.payload.kernel.is_some() || config.payload.firmware.is_some();
    if named || !config.legacy_virtio.is_empty() || !config.devices.is_empty() {
        return Ok(());
    }
    wrong(
        "payload.kernel",
        "there is nothing to boot: give --kernel FILE, or a disk with a boot loader \
         (--legacy-virtio soft=blk,file=DISK)",
    )
}

fn firmware(config: &PayloadConfig) -> Result<PayloadPlan, ConfigError> {
    if config.initramfs.is_some() {
        return wrong("payload.initramfs", "an initial RAM disk needs a kernel: give --kernel FILE as well");
    }
    if config.boot != BootProtocol::Auto {
        return wrong("payload.boot", "a kernel entry needs a kernel: give --kernel FILE as well");
    }
    if config.cmdline.is_some() {
        return wrong(
            "payload.cmdline",
            "a command line needs a kernel: give --kernel FILE as well, or write it into the boot loader's \
             configuration on the disk",
        );
    }
    let path = match &config.firmware {
        Some(path) => path.clone(),
        None => first_installed(&FIRMWARE_PATHS).ok_or(FirmwareError::NotInstalled)?.to_owned(),
    };
    Ok(PayloadPlan::Firmware(FirmwareImage::read(path, config.boot_menu)?))
}

/// The first of these files that is there.
pub(super) fn first_installed(paths: &[&'static str]) -> Option<&'static Path> {
    paths.iter().copied().map(Path::new).find(|path| path.is_file())
}

impl FirmwareImage {
    /// Reads and checks an image.
    fn read(path: PathBuf, boot_menu: Option<NonZeroU8>) -> Result<Self, FirmwareError> {
        match read_at_most(&path, flash::MAX_SIZE as u64 + 1) {
            Ok(bytes) => match flash::check(&bytes) {
                Ok(()) => Ok(Self { bytes, path, boot_menu }),
                Err(source) => Err(FirmwareError::Image { path, source }),
            },
            Err(source) => Err(FirmwareError::Read { path, source }),
        }
    }
}

/// The first bytes of a regular file.
pub(super) fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    waits::during(&format!("reading {}", path.display()), || read_now(path, limit))
}

fn read_now(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Without waiting: a FIFO that nobody writes to would never open.
fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn open_file(what: &'static str, path: &Path) -> Result<File, ConfigError> {
    let failed = |source| ConfigError::Open { what, path: path.to_owned(), source };
    let opened = || {
        let file = open(path)?;
        Ok((file.metadata()?.is_file(), file))
    };
    match waits::during(&format!("opening {what} {}", path.display()), opened).map_err(failed)? {
        (true, file) => Ok(file),
        (false, _) => Err(ConfigError::NotAFile { what, path: path.to_owned() }),
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
