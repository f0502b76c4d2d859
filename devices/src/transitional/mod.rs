// SPDX-License-Identifier: Apache-2.0
//! legacy-virtio-passthrough: the guest's transitional PCI function over a modern-only virtual
//! function. It knows nothing of KVM or VFIO.
//!
//! | module | what it is | may use |
//! | --- | --- | --- |
//! | `layout` | device types, registers, fields, features, queues: what the legacy interface looks like. Pure | |
//! | `settings` | what a function is made from | |
//! | `telemetry` | counters, reports, traces | `layout`, `settings` |
//! | `below` | the way down to the registers of the device, and its failures | `telemetry` |
//! | `guest_config` | configuration space made from the VF's, interrupt status, INTx pin | `layout`, `settings` |
//! | `registers` | what reads are answered with, and what writes make of the device; the register cache | `below` |
//! | `kicks` | kicks, with and without exits | `below` |
//! | `interrupts` | INTx made from the VF's MSI-X, and the switch to MSI-X | `below`, `guest_config` |
//! | `service` | resets, DMA, whether the VF is there | `below` |
//! | | *none of the four above knows another; all use `layout` and `telemetry`* | |
//! | `device` | the function as a whole: locks, and what an event means for each of the four | all of them |
//! | `tests` | tests across rooms, what they are made with, and what drivers do | |
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

pub use below::fault::FaultChange;
pub use device::TransitionalDevice;
pub use device::mirror::{QueueMirror, RegisterMirror};
pub use device::saved::TransitionalState;
pub use interrupts::vectors::InterruptPump;
pub use layout::decode::{CONFIG_START, CONFIG_START_MSIX, Direction, Layout, Register, Target};
pub use layout::fields::{Piece, Split};
pub use layout::identity::{DeviceType, VIRTIO_VENDOR_ID};
pub use layout::queue_set::MAX_QUEUES;
pub use settings::{
    Deadlines, EarlyKicks, Interface, IrqMode, KickConfig, NotifyMode, OfferConfig, Parts, PlatformParts,
    TransitionalConfig, TransitionalError,
};
pub use telemetry::access_counts::RegisterAccesses;
pub use telemetry::feature_names::feature_names;
pub use telemetry::interrupt_log::{InterruptReport, InterruptUse};
pub use telemetry::reports::DeviceReport;
pub use telemetry::stats::{DeviceCounter, DeviceCounts, Group};
pub use telemetry::trace::line as trace_line;
pub use telemetry::trace::{
    AccessRecord, Commands, DeviceTag, Record, ResetKind, SentCommand, Tracer, What, target_name,
};
