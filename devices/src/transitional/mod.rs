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

mod access_counts;
mod back_end;
mod bar0;
#[cfg(test)]
mod bench;
mod bus_master;
mod cache_events;
#[cfg(test)]
mod cache_failure_tests;
#[cfg(test)]
mod cache_property_tests;
mod config;
mod config_cache;
mod decode;
mod device;
mod early;
#[cfg(test)]
mod failure_tests;
mod fault;
#[cfg(test)]
mod fault_matrix_tests;
#[cfg(test)]
mod faulty_stack;
mod feature_names;
mod features;
mod fields;
mod front;
mod hidden;
mod identity;
mod interrupts;
#[cfg(test)]
mod leak_tests;
mod links;
#[cfg(test)]
mod mapping_tests;
mod mirror;
#[cfg(test)]
mod no_dma_tests;
mod notify;
#[cfg(test)]
mod notify_choice_tests;
mod pf_life;
#[cfg(test)]
mod pf_life_tests;
#[cfg(test)]
mod property_tests;
mod queue_set;
mod register_cache;
#[cfg(test)]
mod replay;
mod report;
mod reset;
#[cfg(test)]
mod sequence_tests;
mod settings;
#[cfg(test)]
mod stack_tests;
mod stats;
mod trace;
#[cfg(test)]
mod vector_tests;
mod vf;
#[cfg(test)]
mod vfio_user_tests;
#[cfg(test)]
mod width_tests;
#[cfg(test)]
mod wire_property_tests;

pub use access_counts::RegisterAccesses;
pub use decode::{CONFIG_START, CONFIG_START_MSIX, Direction, Layout, Register, Target};
pub use device::TransitionalDevice;
pub use early::EarlyKicks;
pub use fault::{ErrorCounts, FaultChange};
pub use feature_names::feature_names;
pub use fields::{Piece, Split};
pub use hidden::InterruptPump;
pub use identity::{DeviceType, VIRTIO_VENDOR_ID};
pub use mirror::{QueueMirror, RegisterMirror};
pub use queue_set::MAX_QUEUES;
pub use register_cache::RegisterState;
pub use settings::{IrqMode, NotifyMode, Parts, TransitionalConfig, TransitionalError};
pub use stats::{AccessReport, DeviceReport, InterruptReport, IntxReport, KickReport};
pub use trace::line as trace_line;
pub use trace::{AccessRecord, Commands, DeviceTag, Record, ResetKind, SentCommand, Tracer, What, target_name};
