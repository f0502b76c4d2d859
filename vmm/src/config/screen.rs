// SPDX-License-Identifier: Apache-2.0
//! Whether the machine has a text screen, and the VGA BIOS that firmware runs for it.

use api::{ConsoleMode, ScreenMode, VmConfig};

use super::payload::{first_installed, read_at_most};
use super::{ConfigError, PayloadPlan};

/// Where distributions install SeaVGABIOS for a VGA that is not a PCI function (Debian, then Fedora, then Arch and SUSE).
/// All that it needs of one are the registers of a VGA.
const BIOS_PATHS: [&str; 3] = [
    "/usr/share/seabios/vgabios-isavga.bin",
    "/usr/share/seavgabios/vgabios-isavga.bin",
    "/usr/share/qemu/vgabios.bin",
];
/// Between 0xC0000 and where other ROMs start (PCI Firmware 3.0, 5.2).
const MAX_BIOS: u64 = 64 << 10;

/// A text screen.
#[derive(Debug)]
pub struct ScreenPlan {
    /// It is on the terminal.
    pub on_terminal: bool,
    /// The ROM that serves INT 10h, where firmware starts the machine.
    pub bios: Option<Vec<u8>>,
}

impl ScreenPlan {
    /// What `config` wants for a machine that starts `payload`.
    pub(super) fn check(config: &VmConfig, payload: &PayloadPlan) -> Result<Option<Self>, ConfigError> {
        let mode = config.screen.mode;
        if mode == ScreenMode::Tty && config.serial.mode == ConsoleMode::Tty {
            let text = "the text screen and the serial port cannot both have the terminal: send the serial port to a \
                        file or nowhere, or leave the screen to 'heirloom ctl screen'";
            return Err(ConfigError::Value { field: "screen.mode", text: text.to_owned() });
        }
        let is_there = match mode {
            ScreenMode::Off => false,
            ScreenMode::Auto => payload.is_firmware(),
            ScreenMode::On | ScreenMode::Tty => true,
        };
        Ok(is_there.then(|| Self {
            on_terminal: mode == ScreenMode::Tty,
            bios: payload.is_firmware().then(installed_bios).flatten(),
        }))
    }
}

/// The first of [`BIOS_PATHS`] that can be used. Without one firmware has only the serial port, as it had without a
/// screen, so nothing fails.
fn installed_bios() -> Option<Vec<u8>> {
    let Some(path) = first_installed(&BIOS_PATHS) else {
        tracing::info!(
            "no VGA BIOS is installed (Debian: apt install seabios), so programs that write by BIOS calls show \
             nothing on the text screen; looked for {}",
            BIOS_PATHS.join(", ")
        );
        return None;
    };
    let problem = match read_at_most(path, MAX_BIOS + 1) {
        Ok(bytes) if is_rom(&bytes) => return Some(bytes),
        Ok(_) => "it is not an option ROM of at most 64 KiB".to_owned(),
        Err(error) => error.to_string(),
    };
    tracing::warn!("the VGA BIOS {} cannot be used: {problem}", path.display());
    None
}

/// Signature, length in units of 512 bytes, and a sum of zero over that length.
fn is_rom(bytes: &[u8]) -> bool {
    let [0x55, 0xaa, units, ..] = bytes else { return false };
    let image = bytes.get(..usize::from(*units) * 512).unwrap_or_default();
    let sum = image.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.len() as u64 <= MAX_BIOS && !image.is_empty() && sum == 0
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
