// SPDX-License-Identifier: Apache-2.0
//! What a virtual machine is made of.

use std::num::NonZeroU8;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::hardware::DeviceConfig;
use crate::legacy_virtio::LegacyVirtioConfig;
use crate::screen::ScreenConfig;
use crate::size::format_size;
use crate::smbios::SmbiosConfig;

/// A whole virtual machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// What to boot.
    pub payload: PayloadConfig,
    /// Processors.
    #[serde(default)]
    pub cpus: CpusConfig,
    /// Main memory.
    #[serde(default)]
    pub memory: MemoryConfig,
    /// The first serial port (0x3f8, IRQ 4).
    #[serde(default)]
    pub serial: ConsoleConfig,
    /// The text screen.
    #[serde(default, skip_serializing_if = "ScreenConfig::is_default")]
    pub screen: ScreenConfig,
    /// What the machine says of itself.
    #[serde(default, skip_serializing_if = "SmbiosConfig::is_default")]
    pub smbios: SmbiosConfig,
    /// What the real-time clock shows before a guest sets it.
    #[serde(default, skip_serializing_if = "RtcBase::is_utc")]
    pub rtc: RtcBase,
    /// Legacy virtio functions, in slot order.
    #[serde(default)]
    pub legacy_virtio: Vec<LegacyVirtioConfig>,
    /// Functions passed through as they are, in slot order behind those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceConfig>,
}

/// What to boot: a kernel, or what the firmware finds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PayloadConfig {
    /// Linux kernel: bzImage, zImage, or uncompressed vmlinux. Without it the machine starts its firmware, as a PC does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<PathBuf>,
    /// PC firmware (a BIOS image), where there is no kernel; SeaBIOS as the distribution installs it where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<PathBuf>,
    /// Initial RAM disk, beside a kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initramfs: Option<PathBuf>,
    /// Kernel command line, beside a kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// How to enter the kernel.
    #[serde(default)]
    pub boot: BootProtocol,
    /// Seconds, 1 to 255, for which the firmware waits for Escape, which calls its menu of boot devices. Without it the
    /// firmware does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_menu: Option<NonZeroU8>,
}

/// How to enter a kernel.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum BootProtocol {
    /// By the 64-bit entry where the image has one. A 32-bit ELF image is entered by PVH if it has the note.
    #[default]
    Auto,
    /// Linux boot protocol, 64-bit entry: bzImages since Linux 3.8, and 64-bit ELF images.
    Linux64,
    /// Linux boot protocol, 32-bit entry: every bzImage and zImage, and 32-bit ELF images.
    Linux32,
    /// PVH: ELF images with its note.
    Pvh,
}

/// What the real-time clock shows before a guest sets it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum RtcBase {
    /// UTC, as Linux and the BSDs expect.
    #[default]
    Utc,
    /// The host's local time, as DOS and Windows expect. Its distance from UTC is the one at the first boot; what a
    /// guest does about daylight saving time is the guest's.
    Localtime,
}

impl RtcBase {
    fn is_utc(&self) -> bool {
        *self == Self::Utc
    }
}

/// What processors the guest sees.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CpuProfile {
    /// All that KVM offers.
    #[default]
    Host,
    /// Without the features that old kernels, or KVMs in software, trip over.
    Legacy,
    /// A processor of 2001, of 32 bits: Pentium III or Athlon, as the host is Intel's or AMD's.
    #[serde(rename = "i686-2001")]
    I686Of2001,
    /// A processor of 2006: Core 2, or Opteron of family 15.
    #[serde(rename = "x86_64-2006")]
    X8664Of2006,
    /// A processor of 2010: Xeon (Westmere), or Opteron of family 16.
    #[serde(rename = "x86_64-2010")]
    X8664Of2010,
}

/// Processors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CpusConfig {
    /// Number of processors, 1 to 64.
    #[serde(deserialize_with = "vcpus")]
    #[schemars(range(min = 1, max = MAX_VCPUS))]
    pub boot_vcpus: u8,
    /// What they can do.
    #[serde(default)]
    pub profile: CpuProfile,
}

impl Default for CpusConfig {
    fn default() -> Self {
        Self { boot_vcpus: 1, profile: CpuProfile::Host }
    }
}

/// Main memory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes; a multiple of 1 MiB, at least 8 MiB. On a command line the suffixes K, M, G and T are powers of 1024.
    #[serde(deserialize_with = "memory_size")]
    #[schemars(range(min = MIN_MEMORY, max = MAX_MEMORY), extend("multipleOf" = MEMORY_UNIT, "x-option" = "=SIZE"))]
    pub size: u64,
    /// Take it from the host's pool of huge pages, which has to be filled before. Without it, transparent huge pages
    /// are asked for.
    #[serde(default)]
    pub hugepages: bool,
    /// Bytes of a huge page, 2 MiB (2M) or 1 GiB (1G); 2 MiB where it is absent. The memory's size is a multiple of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-option" = "=SIZE"))]
    pub hugepage_size: Option<u64>,
    /// Have all of it before the guest starts, and say how far it is once that takes longer than a second.
    #[serde(default)]
    pub prefault: bool,
    /// Other processes can map it. On by itself where a function is served by vfio-user.
    #[serde(default)]
    pub shared: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { size: 512 << 20, hugepages: false, hugepage_size: None, prefault: false, shared: false }
    }
}

/// Where a serial port goes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum ConsoleMode {
    /// Output is dropped, there is no input.
    Off,
    /// Standard input and output of the VMM.
    #[default]
    Tty,
    /// Output to a file, no input.
    File,
}

/// The serial port.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where it goes.
    pub mode: ConsoleMode,
    /// The file, in mode `File`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// Most processors; xAPIC ids would allow some more.
pub const MAX_VCPUS: u8 = 64;
/// Least main memory: a kernel, an initial RAM disk and the tables of a PC must fit.
pub const MIN_MEMORY: u64 = 8 << 20;
/// Main memory comes in these units: guests and page tables like round numbers.
pub const MEMORY_UNIT: u64 = 1 << 20;
/// Most main memory: RAM, with the hole below 4 GiB in it, ends within the 46 address bits of old 64-bit kernels
/// (`MAXMEM` in Linux).
pub const MAX_MEMORY: u64 = (1 << 46) - (1 << 30);
fn vcpus<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    match u8::deserialize(from)? {
        n @ 1..=MAX_VCPUS => Ok(n),
        n => Err(de::Error::custom(format_args!("{n} processors: must be 1 to {MAX_VCPUS}"))),
    }
}

fn memory_size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(from)?;
    check_memory_size(size).map_err(de::Error::custom)?;
    Ok(size)
}

/// Whether a machine can have so much memory.
///
/// # Errors
/// How much it can have.
pub fn check_memory_size(size: u64) -> Result<(), String> {
    if (MIN_MEMORY..=MAX_MEMORY).contains(&size) && size.is_multiple_of(MEMORY_UNIT) {
        return Ok(());
    }
    let [is, unit, least, most] = [size, MEMORY_UNIT, MIN_MEMORY, MAX_MEMORY].map(format_size);
    Err(format!("memory size {is}: must be a multiple of {unit}, at least {least} and at most {most}"))
}

/// A device to add, of either kind. Told apart by their fields: see [`crate::decode::device`].
#[derive(Clone, Debug, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(untagged)]
pub enum NewDevice {
    /// A legacy virtio function: an entry of `legacy_virtio`.
    LegacyVirtio(LegacyVirtioConfig),
    /// A function passed through: an entry of `devices`.
    PassedThrough(DeviceConfig),
}

impl From<LegacyVirtioConfig> for NewDevice {
    fn from(device: LegacyVirtioConfig) -> Self {
        Self::LegacyVirtio(device)
    }
}

impl From<DeviceConfig> for NewDevice {
    fn from(device: DeviceConfig) -> Self {
        Self::PassedThrough(device)
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
