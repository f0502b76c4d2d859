// SPDX-License-Identifier: Apache-2.0
//! A legacy virtio function of the guest: where its VF comes from, and what the guest is offered.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::hardware::{VfConfig, VfioUserVfConfig};
use crate::id::device_id;
use crate::mac::MacAddress;
use crate::option_rom::OptionRomConfig;
use crate::origin::function_config;

/// Deadline of a register access where none is given, in milliseconds.
pub const DEFAULT_DEADLINE_MS: u32 = 100;
/// Longest deadline of a register access, in milliseconds.
const MAX_DEADLINE_MS: u32 = 60_000;

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
    /// `legacy` where firmware starts the machine and with `irq=intx`, `both` where a kernel is started directly.
    #[default]
    Auto,
    /// Only the legacy one: the virtio capabilities are hidden, so that firmware, boot loaders and kernels that know
    /// both take the I/O BAR.
    Legacy,
    /// Both; the guest's driver chooses, and most choose the modern one, which needs MSI-X.
    Both,
    /// Only the modern one: there is no I/O BAR. Needs MSI-X.
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
        /// Expansion ROM, which the firmware executes: a file, `none`, or `auto`, which is iPXE's for a network card
        /// where firmware starts the machine and it is installed.
        #[serde(default)]
        #[schemars(extend("x-option" = "=FILE"))]
        pub rom: OptionRomConfig,
        /// Place in the firmware's boot order, the lowest first; no two functions have the same. Functions without one
        /// come behind those that have one, in the order of their slots.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub bootindex: Option<u8>,
        /// Answer guest reads of registers without an admin command where the answer is known. Off it asks the PF each
        /// time: for tests, and to look for a fault.
        #[serde(default = "on")]
        pub shadow: bool,
    }
}

const fn on() -> bool {
    true
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
