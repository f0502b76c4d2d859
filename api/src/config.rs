// SPDX-License-Identifier: Apache-2.0
//! What a virtual machine is made of.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hardware::{DeviceConfig, VfConfig, VfioUserVfConfig};

/// A whole virtual machine.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
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
    /// Legacy virtio functions, in slot order.
    #[serde(default)]
    pub legacy_virtio: Vec<LegacyVirtioConfig>,
    /// Functions passed through as they are, in slot order behind those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceConfig>,
}

/// What to boot.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PayloadConfig {
    /// Linux kernel: bzImage, or uncompressed vmlinux.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initramfs: Option<PathBuf>,
    /// Kernel command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
}

/// What processors the guest sees.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CpuProfile {
    /// All that KVM offers.
    #[default]
    Host,
    /// Without the features that old kernels, or KVMs in software, trip over.
    Legacy,
}

/// Processors.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CpusConfig {
    /// Number of processors, 1..=64.
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
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes; a multiple of 1 MiB.
    pub size: u64,
    /// Take it from the host's pool of huge pages.
    #[serde(default)]
    pub hugepages: bool,
    /// Bytes of a huge page, 2 MiB or 1 GiB; 2 MiB where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugepage_size: Option<u64>,
    /// Have all of it before the guest starts.
    #[serde(default)]
    pub prefault: bool,
    /// Memory that other processes can map. On by itself where a function is served by vfio-user.
    #[serde(default)]
    pub shared: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { size: 512 << 20, hugepages: false, hugepage_size: None, prefault: false, shared: false }
    }
}

/// Where a serial port goes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where it goes.
    pub mode: ConsoleMode,
    /// The file, in mode `File`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// How a legacy guest may be interrupted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMode {
    /// By ioeventfd where it can be had, else from the exit loop.
    #[default]
    Auto,
    /// By ioeventfd, without an exit to the VMM.
    Ioeventfd,
    /// One store from the exit loop.
    Exit,
}

/// One legacy virtio function of the guest. Exactly one of `soft`, `vf` and `vfio_user` is there.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LegacyVirtioConfig {
    /// Name in logs, reports and the API; unique in the machine. Given out where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A virtual function of the software PF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<SoftDevice>,
    /// A virtual function of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vf: Option<VfConfig>,
    /// A virtual function that another process serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vfio_user: Option<VfioUserVfConfig>,
    /// Interrupts.
    #[serde(default)]
    pub irq: InterruptMode,
    /// Queue notifications.
    #[serde(default)]
    pub notify: NotifyMode,
    /// How long one register access may take, in milliseconds (1..=60000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// Answer guest reads of registers without an admin command where the answer is known.
    #[serde(default = "on")]
    pub shadow: bool,
}

const fn on() -> bool {
    true
}

/// What a software VF is.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SoftDevice {
    /// A disk.
    Blk {
        /// Image file or block device, raw.
        file: PathBuf,
        /// The guest may not write.
        #[serde(default)]
        readonly: bool,
    },
    /// A network card.
    Net {
        /// Where frames go.
        backend: NetBackend,
        /// Its address; given out where it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<MacAddress>,
    },
}

/// Where a network card's frames go.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum NetBackend {
    /// A tap interface of the host that exists already.
    Tap(String),
    /// Inside the VMM: answers ARP and ICMP echo for every address. For tests; needs no privileges.
    Loopback,
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String", into = "String")]
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

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
