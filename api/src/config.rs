// SPDX-License-Identifier: Apache-2.0
//! What a virtual machine is made of.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use crate::hardware::{DeviceConfig, VfConfig, VfioUserVfConfig};
use crate::id::device_id;
use crate::origin::function_config;
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
    /// What the machine says of itself.
    #[serde(default, skip_serializing_if = "SmbiosConfig::is_default")]
    pub smbios: SmbiosConfig,
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

/// What processors the guest sees.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CpuProfile {
    /// All that KVM offers.
    #[default]
    Host,
    /// Without the features that old kernels, or KVMs in software, trip over.
    Legacy,
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

/// How a legacy guest may be interrupted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum InterruptMode {
    /// INTx and MSI-X are both there; the guest's driver chooses.
    #[default]
    Auto,
    /// INTx only: the MSI-X capability is hidden.
    Intx,
    /// MSI-X only: there is no interrupt pin.
    Msix,
}

/// How a guest's queue notification reaches the VF.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMode {
    /// By ioeventfd where it can be had, else from the exit loop.
    #[default]
    Auto,
    /// By ioeventfd, without an exit to the VMM. The machine does not start where it cannot be had.
    Ioeventfd,
    /// One store from the exit loop.
    Exit,
}

/// What becomes of queue notifications before DRIVER_OK. Drivers of Linux before 3.19 wait for their completion before
/// they set DRIVER_OK, and a VF made for the modern interface may ignore them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum EarlyKicks {
    /// The first one makes the monitor set DRIVER_OK in the VF; the guest reads the status that it wrote. With a
    /// network card only once the guest has written the features.
    #[default]
    Auto,
    /// They are passed on, and repeated at DRIVER_OK: for VFs that are known to serve them.
    Pass,
    /// As `auto`, with a network card also before the features.
    Start,
}

/// Which of the two interfaces of virtio a guest sees.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceMode {
    /// `legacy` where firmware starts the machine, `both` where a kernel is started directly.
    #[default]
    Auto,
    /// The legacy one alone: the virtio capabilities are hidden, so that firmware, boot loaders and kernels that know
    /// both take the I/O BAR.
    Legacy,
    /// Both; the guest's driver chooses, and most choose the modern one.
    Both,
    /// The modern one alone: there is no I/O BAR. Needs MSI-X.
    Modern,
}

function_config! {
    /// One legacy virtio function of the guest. Exactly one of `soft`, `vf` and `vfio_user` is there.
    pub struct LegacyVirtioConfig, in documents LegacyVirtioDocument "LegacyVirtioDocument" {
        /// Name in logs, reports and the API, unique in the machine: up to 32 of `A-Z a-z 0-9 - _ .`. Where it is absent
        /// it is made of the kind and the position among the devices: `blk0`, `net1`, `vf2`.
        #[serde(default, deserialize_with = "device_id", skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = r"^[A-Za-z0-9._-]{1,32}$"), extend("x-option" = "=NAME"))]
        pub id: Option<String>,
        /// Where the virtual function behind a legacy function comes from.
        pub origin: enum VfOrigin {
            /// A virtual function of the built-in software PF.
            soft, option "soft=KIND": Soft(SoftDevice),
            /// A virtual function of this host, such as `0000:41:00.3`, bound to `vfio-pci`.
            vf, option "vf=ADDRESS": Host(VfConfig),
            /// A virtual function that another process serves, such as `heirloom soft-pf`.
            vfio_user, option "vfio-user=PATH": Served(VfioUserVfConfig),
        }
        /// What interrupts the guest is offered.
        #[serde(default)]
        pub irq: InterruptMode,
        /// Which interface of virtio the guest sees.
        #[serde(default)]
        pub interface: InterfaceMode,
        /// How a queue notification reaches the VF.
        #[serde(default)]
        pub notify: NotifyMode,
        /// What becomes of queue notifications before DRIVER_OK.
        #[serde(default)]
        pub early: EarlyKicks,
        /// How long one register access waits for the PF, in milliseconds.
        #[serde(default, deserialize_with = "deadline_ms", skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = MAX_DEADLINE_MS), extend("default" = DEFAULT_DEADLINE_MS))]
        pub deadline_ms: Option<u32>,
        /// Answer guest reads of registers without an admin command where the answer is known. Off it asks the PF each
        /// time: for tests, and to look for a fault.
        #[serde(default = "on")]
        pub shadow: bool,
    }
}

const fn on() -> bool {
    true
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
/// Deadline of a register access where none is given, in milliseconds.
pub const DEFAULT_DEADLINE_MS: u32 = 100;
/// Longest deadline of a register access, in milliseconds.
const MAX_DEADLINE_MS: u32 = 60_000;

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

fn deadline_ms<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(from)? {
        Some(ms) if ms == 0 || ms > MAX_DEADLINE_MS => {
            Err(de::Error::custom(format_args!("{ms} ms: must be 1 to {MAX_DEADLINE_MS}")))
        }
        ms => Ok(ms),
    }
}

/// What a software VF is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SoftDevice {
    /// A disk.
    Blk {
        /// Raw image file or block device; not empty, a multiple of 512 bytes.
        #[schemars(extend("x-option" = "=PATH"))]
        file: PathBuf,
        /// The guest may not write: it is told so, and writes fail.
        #[serde(default)]
        readonly: bool,
    },
    /// A network card.
    Net {
        /// Where frames go.
        backend: NetBackend,
        /// Its address; given out where it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-option" = "=ADDRESS"))]
        mac: Option<MacAddress>,
    },
}

/// Where a network card's frames go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum NetBackend {
    /// A tap interface of the host that exists already.
    #[schemars(extend("x-option" = "=NAME"))]
    Tap(String),
    /// The descriptor with this index among those that came with the request: a tap with a virtio-net
    /// header, or a socket that carries one Ethernet frame per datagram.
    #[schemars(extend("x-option" = ""))]
    Fd(#[schemars(range(max = 15))] u32),
    /// Answers ARP and ICMP echo (ping) for every address inside the VMM. For tests; needs no privileges.
    Loopback,
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq, Hash)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$"))]
pub struct MacAddress(pub [u8; 6]);

/// Why a text is not the address of a network card.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MacError {
    /// Not six bytes in hexadecimal.
    #[error("'{0}' is not a MAC address: write six bytes such as 52:54:00:12:34:56")]
    Malformed(String),
    /// A group address.
    #[error("'{0}' is a group address: the lowest bit of the first byte must be 0")]
    Group(String),
}

impl FromStr for MacAddress {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let malformed = || MacError::Malformed(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or_else(malformed)?, 16).map_err(|_| malformed())?;
        }
        if parts.next().is_some() {
            return Err(malformed());
        }
        if bytes[0] & 1 != 0 {
            return Err(MacError::Group(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
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
