// SPDX-License-Identifier: Apache-2.0
//! What requests carry besides a configuration, and what replies carry. Types only; the schema in the
//! OpenAPI document is derived from them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::probe::{ProbeCheck, ProbeReport, ProbeResult};
pub use crate::sandbox::{SandboxInfo, SandboxMode};
use crate::{VmConfig, VmState};

/// Reply of `vmm.ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmmPing {
    /// Version of Heirloom.
    pub version: String,
    /// The same, under the name that Cloud Hypervisor's clients know.
    pub build_version: String,
    /// Process id of the monitor.
    pub pid: i64,
    /// Parts of Heirloom that may be absent in another build.
    pub features: Vec<String>,
}

/// Reply of `vm.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmInfo {
    /// The configuration, with every default filled in.
    pub config: VmConfig,
    /// The state.
    pub state: VmState,
    /// Bytes of main memory.
    pub memory_actual_size: u64,
    /// Devices by id.
    pub device_tree: BTreeMap<String, DeviceNode>,
    /// Why the guest ended the last time, if it did.
    #[serde(default)]
    pub ended_by: Option<String>,
    /// What was on the text screen then, line by line, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_screen: Option<Vec<String>>,
    /// What the process of this machine may still do.
    #[serde(default)]
    pub sandbox: SandboxInfo,
}

/// Reply of `vm.screen`: the text screen, of the machine that is on or else of the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VmScreen {
    /// Whether the guest draws dots, of which nothing is shown; there are no lines then.
    pub graphics: bool,
    /// Characters in a line.
    pub columns: u16,
    /// The lines from the top, as the font of a VGA's ROM shows them, without the blanks at their ends.
    pub lines: Vec<String>,
    /// Where the cursor is, if it is on.
    #[serde(default)]
    pub cursor: Option<ScreenCursor>,
    /// For each line one byte for each character: colour of the character in bits 0 to 3, behind it in 4 to 6; bit 7
    /// blinks. Where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<Vec<u8>>>,
}

/// A place on the text screen, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScreenCursor {
    /// Line.
    pub row: u16,
    /// Character in the line.
    pub column: u16,
}

/// A device in `vm.info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceNode {
    /// Its id.
    pub id: String,
    /// What it is: `legacy_virtio`, or `passthrough` for a function that the guest has as it is.
    #[serde(default)]
    pub kind: String,
    /// Its PCI address in the guest, once it has one: `0000:00:01.0`.
    #[serde(default)]
    pub pci_bdf: Option<String>,
    /// Its slot on PCI bus 0 of the guest, once it has one.
    #[serde(default)]
    pub slot: Option<u8>,
    /// The function below, once it is open: an address of the host, a socket, or `soft/vf0`.
    #[serde(default)]
    pub function: Option<String>,
    /// Ids of devices below it.
    #[serde(default)]
    pub children: Vec<String>,
    /// What it takes of the machine; empty so far.
    #[serde(default)]
    pub resources: Vec<serde_json::Value>,
}

/// Reply of `vm.counters`: by device and processor, then by counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct VmCounters(pub BTreeMap<String, BTreeMap<String, u64>>);

/// Reply of `vm.add-device` where the guest has the device at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PciDeviceInfo {
    /// Its id, given out where the request had none.
    pub id: String,
    /// Its PCI address in the guest.
    pub bdf: String,
}

/// Reply of `vm.legacy`: one legacy virtio function of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LegacyDevice {
    /// Its id.
    pub id: String,
    /// Its PCI address in the guest.
    pub pci_bdf: String,
    /// How its registers are reached: `admin_commands`, or `kernel` where the kernel sends these.
    pub mode: String,
    /// Type of the device: `net`, `block`.
    pub device: String,
    /// The function below.
    pub function: String,
    /// Slot on PCI bus 0 of the guest.
    pub slot: u8,
    /// How the guest is interrupted now: `msix`, `intx` or `none`.
    pub interrupts: String,
    /// The status byte that the guest wrote last (virtio 1.x, 2.1).
    pub status: u8,
    /// Queues that the guest set up through the legacy interface.
    pub queues: Vec<u16>,
    /// Where notifications are stored; `register` if each is a command.
    pub notify: String,
    /// What is done about notifications before DRIVER_OK: `auto`, `pass` or `start`.
    pub early: String,
    /// Notifications by route: `ioeventfd`, `store`, `admin`, what became of the early ones, and how often one
    /// made the monitor set DRIVER_OK (`early_starts`).
    pub kicks: BTreeMap<String, u64>,
    /// INTx made from the function's MSI-X, by cause.
    pub intx: BTreeMap<String, u64>,
    /// Which interrupts its drivers used, one after the other: the first eight.
    #[serde(default)]
    pub interrupts_used: Vec<InterruptUse>,
    /// How many more there were.
    #[serde(default)]
    pub interrupts_used_left_out: u64,
    /// Accesses of the guest to BAR0, and register accesses below.
    pub accesses: BTreeMap<String, u64>,
    /// Resets by the guest.
    pub resets: u64,
    /// Function-level resets that had to be made for them.
    pub function_resets: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Why it is out of service, if it is.
    pub faulted: Option<String>,
    /// How often it went out of service.
    pub times_faulted: u64,
    /// Why it did last, also if it is back.
    pub last_fault: Option<String>,
    /// Its legacy registers as the monitor remembers them; null while an access holds them.
    pub registers: Option<RegisterMirror>,
    /// What it asked of the physical function.
    pub admin: AdminStatistics,
    /// How often the guest broke a ring, as the software VF counts it.
    #[serde(default)]
    pub rings_broken: u64,
    /// Requests that the host's storage failed (a full disk, an I/O error, a file that shrank), as the software VF
    /// counts it.
    #[serde(default)]
    pub host_errors: u64,
    /// The last of them.
    #[serde(default)]
    pub last_host_error: Option<String>,
}

/// One kind of interrupts while one driver had DRIVER_OK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterruptUse {
    /// `msix`, `intx` or `none`.
    pub interrupts: String,
    /// INTx made in that time. Interrupts by MSI-X are not counted.
    pub intx: u64,
    /// Milliseconds from the making of the function to the beginning of it.
    pub after_ms: u64,
    /// Milliseconds from there to its end, or until now.
    pub for_ms: u64,
}

/// The legacy registers of one function. No command is sent for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterMirror {
    /// Features that the guest was offered; null until it asked.
    pub device_features: Option<u32>,
    /// Their names.
    pub device_feature_names: Vec<String>,
    /// Features that the guest accepted.
    pub driver_features: u32,
    /// Their names.
    pub driver_feature_names: Vec<String>,
    /// The queue selected last.
    pub queue_select: u16,
    /// The status that the guest wrote last.
    pub device_status: u8,
    /// Names of its bits.
    pub device_status_names: Vec<String>,
    /// Vector for configuration changes, as far as it is known.
    pub config_msix_vector: Option<u16>,
    /// Whether the guest has MSI-X on, which moves device configuration from offset 20 to 24.
    pub msix_enabled: bool,
    /// Queues that the guest asked about or set up.
    pub queues: Vec<QueueMirror>,
}

/// The registers of one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueMirror {
    /// Its index.
    pub index: u16,
    /// Its page number; 0 is "not set up".
    pub address: u32,
    /// Entries, as far as somebody asked.
    pub size: Option<u16>,
}

/// Administration commands of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminStatistics {
    /// Member id of the device in its group.
    pub member: u16,
    /// By opcode.
    pub commands: Vec<CommandStatistics>,
    /// By register.
    pub registers: Vec<RegisterStatistics>,
}

/// Administration commands of one opcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandStatistics {
    /// Name of the command in the standard.
    pub command: String,
    /// Commands that succeeded.
    pub count: u64,
    /// How long these took, in nanoseconds: `p50`, `p90`, `p99`, `max`.
    pub latency_ns: BTreeMap<String, u64>,
    /// Commands that did not, by reason.
    pub errors: BTreeMap<String, u64>,
}

/// Administration commands for one register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterStatistics {
    /// Name of the register; `device_config` for all of device configuration.
    pub register: String,
    /// Commands.
    pub count: u64,
}

/// One line of `vmm.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// Number of the event, from 1; events that a slow reader missed leave a gap.
    pub seq: u64,
    /// When, in UTC (RFC 3339).
    pub timestamp: String,
    /// What it is about: `vmm`, `vm`, `device`.
    pub source: String,
    /// What happened: `booted`, `shutdown`.
    pub event: String,
    /// More about it.
    #[serde(default)]
    pub properties: BTreeMap<String, serde_json::Value>,
}
