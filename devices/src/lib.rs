// SPDX-License-Identifier: Apache-2.0
//! The device model of Heirloom.
//!
//! Nothing in this crate knows KVM: what a device needs of the platform (an interrupt line, an MSI
//! route, an ioeventfd, a timer) is a small trait in [`contract::platform`], implemented by `vmm::kvm`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`spec`] | numbers of the standards |
//! | [`contract`] | what the other modules agree on, and none of them owns |
//! | [`bus`] | guest accesses, and the tables that find their device |
//! | [`pci`] | configuration space, BARs, MSI-X, INTx, configuration mechanism 1 |
//! | [`chipset`] | serial port, i8042, CMOS/RTC, ACPI power management, debug port |
//! | [`function`] | what a driver in this process can do to a PCI function |
//! | [`admin`] | group administration commands, and the driver of a PF's admin virtqueue |
//! | [`transitional`] | the guest's legacy virtio function over a virtual function |
//! | [`passthrough`] | a function given to the guest as it is |
//! | [`soft_pf`] | a software PF with an admin virtqueue, and its virtual functions |

pub mod admin;
pub mod bus;
pub mod chipset;
pub mod contract;
pub mod function;
pub mod passthrough;
pub mod pci;
pub mod soft_pf;
pub mod spec;
pub mod transitional;
