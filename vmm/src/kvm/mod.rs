// SPDX-License-Identifier: Apache-2.0
//! The kernel objects of one virtual machine: VM, memory slots, vCPUs, interrupt chips, routes, and
//! the eventfds that replace exits.
//!
//! This module knows KVM and guest memory. It knows no device and no boot protocol; what devices
//! need of it are the traits of [`devices::contract::platform`].
//!
//! | item | what it is |
//! | --- | --- |
//! | [`Vm`] | the VM: chips, memory slots, creation of vCPUs |
//! | [`GuestRam`] | guest RAM, checked against what the host can give |
//! | [`BarMapper`] | BARs in the guest's memory (`GuestMapper`) |
//! | [`KvmVcpu`], [`Exit`] | one vCPU and why it stopped running guest code |
//! | [`Kicker`] | gets a vCPU's thread out of KVM_RUN |
//! | [`MsiRoutes`] | message-signalled interrupts (`MsiSource`) |
//! | [`IrqLines`] | shared level-triggered lines (`IrqLine`), edge interrupts by eventfd |
//! | [`PortIoEvents`] | port writes without an exit (`PortEvents`) |
//! | [`StoppedClock`] | the guest's clocks while they stand still |
//! | [`Speed`] | how fast this KVM runs guests |
//! | [`VfioFiles`] | tells KVM of passed-through devices (`KvmVfio`) |
// The one place in this crate that may use `unsafe`: mappings shared with the kernel, and a signal handler.
#![allow(unsafe_code)]

mod bar_mapper;
mod clock;
mod device_memory;
mod error;
mod events;
mod exit;
mod host_memory;
mod huge_pages;
mod kick;
mod lines;
mod memory;
mod prefault;
mod routing;
mod run_page;
mod speed;
mod vcpu;
mod vfio;
mod vm;

#[cfg(test)]
pub(crate) mod test_guest;
#[cfg(test)]
mod test_irqchip;

pub use bar_mapper::BarMapper;
pub use clock::StoppedClock;
pub use error::KvmError;
pub use events::PortIoEvents;
pub use exit::Exit;
pub use kick::Kicker;
pub use lines::{IrqLines, PIN_COUNT};
pub use memory::{GuestRam, RamOptions};
pub use routing::MsiRoutes;
pub use speed::Speed;
pub use vcpu::{FirstRegisters, KvmVcpu, Registers, VcpuSetup};
pub use vfio::VfioFiles;
pub use vm::Vm;

/// Granularity of guest memory in bytes.
pub const PAGE_SIZE: u64 = 4096;
