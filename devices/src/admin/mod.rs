// SPDX-License-Identifier: Apache-2.0
//! Group administration commands (virtio 1.3, "Group administration commands" and "Legacy
//! Interface" commands), and the driver of a PF's admin virtqueue.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`opcode`], [`wire`] | numbers and bytes of commands, for drivers and device models |
//! | `channel` | [`AdminChannel`]: run one command with a deadline |
//! | `dma`, `ring`, `slots`, `queue` | the admin virtqueue: memory, virtqueue, running commands |
//! | `pf_*`, `sriov`, `pf` | bring-up of a PF, its VFs, its command list, starting over |
//! | `watchdog` | notices a lost PF, has it restarted, and tells who uses its VFs |
//! | `notify` | which notify addresses of a device can be used |
//! | `faulty` | a PF that misbehaves on demand, for tests |
//! | `admin_registers`, `stats` | a VF's legacy registers over a channel, and their statistics |
//!
//! The wire format is pure. The PF driver touches its function only through
//! [`crate::function::PciFunction`] and never learns whether that is hardware.
#![forbid(unsafe_code)]

mod admin_registers;
mod backoff;
mod channel;
mod dma;
#[cfg(test)]
pub(crate) mod faulty;
mod notify;
mod notify_bars;
mod pf;
mod pf_caps;
mod pf_common;
mod pf_error;
mod pf_init;
mod pf_log;
mod pf_restart;
mod pf_saved;
mod queue;
mod ring;
mod slots;
mod sriov;
mod stats;
mod watchdog;
pub mod wire;

#[cfg(test)]
pub(crate) mod mock_channel;
#[cfg(test)]
mod scripted_pf;
#[cfg(test)]
mod scripts;

pub use crate::spec::admin as opcode;
pub use admin_registers::AdminRegisters;
pub use channel::{AdminChannel, AdminError, Command};
pub use notify::usable_addresses;
pub use notify_bars::NotifyBars;
pub use pf::{Negotiation, PfDriver};
pub use pf_error::{PfCause, PfError};
pub use pf_log::{PfCounter, PfCounts, PfLog, PfLoss, PfReport};
pub use pf_saved::PfDriverState;
pub use queue::{PfQueue, QueueCounter, QueueCounts};
pub use stats::{AdminStats, LATENCY_BOUNDS, Latency, OpcodeStats, RegisterStats};
pub use watchdog::{PfClient, PfHealth, PfWatchdog, WatchedVf};
