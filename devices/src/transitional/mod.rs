// SPDX-License-Identifier: Apache-2.0
//! legacy-virtio-passthrough: the guest's transitional PCI function over a modern-only virtual
//! function. It knows registers, decode, interrupts and resets, and nothing of KVM or VFIO.
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | `identity` | transitional ids and classes | yes |
//! | `fields`, `decode` | which register a guest's access is for | yes |
//! | `features` | which features are hidden from a legacy guest | yes |
//! | `register_cache`, `config_cache` | registers: what the guest wrote, and what the device would answer | yes |
//! | `cache_events` | what makes the cache wrong: one table | yes |
//! | `bus_master` | when the function may do DMA | yes |
//! | `vf`, `config` | the guest's configuration space from the VF's | |
//! | `front` | configuration space, software interrupt status, INTx pin | |
//! | `back_end`, `fault` | register accesses with deadlines, and their failures | |
//! | `notify`, `links`, `queue_set` | kicks, with and without exits | |
//! | `early` | kicks before DRIVER_OK | |
//! | `hidden`, `interrupts` | INTx made from the VF's MSI-X, and the switch to MSI-X | |
//! | `bar0`, `reset` | what the guest's accesses do | |
//! | `pf_life` | what the loss and the return of the PF do | |
//! | `settings` | what a function is made from | yes |
//! | `device` | the function as a whole; locks | |
//! | `stats`, `access_counts`, `report` | counters | |
//! | `mirror`, `feature_names` | registers and features for people | |
//! | `trace` | a record of each legacy access, while somebody looks | |
#![forbid(unsafe_code)]

mod below;
mod device;
mod guest_config;
mod interrupts;
mod kicks;
mod layout;
mod registers;
mod service;
mod settings;
mod telemetry;
#[cfg(test)]
mod tests;

pub use below::fault::{ErrorCounts, FaultChange};
pub use device::TransitionalDevice;
pub use device::mirror::{QueueMirror, RegisterMirror};
pub use interrupts::vectors::InterruptPump;
pub use kicks::early::EarlyKicks;
pub use kicks::queue_set::MAX_QUEUES;
pub use layout::decode::{CONFIG_START, CONFIG_START_MSIX, Direction, Layout, Register, Target};
pub use layout::fields::{Piece, Split};
pub use layout::identity::{DeviceType, VIRTIO_VENDOR_ID};
pub use registers::cache::RegisterState;
pub use settings::{IrqMode, NotifyMode, Parts, TransitionalConfig, TransitionalError};
pub use telemetry::access_counts::RegisterAccesses;
pub use telemetry::feature_names::feature_names;
pub use telemetry::stats::{AccessReport, DeviceReport, InterruptReport, IntxReport, KickReport};
pub use telemetry::trace::line as trace_line;
pub use telemetry::trace::{
    AccessRecord, Commands, DeviceTag, Record, ResetKind, SentCommand, Tracer, What, target_name,
};
