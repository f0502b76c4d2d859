// SPDX-License-Identifier: Apache-2.0
//! Expansion ROMs of legacy virtio functions: files that are named, and the one that is installed for network cards.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use api::{OptionRomConfig, SoftDevice, VfOrigin};
use devices::pci::option_rom::MAX_SIZE;
use devices::pci::{OptionRom, OptionRomError};
use thiserror::Error;

use super::payload::{first_installed, read_at_most};

/// Where distributions install iPXE's ROM for virtio network cards, in the order of preference (Debian, then those that
/// link it beside QEMU, then Fedora).
const INSTALLED: [&str; 4] = [
    "/usr/lib/ipxe/qemu/pxe-virtio.rom",
    "/usr/share/qemu/pxe-virtio.rom",
    "/usr/share/ipxe/qemu/1af41000.rom",
    "/usr/share/ipxe/1af41000.rom",
];

/// The expansion ROM of a function.
#[derive(Clone, Debug, Default)]
pub enum RomPlan {
    /// None.
    #[default]
    None,
    /// This one, if the function is a network card.
    NetworkCard(Arc<OptionRom>),
    /// This one.
    Any(Arc<OptionRom>),
}

/// Why a file cannot be an expansion ROM.
#[derive(Debug, Error)]
pub enum RomError {
    /// The system says no.
    #[error("cannot read the expansion ROM {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none.
    #[error("the expansion ROM {} cannot be used", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: OptionRomError,
    },
}

/// Makes the plans for the functions of one machine.
pub(super) struct Roms {
    firmware: bool,
    installed: OnceLock<Option<Arc<OptionRom>>>,
}

impl Roms {
    /// For a machine that starts by `firmware`, or without.
    pub(super) fn new(firmware: bool) -> Self {
        Self { firmware, installed: OnceLock::new() }
    }

    /// What a function of this origin has.
    pub(super) fn check(&self, config: &OptionRomConfig, origin: &VfOrigin) -> Result<RomPlan, RomError> {
        let is_disk = matches!(origin, VfOrigin::Soft(SoftDevice::Blk { .. }));
        match config {
            OptionRomConfig::File(path) => Ok(RomPlan::Any(read(path)?)),
            OptionRomConfig::Auto if self.firmware && !is_disk => {
                Ok(self.installed().map_or(RomPlan::None, RomPlan::NetworkCard))
            }
            OptionRomConfig::Auto | OptionRomConfig::None => Ok(RomPlan::None),
        }
    }

    fn installed(&self) -> Option<Arc<OptionRom>> {
        self.installed.get_or_init(find).clone()
    }
}

/// The first of [`INSTALLED`] that is there.
fn find() -> Option<Arc<OptionRom>> {
    let Some(path) = first_installed(&INSTALLED) else {
        tracing::info!(
            "network cards have no expansion ROM, so the firmware does not boot from them: install iPXE's (Debian: \
             apt install ipxe-qemu), or name one with rom=FILE"
        );
        return None;
    };
    // Nobody asked for this file, so the machine goes without it.
    read(path).inspect_err(|error| tracing::warn!(error = %with_cause(error), "not used for network cards")).ok()
}

fn with_cause(error: &RomError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn read(path: &Path) -> Result<Arc<OptionRom>, RomError> {
    let bytes =
        read_at_most(path, MAX_SIZE as u64 + 1).map_err(|source| RomError::Read { path: path.to_owned(), source })?;
    let rom = OptionRom::new(bytes).map_err(|source| RomError::Image { path: path.to_owned(), source })?;
    Ok(Arc::new(rom))
}
